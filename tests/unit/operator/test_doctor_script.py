"""scripts/doctor.sh, with stand-ins for docker and .venv: where it runs the checks, and what it passes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.project import ROOT

SCRIPT = ROOT / "scripts" / "doctor.sh"

DOCKER = """#!/bin/sh
echo "docker $*" >>"$CALLS"
case "$*" in
"version --format"*) echo 28.5.2 ;;
"compose version --short") echo 2.40.3 ;;
*" ps --quiet") printf '%s' "${RUNNING:-}" ;;
*" run "*)
  cat >"$CALLS.input"
  exit "${STATUS:-0}"
  ;;
esac
"""
CALLGATE = """#!/bin/sh
echo "callgate $*" >>"$CALLS"
exit "${STATUS:-0}"
"""
IN_CONTAINER = "docker compose -f docker-compose.prod.yml run -T --rm --no-deps -e HOST=backend backend callgate doctor"


class Stand:
    """A copy of the script in its own folder, whose programs are the whole PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        (folder / "bin").mkdir()
        for script in (SCRIPT, SCRIPT.with_name("bundle.sh")):
            shutil.copy(script, folder / "scripts")
        for name in ("bash", "cat", "dirname", "env", "stat"):
            (folder / "bin" / name).symlink_to(str(shutil.which(name)))

    def program(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)
        (self.folder / path).chmod(0o755)

    def venv(self) -> None:
        self.program(".venv/bin/callgate", CALLGATE)
        self.program(".venv/bin/python", "#!/bin/sh\n")

    def run(self, *argv: str, **environ: str) -> int:
        told = {"PATH": str(self.folder / "bin"), "CALLS": str(self.folder / "calls"), **environ}
        script = self.folder / "scripts" / "doctor.sh"
        done = subprocess.run([str(script), *argv], env=told, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
        return done.returncode

    @property
    def last_call(self) -> str:
        return (self.folder / "calls").read_text().splitlines()[-1]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_script_is_executable() -> None:
    assert os.access(SCRIPT, os.X_OK)


def test_beside_a_bundle_that_is_up_it_runs_in_a_container_with_the_settings_of_now(stand: Stand) -> None:
    stand.program("bin/docker", DOCKER)
    stand.venv()
    assert stand.run("--json", "--call", RUNNING="4711", STATUS="1") == 1
    assert stand.last_call == f"{IN_CONTAINER} --json --call"


def test_before_the_bundle_is_up_it_runs_from_the_virtual_environment(stand: Stand) -> None:
    stand.program("bin/docker", DOCKER)
    stand.venv()
    assert stand.run("--json", STATUS="1") == 1
    assert stand.last_call == "callgate doctor --json"


def test_without_docker_it_runs_from_the_virtual_environment(stand: Stand) -> None:
    stand.venv()
    assert stand.run("--env-file", "other.env") == 0
    assert stand.last_call == "callgate doctor --env-file other.env"


def test_without_a_virtual_environment_a_container_will_do_before_the_bundle_is_up(stand: Stand) -> None:
    stand.program("bin/docker", DOCKER)
    assert stand.run() == 0
    assert stand.last_call == IN_CONTAINER


def test_the_container_is_given_the_env_file_that_it_does_not_have_and_told_who_can_read_it(stand: Stand) -> None:
    stand.program("bin/docker", DOCKER)
    (stand.folder / "kept.env").write_text("DOMAIN=voice.example.com\n")
    (stand.folder / "kept.env").chmod(0o644)
    (stand.folder / ".env").symlink_to("kept.env")
    stand.run("--json", RUNNING="4711")
    assert " -e HOST=backend -e DOCTOR_ENV_MODE=644 backend callgate doctor --env-file - --json" in stand.last_call
    assert (stand.folder / "calls.input").read_text() == "DOMAIN=voice.example.com\n"


def test_an_override_file_is_handed_on(stand: Stand) -> None:
    stand.program("bin/docker", DOCKER)
    stand.run(RUNNING="4711", CALLGATE_COMPOSE_OVERRIDE="override.yml")
    assert "-f docker-compose.prod.yml -f override.yml run" in stand.last_call
