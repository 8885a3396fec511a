"""How the set-up reaches the network, and asks its operator: real sockets, and a real terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from callgate.operator.ask import LONGEST_ANSWER, Answer, UnreachableError
from callgate.operator.setup.outside import addresses, fetch, is_here, leads_here
from support.phone_peer import Certificates

pytestmark = pytest.mark.whole

TIMEOUT = 20.0
ASKED: list[dict[str, str]] = []


@contextlib.asynccontextmanager
async def serving(tls=None) -> AsyncIterator[str]:
    async def ok(request: web.Request) -> web.Response:
        ASKED.append(dict(request.headers))
        return web.Response(text="ok")

    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPFound("/ok")

    async def endless(request: web.Request) -> web.Response:
        return web.Response(body=bytes(3 * LONGEST_ANSWER))

    app = web.Application()
    app.router.add_routes([web.get("/ok", ok), web.get("/elsewhere", elsewhere), web.get("/endless", endless)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    ASKED.clear()


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def get(url: str):
    return await asyncio.to_thread(fetch, "GET", url, {"Authorization": "Bearer key"})


async def test_a_key_does_not_follow_a_redirect():
    async with serving() as address:
        assert (await get(f"{address}/ok")).body == b"ok"
        assert ASKED.pop()["Authorization"] == "Bearer key"
        assert (await get(f"{address}/elsewhere")).status == 302
        assert ASKED == []


async def test_an_answer_has_a_bound():
    async with serving() as address:
        assert len((await get(f"{address}/endless")).body) <= LONGEST_ANSWER


async def test_an_answer_has_a_deadline(monkeypatch):
    monkeypatch.setattr("callgate.operator.setup.outside.HTTP_DEADLINE", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(UnreachableError, match="does not answer within"),
    ):
        await get(f"http://127.0.0.1:{silent.getsockname()[1]}/")


async def test_a_certificate_that_nobody_trusts_is_named_as_that(tmp_path):
    async with serving(Certificates(tmp_path).server("127.0.0.1")) as address:
        with pytest.raises(UnreachableError, match="certificate"):
            await get(f"{address}/ok")


async def test_a_closed_port_is_no_answer():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UnreachableError):
        await get(f"http://127.0.0.1:{port}/")


def test_only_an_address_of_an_interface_is_here():
    assert is_here("127.0.0.1")
    assert not is_here("192.0.2.1")
    assert not is_here("2001:db8::1")


def test_who_asks_for_a_name_that_leads_here_gets_an_answer_from_here(free_port):
    assert leads_here("127.0.0.1", free_port) is True
    assert leads_here("127.0.0.1", free_port) is True  # the port is free again


async def test_where_the_port_is_taken_or_nobody_answers_nothing_can_be_told(free_port):
    async with serving() as address:
        assert await asyncio.to_thread(leads_here, "127.0.0.1", int(address.rpartition(":")[2])) is None
    assert await asyncio.to_thread(leads_here, "no such name", free_port) is None


@pytest.mark.parametrize(("status", "known"), [(200, False), (404, False), (301, None), (502, None)])
async def test_another_machine_that_answers_is_told_from_a_proxy_whose_server_is_not_there(
    monkeypatch, status, known, free_port
):
    async def other(*args: object, **options: object) -> Answer:
        return Answer(status, b"hello")

    monkeypatch.setattr("callgate.operator.setup.outside.ask", other)
    assert await asyncio.to_thread(leads_here, "127.0.0.1", free_port) is known


def test_a_name_has_each_of_its_addresses_once():
    assert addresses("127.0.0.1") == ["127.0.0.1"]
    with pytest.raises(UnreachableError):
        addresses("no such name")


class Typist:
    """A program at its own terminal, and somebody who types. ``shown`` is everything displayed."""

    def __init__(self, *argv: str, cwd: Path) -> None:
        self._keyboard, screen = pty.openpty()
        environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        # --ctty: getpass reads from the controlling terminal, and ^C is a signal from it.
        command = ["setsid", "--ctty", "--wait", *argv]
        self._process = subprocess.Popen(command, stdin=screen, stdout=screen, stderr=screen, cwd=cwd, env=environ)
        os.close(screen)
        self.shown, self._seen = "", 0

    def __enter__(self) -> Typist:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._keyboard)  # a program that still runs loses its terminal and ends
        self._process.wait(TIMEOUT)

    def wait_for(self, pattern: str) -> None:
        """Wait for output that was not there at the last wait."""
        deadline = time.monotonic() + TIMEOUT
        while not (found := re.compile(pattern).search(self.shown, self._seen)):
            ready, _, _ = select.select([self._keyboard], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"never shown: {pattern}; but {self.shown}"
            self.shown += os.read(self._keyboard, 4096).decode()
        self._seen = found.end()

    def type(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    def ended(self) -> int:
        return self._process.wait(TIMEOUT)


DIALOGUE = """
from callgate.operator.setup.terminal import Terminal
terminal = Terminal()
name = terminal.ask("Name")
secret = terminal.ask("Secret", secret=True)
choice = terminal.choose("Which", ["a", "b"])
done = terminal.confirm("Sure?")
print(f"got {name} {len(secret)} {choice} {done}.")
"""


def test_a_secret_is_not_shown_while_it_is_typed(tmp_path):
    with Typist(sys.executable, "-c", DIALOGUE, cwd=tmp_path) as typist:
        dialogue = {"Name: ": " me ", "Secret: ": "hunter2", "1 to 2.*: ": "3", "1 to 2.*: $": "2", "y/N.*: ": "y"}
        for prompt, answer in dialogue.items():
            typist.wait_for(prompt)
            typist.type(answer + "\n")
        typist.wait_for("got me 7 1 True")
        assert typist.ended() == 0
        assert "hunter2" not in typist.shown


def test_an_interrupted_run_says_how_it_goes_on_and_leaves_no_file(tmp_path):
    with Typist(sys.executable, "-m", "callgate.operator.setup", "env", cwd=tmp_path) as typist:
        typist.wait_for("domain.*: ")
        typist.type("\x03")
        typist.wait_for("run it again.*\n")
        assert typist.ended() == 130
        assert "Traceback" not in typist.shown
        assert list(tmp_path.iterdir()) == []


def test_the_end_of_the_input_is_no_answer(tmp_path):
    with Typist(sys.executable, "-m", "callgate.operator.setup", "env", cwd=tmp_path) as typist:
        typist.wait_for("domain.*: ")
        typist.type("\x04")
        typist.wait_for("do .*\n")
        assert typist.ended() == 1
        assert "Traceback" not in typist.shown
