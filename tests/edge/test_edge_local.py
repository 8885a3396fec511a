"""scripts/demo/local_edge.py ends what it starts, and explains its failures."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo import local_edge
from demo.local_edge import DEPLOY, LOOPBACK, EdgeError, LocalEdge, find_program, free_ports
from demo.local_program import port_answers
from support.edge.probes import plain, wait_for

PROGRAM = "demo.edge_alone"


@pytest.fixture
def state() -> Iterator[Path]:
    """Yield a folder that nginx's workers can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="callgate-state-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def command(state: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the command, and yield it immediately."""
    argv = [sys.executable, "-m", PROGRAM, "--backend-port", str(free_ports(1)[0]), "--state", str(state)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(["scripts", *sys.path])}
    with subprocess.Popen(
        argv, cwd=DEPLOY.parent, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        yield command
        command.terminate()


def processes_of(state: Path) -> list[str]:
    """Return the processes that name the state folder in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if str(state) in arguments and PROGRAM not in arguments:
            found.append(arguments)
    return found


def test_command_serves_until_it_is_interrupted_and_leaves_nothing_running(
    command: subprocess.Popen[str], state: Path
) -> None:
    ready = state / "edge.json"
    wait_for(lambda: ready.exists() or command.poll() is not None)
    told = json.loads(ready.read_text())
    plain(told["https_port"]).close()
    assert told["issuer"].startswith("CN=Pebble Intermediate CA")

    command.send_signal(signal.SIGINT)
    output, errors = command.communicate(timeout=20)

    assert (command.returncode, errors) == (0, "")
    assert output.endswith("ended; nothing is left running\n")
    assert not port_answers(told["https_port"])
    assert processes_of(state) == []


def test_command_that_is_ended_while_it_starts_leaves_nothing_running(
    command: subprocess.Popen[str], state: Path
) -> None:
    certbot_log = state / "logs" / "certbot.log"
    wait_for(lambda: certbot_log.exists() or command.poll() is not None)
    command.send_signal(signal.SIGTERM)
    _, errors = command.communicate(timeout=20)
    assert (command.returncode, errors) == (0, "")
    assert processes_of(state) == []


def test_port_lost_to_somebody_else_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, *free = free_ports(4)
    chosen = [[taken, free[0]], free[1:]]
    monkeypatch.setattr(local_edge, "free_ports", lambda count: chosen.pop(0))
    with socket.create_server((LOOPBACK, taken)), LocalEdge() as edge:
        edge.start_nginx(free_ports(1)[0])
        assert [edge.http_port, edge.https_port] == free[1:]


def test_program_that_does_not_start_shows_its_log() -> None:
    with LocalEdge(environ={"EDGE_REQUIRE_SNI": "maybe"}) as edge, pytest.raises(EdgeError) as error:
        edge.start_nginx(free_ports(1)[0])
    assert str(error.value).startswith("nginx ended with status 2:")
    assert "EDGE_REQUIRE_SNI is 'maybe'" in str(error.value)


def test_temporary_state_is_removed() -> None:
    with LocalEdge() as edge:
        assert edge.logs.exists()
    assert not edge.state.exists()


def test_state_that_the_workers_can_not_enter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_edge, "worker_user", lambda: pwd.getpwuid(os.geteuid()))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EdgeError, match="can't enter"):
        LocalEdge(state=closed / "state").__enter__()


def test_missing_program_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    with pytest.raises(EdgeError, match=r"the program pebble-challtestsrv is not installed: apt-get install .* pebble"):
        find_program("pebble-challtestsrv")
