"""The line check on its socket: what a relay finds when there is no OpenAI key."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest
from callgate.peers.linecheck import LineCheck, clips
from callgate.peers.linecheck import server as linecheck_server
from support.fake_openai import PATIENCE
from support.linecheck_driver import WORDS, silence
from support.realtime_client import SESSION, audio_of, closed_with, read_until, send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


@contextlib.asynccontextmanager
async def session(url: str) -> AsyncIterator[ClientConnection]:
    """Open a session set up for µ-law."""
    async with connect(f"{url}?model=any", proxy=None, close_timeout=1) as websocket:
        await send(websocket, "session.update", session=SESSION)
        yield websocket


async def speak(websocket: ClientConnection, audio: bytes) -> None:
    """Send the whole utterance at once, because turn detection counts the audio's time, not the clock's."""
    for start in range(0, len(audio), 1_600):
        chunk = base64.b64encode(audio[start : start + 1_600]).decode()
        await send(websocket, "input_audio_buffer.append", audio=chunk)


async def all_ended(line_check: LineCheck) -> None:
    async with asyncio.timeout(PATIENCE):
        while line_check.sessions:  # noqa: ASYNC110 - nothing tells a client when the server has let go of it
            await asyncio.sleep(0.001)


async def test_caller_is_greeted_and_then_hears_its_own_words() -> None:
    async with LineCheck() as line_check, session(line_check.url) as websocket:
        await send(websocket, "response.create")
        assert audio_of(await read_until(websocket, "response.done")) == clips.greeting()
        await speak(websocket, silence(0.5) + WORDS + silence(1))
        assert WORDS in audio_of(await read_until(websocket, "response.done"))


@pytest.mark.whole
async def test_hundred_callers_at_once_each_hear_their_own_words() -> None:
    async def call(url: str, number: int) -> bool:
        # Each caller's audio starts a little further into the recording, so that no two are the same.
        words = WORDS[number * 20 : number * 20 + 8_000]
        async with session(url) as websocket:
            await speak(websocket, silence(0.5) + words + silence(1))
            # This waits for all callers, because this process both speaks for a hundred and answers them.
            return words in audio_of(await read_until(websocket, "response.done", patience=20 * PATIENCE))

    async with LineCheck() as line_check:
        heard = await asyncio.gather(*(call(line_check.url, number) for number in range(100)))
    assert heard == [True] * 100


async def test_session_says_that_it_is_the_line_check() -> None:
    async with LineCheck() as line_check, connect(line_check.url, proxy=None) as websocket:
        [created] = await read_until(websocket, "session.created")
        assert created["session"]["model"] == "line-check"


async def test_url_is_on_loopback() -> None:
    async with LineCheck() as line_check:
        assert line_check.url.startswith("ws://127.0.0.1:")
        assert line_check.url.endswith("/v1/realtime")


async def test_other_paths_are_not_found() -> None:
    async with LineCheck() as line_check:
        with pytest.raises(InvalidStatus, match="404"):
            await connect(line_check.url + "/other", proxy=None)


async def test_session_beyond_the_limit_is_refused_and_welcome_once_one_has_ended() -> None:
    async with LineCheck(max_sessions=1) as line_check:
        async with session(line_check.url) as websocket:
            await read_until(websocket, "session.updated")
            with pytest.raises(InvalidStatus, match="503"):
                await connect(line_check.url, proxy=None)
        await all_ended(line_check)
        async with session(line_check.url) as websocket:
            await read_until(websocket, "session.updated")


async def test_message_too_big_ends_the_session_with_1009() -> None:
    async with LineCheck() as line_check, session(line_check.url) as websocket:
        await websocket.send(" " * (linecheck_server.MAX_MESSAGE_BYTES + 1))
        assert await closed_with(websocket) == 1009


async def test_session_ends_after_its_hour_with_an_error_and_1001(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linecheck_server, "MAX_SESSION_SECONDS", 0.01)
    async with LineCheck() as line_check, connect(line_check.url, proxy=None) as websocket:
        error = (await read_until(websocket, "error"))[-1]
        assert error["error"]["code"] == "session_expired"
        assert await closed_with(websocket) == 1001


async def test_client_that_stops_reading_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linecheck_server, "SEND_TIMEOUT", 0.05)
    async with LineCheck() as line_check:
        async with connect(line_check.url, proxy=None, max_queue=1) as websocket:
            # Each is answered with the full session, which nobody reads.
            update = {"type": "session.update", "session": {"type": "realtime", "instructions": "x" * 500_000}}
            with contextlib.suppress(ConnectionClosed):
                async with asyncio.timeout(PATIENCE):
                    while True:
                        await websocket.send(json.dumps(update))
            websocket.transport.abort()
        await all_ended(line_check)


async def test_leaving_the_block_closes_every_session() -> None:
    async with LineCheck() as line_check:
        websocket = await connect(line_check.url, proxy=None)
        await websocket.recv()
    assert await closed_with(websocket) == 1001


def test_url_before_it_runs_is_an_error_that_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        _ = LineCheck().url


class TestCommand:
    @staticmethod
    @contextlib.asynccontextmanager
    async def command(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "callgate.peers.linecheck",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONWARNINGS": "error"},
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def test_prints_its_url_serves_and_stops_at_sigterm(self) -> None:
        async with self.command() as process, asyncio.timeout(PATIENCE):
            assert process.stdout is not None
            url = (await process.stdout.readline()).decode().strip()
            async with session(url) as websocket:
                await read_until(websocket, "session.updated")
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0

    async def test_port_that_is_taken_is_one_line_and_exit_1(self) -> None:
        async with LineCheck() as line_check:
            port = line_check.url.split(":")[2].split("/")[0]
            async with self.command("--port", port) as process, asyncio.timeout(PATIENCE):
                _, stderr = await process.communicate()
        assert process.returncode == 1
        assert stderr.decode().splitlines() == [
            f"can't listen on 127.0.0.1:{port}: Address already in use; try another --port"
        ]

    async def test_port_that_is_none_is_refused(self) -> None:
        async with self.command("--port", "70000") as process, asyncio.timeout(PATIENCE):
            _, stderr = await process.communicate()
        assert process.returncode == 2
        assert "give a number from 0 to 65535" in stderr.decode()
