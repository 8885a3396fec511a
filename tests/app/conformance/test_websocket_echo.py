"""`websocket-echo.sh` as the process that a conformance suite connects to."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.project import ROOT
from support.websocket_probe import BINARY, CLOSE, DEADLINE, TEXT, Frame, Probe

pytestmark = pytest.mark.whole

PROGRAM = ROOT / "tests/support/conformance/websocket_echo.py"
MIB = 1024 * 1024


@contextlib.contextmanager
def program(*options: str) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """Run the program. Yield it and the address that it reports."""
    process = subprocess.Popen([sys.executable, PROGRAM, *options], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            host, port = process.stdout.readline().strip().removeprefix("ws://").split(":")
            yield process, (host, int(port))
        finally:
            process.kill()


@pytest.mark.parametrize("path", ["fast", "ordinary"])
def test_it_sends_text_and_binary_back_on_any_path_and_ends_in_good_order(path: str):
    with program("--path", path) as (process, address), Probe(address) as probe:
        probe.upgrade("/any/path?at=all")
        probe.send_frame(TEXT, "Grüße".encode())
        assert probe.read_message() == Frame(TEXT, "Grüße".encode())
        probe.send_frame(BINARY, b"\xff\x00" * 1000)
        assert probe.read_message() == Frame(BINARY, b"\xff\x00" * 1000)
        process.send_signal(signal.SIGTERM)
        closing = probe.read_frame()
        assert closing.opcode == CLOSE
        assert closing.payload[:2] == (1001).to_bytes(2, "big")
        probe.send_frame(CLOSE, closing.payload)
        with pytest.raises(EOFError):
            probe.read_frame()
        assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize("path", ["fast", "ordinary"])
def test_it_takes_messages_as_big_as_conformance_suites_send_them(path: str):
    with program("--path", path) as (_, address), Probe(address) as probe:
        probe.upgrade("/")
        probe.send_frame(BINARY, b"x" * (16 * MIB))
        assert probe.read_message() == Frame(BINARY, b"x" * (16 * MIB))


def test_a_port_that_is_taken_is_said_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, PROGRAM, "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert str(port) in done.stderr


def test_where_there_is_no_python_2_autobahn_says_so(tmp_path: Path):
    for program in ("bash", "dirname"):
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    environ = {"PATH": str(tmp_path), "PYTHON2": str(tmp_path / "none")}
    ran = subprocess.run(
        ["bash", ROOT / "tests/app/conformance/autobahn.sh"], env=environ, capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert "needs Python 2.7" in ran.stderr
    assert "PYTHON2" in ran.stderr
