"""scripts/issue-cert.sh, with a stand-in for docker: what it checks, what it requests, and what it passes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.project import ROOT

SCRIPT = ROOT / "scripts" / "issue-cert.sh"

DOCKER = """#!/bin/sh
case "$*" in
"version --format"*) echo 28.5.2; exit "${NO_ENGINE:-0}" ;;
"compose version --short") echo 2.40.3; exit "${NO_COMPOSE:-0}" ;;
"info --format"*) echo "$DOCKER_ROOT" ;;
*" up -d nginx") echo "$*" >>"$CALLS"; exit "${NO_NGINX:-0}" ;;
*" ps --all --quiet nginx") echo 4711 ;;
"inspect "*) echo "nginx|exited||0||" ;;
"logs "*) echo "DOMAIN is 'x y': wanted a host name" ;;
*" run "*) echo "$*" >>"$CALLS"; exit "${STATUS:-0}" ;;
esac
"""

COMPOSE = "compose -f docker-compose.prod.yml"
KEEPER = "run -T --rm --no-deps --entrypoint python3 certbot -m keeper"


class Stand:
    """A folder of programs that is the whole PATH, and the requests that its docker received."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("awk", "bash", "cat", "dirname", "env", "sed", "tr"):
            self.link(name)
        self.program("ss", "#!/bin/sh\n")
        self.program("df", "#!/bin/sh\necho head\necho x 9 9 ${FREE:-9000000} 1% /\n")

    def link(self, name: str) -> None:
        found = shutil.which(name)
        assert found
        (self.bin / name).symlink_to(found)

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
        told = {"PATH": str(self.bin), "CALLS": str(self.folder / "calls"), "DOCKER_ROOT": "/"}
        return subprocess.run(
            [str(SCRIPT), *argv], env={**told, **environ}, capture_output=True, text=True, timeout=20, cwd=self.folder
        )

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def bare(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


@pytest.fixture
def stand(bare: Stand) -> Stand:
    bare.program("docker", DOCKER)
    return bare


def test_script_is_executable():
    assert os.access(SCRIPT, os.X_OK)


def test_help_needs_no_docker(bare: Stand):
    done = bare.run("--help")
    assert done.returncode == 0
    for option in ("--domain", "--email", "--staging", "--dry-run", "--ip", "--profile", "--force", "--rollback"):
        assert option in done.stdout


def test_nginx_is_started_before_the_keeper_is_asked(stand: Stand):
    done = stand.run()
    assert done.returncode == 0, done.stderr
    assert stand.calls == [f"{COMPOSE} up -d nginx", f"{COMPOSE} {KEEPER} issue"]


def test_options_are_handed_on_as_they_are(stand: Stand):
    stand.run("--domain", "a.example", "--dry-run", "--email", "x y@example.com")
    assert stand.calls[-1].endswith("issue --domain a.example --dry-run --email x y@example.com")


def test_rollback_is_a_verb_of_the_keeper(stand: Stand):
    stand.run("--rollback")
    assert stand.calls[-1].endswith("-m keeper rollback")


def test_one_more_compose_file_is_taken_from_the_environment(stand: Stand):
    stand.run(CALLGATE_COMPOSE_OVERRIDE="my override.yml")
    assert stand.calls[-1].startswith(f"{COMPOSE} -f my override.yml run ")


@pytest.mark.parametrize("status", [0, 1, 2])
def test_exit_status_is_the_keepers(stand: Stand, status: int):
    assert stand.run(STATUS=str(status)).returncode == status


def test_without_docker_it_says_what_to_install(bare: Stand):
    done = bare.run()
    assert done.returncode == 2
    assert done.stderr.startswith("issue-cert.sh: there is no docker: install Docker Engine")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"NO_COMPOSE": "1"}, "the package docker-compose-plugin"),
        ({"NO_ENGINE": "1"}, "systemctl start docker"),
        ({"FREE": "20000"}, "has 20 MB free, wanted 1000"),
        ({"NO_NGINX": "1"}, "nginx is exited: DOMAIN is 'x y': wanted a host name"),
    ],
)
def test_what_is_missing_is_one_line_and_the_keeper_is_not_asked(stand: Stand, environ: dict[str, str], message: str):
    done = stand.run(**environ)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not any("keeper" in call for call in stand.calls)
