"""scripts/bundle.sh, through the scripts that use it, with stand-ins for docker and ss: what is said about a docker
that can't run the bundle, about a port that is taken, and about a service that does not become healthy."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from support.project import ROOT

SCRIPTS = ("bundle.sh", "start.sh", "issue-cert.sh", "doctor.sh")
PROGRAMS = ("bash", "cat", "dirname", "env", "sed", "tr", "stat", "df", "awk")

# What it answers comes from files in $ANSWERS, if they are there.
DOCKER = """#!/bin/sh
answer() { cat "$ANSWERS/$1" 2>/dev/null || echo "$2"; }
case "$*" in
"--version") answer docker "Docker version 28.5.2, build deb-1" ;;
"version --format"*)
  if [ -e "$ANSWERS/no-engine" ]; then cat "$ANSWERS/no-engine" >&2; exit 1; fi
  answer engine 28.5.2
  ;;
"version") answer version "Client:" ;;
"compose version --short") if [ -e "$ANSWERS/no-compose" ]; then exit 1; fi; answer compose 2.40.3 ;;
"info "*) echo / ;;
"context inspect"*) answer context unix:///var/run/docker.sock ;;
"ps --format"*) answer containers "" ;;
*" config nginx") printf 'nginx:\\n  ports:\\n    - target: 8080\\n      published: "%s"\\n' "$(answer port 80)" ;;
*" ps --quiet --status running nginx") answer nginx "" ;;
*" ps --quiet certbot") answer certbot "" ;;
*" ps --all --quiet"*) answer ids "" ;;
*" up -d"*) echo "up" >>"$CALLS"; exit "$(answer up-status 0)" ;;
*" restart certbot") echo "restart certbot" >>"$CALLS" ;;
*" run "*) echo "run" >>"$CALLS"; exit "$(answer run-status 0)" ;;
"inspect --format {{index"*) answer "state-$(eval echo "\\${$#}")" "nginx|running|healthy|0|2026-11-27T10:00:00Z|" ;;
"inspect --format {{if .State.Health}}{{.State"*) answer "health" "healthy" ;;
"inspect "*) answer "checks" "" ;;
"logs --tail 20 --until 2026-11-27T10:00:00Z 4711") answer logs "" ;; # what it said before it was started again
"logs --tail 20 4711") case $(answer state-4711) in *running*) echo "starting" ;; *) answer logs "" ;; esac ;;
esac
"""


class Stand:
    """A copy of the scripts, whose programs are the whole PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("scripts", "bin", "answers"):
            (folder / name).mkdir()
        for name in SCRIPTS:
            shutil.copy(ROOT / "scripts" / name, folder / "scripts")
        for name in PROGRAMS:
            (folder / "bin" / name).symlink_to(str(shutil.which(name)))
        self.program("bin/docker", DOCKER)
        self.program("bin/ss", "#!/bin/sh\n")
        self.program(".venv/bin/callgate", '#!/bin/sh\necho "callgate $*" >>"$CALLS"\n')
        self.program(".venv/bin/python", "#!/bin/sh\n")

    def program(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)
        (self.folder / path).chmod(0o755)

    def answer(self, **answers: str) -> None:
        for name, text in answers.items():
            (self.folder / "answers" / name.replace("_", "-")).write_text(text + "\n")

    def run(self, script: str, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
        told = {"PATH": str(self.folder / "bin"), "CALLS": str(self.folder / "calls")}
        told |= {"ANSWERS": str(self.folder / "answers"), **environ}
        command = [self.folder / "scripts" / script, *argv]
        return subprocess.run(command, env=told, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


# Versions.


@pytest.mark.parametrize("engine", ["25.0.0", "28.5.2", "25.0.3-rd", "27.5.1+dfsg3-1", "29.0.0-rc.1", "v26.1.5", "dev"])
@pytest.mark.parametrize("compose", ["2.24.0", "v2.24.5", "2.27.0-desktop.2", "5.0.1", "2.40.3+ds1-1", "dev"])
def test_a_docker_that_is_new_enough_will_do(stand: Stand, engine: str, compose: str) -> None:
    stand.answer(engine=engine, compose=compose)
    done = stand.run("start.sh", "--check")
    assert (done.returncode, done.stderr) == (0, "")


TOO_OLD = [
    ({"engine": "24.0.7"}, "the docker engine is 24.0.7, and 25.0 or later is wanted"),
    ({"engine": "20.10.24+dfsg1"}, "the docker engine is 20.10.24+dfsg1, and 25.0 or later is wanted"),
    ({"engine": "WARNING: a plugin is broken\n1.13.1"}, "the docker engine is 1.13.1, and"),
    ({"compose": "2.23.3"}, "Docker Compose is 2.23.3, and 2.24 or later is wanted"),
    ({"compose": "v2.3.3"}, "Docker Compose is v2.3.3, and 2.24 or later is wanted"),
    ({"compose": "2.08.0"}, "Docker Compose is 2.08.0, and 2.24 or later is wanted"),
    ({"compose": "2.20.2-desktop.1"}, "Docker Compose is 2.20.2-desktop.1, and"),
    ({"compose": "1.29.2"}, "Docker Compose is 1.29.2, and"),
    ({"no_compose": ""}, "docker has no compose: install Compose 2.24 or later"),
    ({"docker": "podman version 4.3.1"}, "docker is Podman here"),
    ({"engine": "5.2.1", "version": "Server: linux/amd64/debian-13\n Podman Engine:"}, "docker is Podman here"),
    ({"no_engine": "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."}, "does not answer: start it"),
    ({"no_engine": "permission denied while trying to connect to the API"}, "this user may not use the docker engine"),
]


@pytest.mark.parametrize(("answers", "says"), TOO_OLD, ids=[str(answers) for answers, _ in TOO_OLD])
@pytest.mark.parametrize("argv", [("start.sh",), ("issue-cert.sh",), ("start.sh", "--check")], ids=" ".join)
def test_a_docker_that_will_not_do_is_named_in_one_sentence_before_anything_is_done(
    stand: Stand, argv: tuple[str, ...], answers: dict[str, str], says: str
) -> None:
    stand.answer(**answers)
    done = stand.run(*argv)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{argv[0]}: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert stand.calls == []


def test_the_old_docker_compose_is_not_taken_for_the_new_one(stand: Stand) -> None:
    stand.answer(no_compose="")
    stand.program("bin/docker-compose", "#!/bin/sh\necho 1.29.2\n")
    assert "docker-compose 1.29.2 is not used: install Compose 2.24" in stand.run("start.sh").stderr


def test_no_docker_at_all_is_said(stand: Stand) -> None:
    (stand.folder / "bin/docker").unlink()
    assert "there is no docker: install Docker Engine 25.0 or later with Compose 2.24" in stand.run("start.sh").stderr


def test_the_doctor_says_it_first_and_looks_at_the_rest(stand: Stand) -> None:
    stand.answer(engine="24.0.7")
    done = stand.run("doctor.sh", "--json")
    assert done.stderr.startswith("doctor.sh: the docker engine is 24.0.7")
    assert done.stdout == ""  # of the scripts themselves
    assert stand.calls == ["callgate doctor --json"]


# Ports.


def ss(stand: Stand, says: str) -> None:
    stand.program("bin/ss", f"#!/bin/sh\ncat <<'TEXT'\n{says}\nTEXT\n")


APACHE = 'LISTEN 0 511 *:80 *:* users:(("apache2",pid=612,fd=4),("apache2",pid=611,fd=4))'


@pytest.mark.parametrize("script", ["start.sh", "issue-cert.sh"])
def test_a_program_that_has_the_port_is_named_before_anything_is_started(stand: Stand, script: str) -> None:
    ss(stand, APACHE)
    done = stand.run(script)
    assert done.returncode == 2
    assert done.stderr == (
        f"{script}: port 80, which nginx needs, is taken by apache2 (process 612): stop that, and run this again\n"
    )
    assert stand.calls == []


def test_a_container_that_has_the_port_is_named(stand: Stand) -> None:
    ss(stand, 'LISTEN 0 4096 0.0.0.0:80 0.0.0.0:* users:(("docker-proxy",pid=9,fd=7))')
    stand.answer(containers="db|5432/tcp\nshop-web-1|443/tcp, 0.0.0.0:80->8000/tcp, [::]:80->8000/tcp")
    assert "is taken by the container shop-web-1: stop that" in stand.run("start.sh").stderr


def test_a_program_that_only_root_can_name_is_still_noticed(stand: Stand) -> None:
    ss(stand, "LISTEN 0 511 *:80 *:*")
    assert "is taken by another program (sudo ss -ltnp 'sport = :80' names it)" in stand.run("start.sh").stderr


def test_without_ss_a_connection_shows_it(stand: Stand) -> None:
    (stand.folder / "bin/ss").unlink()
    with socket.create_server(("127.0.0.1", 0)) as server:
        stand.answer(port=str(server.getsockname()[1]))
        assert "is taken by another program: stop that" in stand.run("start.sh").stderr
    assert stand.run("start.sh").returncode == 0


@pytest.mark.parametrize(
    "free",
    [
        {"nginx": "4711"},  # it has the ports itself
        {"context": "ssh://operator@elsewhere"},  # the ports are another machine's
        {"port": ""},  # a free port each time
    ],
    ids=str,
)
def test_a_port_that_nginx_can_have_is_no_problem(stand: Stand, free: dict[str, str]) -> None:
    ss(stand, APACHE)
    stand.answer(**free)
    assert stand.run("start.sh").returncode == 0
    assert stand.calls == ["up"]


def test_a_start_without_nginx_needs_no_port(stand: Stand) -> None:
    ss(stand, APACHE)
    assert stand.run("start.sh", "backend", "ngrok").returncode == 0


# A start that fails.

ALLOCATED = (
    "driver failed programming external connectivity on endpoint callgate-nginx-1 (e2f5): "
    "Bind for 0.0.0.0:443 failed: port is already allocated"
)
IN_USE = (
    "failed to set up container networking: driver failed programming external connectivity on endpoint x (3f): "
    "failed to bind host port 0.0.0.0:80/tcp: address already in use"
)
IN_USE_BEFORE = "Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already in use"
ROOTLESS = (
    "error while calling RootlessKit PortManager.AddPort(): cannot expose privileged port 80, you can add "
    "'net.ipv4.ip_unprivileged_port_start=80' to /etc/sysctl.conf: listen tcp4 0.0.0.0:80: bind: permission denied"
)


@pytest.mark.parametrize(
    ("state", "last"),
    [
        (
            "nginx|created||0|0001-01-01T00:00:00Z|" + ALLOCATED,
            "nginx is created: port 443 is taken by the container other: stop that, and run",
        ),
        (
            "nginx|created||0|0001-01-01T00:00:00Z|" + IN_USE,
            "nginx is created: port 80 is taken by apache2 (process 612): stop that, and run",
        ),
        (
            "nginx|created||0|0001-01-01T00:00:00Z|" + IN_USE_BEFORE,
            "port 80 is taken by apache2 (process 612): stop that",
        ),
        (
            "nginx|created||0|0001-01-01T00:00:00Z|" + ROOTLESS,
            "the engine is rootless, and may not use port 80: run sudo sysctl",
        ),
        ("nginx|created||0|0001-01-01T00:00:00Z|no space left on device", "nginx is created: no space left on device"),
        (
            "certbot|running|unhealthy|0|2026-11-27T10:00:00Z|",
            "certbot is unhealthy: no certificate: voice.example.com does not resolve",
        ),
        (
            "backend|restarting|unhealthy|3|2026-11-27T10:00:00Z|",
            "backend is restarting: MAX_CALLS is 'many': wanted a number",
        ),
        (
            "backend|running|starting|3|2026-11-27T10:00:00Z|",
            "backend is restarting: MAX_CALLS is 'many': wanted a number",
        ),
        ("backend|exited|unhealthy|0|2026-11-27T10:00:00Z|", "backend is exited: MAX_CALLS is 'many': wanted a number"),
    ],
    ids=lambda value: value.replace("|", " ")[:40],
)
@pytest.mark.parametrize("script", ["start.sh", "issue-cert.sh"])
def test_the_cause_is_the_last_line(stand: Stand, script: str, state: str, last: str) -> None:
    stand.program("bin/ss", f"#!/bin/sh\n[ -e {stand.folder}/calls ] || exit 0\necho '{APACHE}'\n")  # it came just then
    stand.answer(
        up_status="1",
        ids="4711\n4712",
        state_4711=state,
        checks="the first check\n\nno certificate: voice.example.com does not resolve\n\n",
        logs="starting\nMAX_CALLS is 'many': wanted a number",
        containers="other|0.0.0.0:443->443/tcp",
        port="8080",
    )
    done = stand.run(script)
    assert done.returncode == (2 if script == "issue-cert.sh" else 1)
    assert last in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith(f"{script}: ")


def test_a_check_can_not_play_with_the_terminal(stand: Stand) -> None:
    stand.answer(
        up_status="1",
        ids="4711",
        state_4711="certbot|running|unhealthy|0|2026-11-27T10:00:00Z|",
        checks="\x1b[2Jall is well\a",
    )
    assert stand.run("start.sh").stderr.splitlines()[-1] == "start.sh: certbot is unhealthy: [2Jall is well"


@pytest.mark.parametrize("script", ["start.sh", "issue-cert.sh"])
def test_a_cause_that_was_mended_meanwhile_does_not_end_the_wait(stand: Stand, script: str) -> None:
    stand.answer(certbot="4711", health="unhealthy")
    assert stand.run(script).returncode == 0
    assert "restart certbot" in stand.calls
    (stand.folder / "calls").unlink()
    stand.answer(health="healthy")
    assert stand.run(script).returncode == 0
    assert "restart certbot" not in stand.calls


def test_a_certificate_that_was_not_got_ends_with_the_keepers_own_words(stand: Stand) -> None:
    stand.answer(run_status="2", certbot="4711", health="unhealthy")
    done = stand.run("issue-cert.sh")
    assert done.returncode == 2
    assert stand.calls == ["up", "run"]
