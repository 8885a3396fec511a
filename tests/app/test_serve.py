"""``callgate serve`` as its own process: how it starts, how it stops, and how little it needs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from support.fake_openai import Script, say, tone
from support.serve_process import Backend, backend
from support.service import AUTH_TOKEN, BASE_URL, Service

pytestmark = pytest.mark.whole

GREETING = tone(0.4)


@contextlib.asynccontextmanager
async def asked(backend: Backend) -> AsyncIterator[Service]:
    found = await backend.reads(r"listening on http://(\S+)")
    async with aiohttp.ClientSession() as http:
        yield Service(None, found[1], http)


async def test_bad_settings_are_all_told_at_once_and_nothing_starts(tmp_path):
    async with backend(tmp_path, BASE_URL="http://voice.example.com", PORT="eighty") as process:
        assert await process.ends() == 2
    lines = process.log.splitlines()
    assert [line.split(":")[:2] for line in lines] == [["callgate", " BASE_URL"], ["callgate", " PORT"]]
    assert "wss://" in lines[0]


async def test_a_port_in_use_is_said_to_be_that(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with backend(tmp_path, PORT=port) as process:
            assert await process.ends() == 2
    assert f"127.0.0.1:{port} can't be listened on" in process.log
    assert "Traceback" not in process.log


async def test_three_settings_are_enough_to_serve_calls(tmp_path, fake):
    """The set-up behind a tunnel: no nginx, no certbot, no configuration file, some GA Realtime server as the model."""
    fake.script = Script((say(GREETING),))
    fake.api_key = None
    settings = {"BASE_URL": BASE_URL, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "OPENAI_REALTIME_URL": fake.url, "PORT": "0"}
    async with backend(tmp_path, **settings) as process, asked(process) as service, service.stream() as line:
        await line.hear(GREETING)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


async def test_with_no_settings_at_all_the_line_check_answers_rehearsals(tmp_path):
    async with backend(tmp_path, PORT="0") as process, asked(process) as service:
        status, _ = await service.webhook("/incoming-call")
        assert status == 403
        assert (await service.ask("GET", "/readyz"))[0] == 200
        for warning in ("real calls will be refused", "the line check answers", "Twilio can't reach"):
            assert warning in process.log
    kept = {path.name for path in (tmp_path / "data").iterdir()}
    assert kept - {"calls.sqlite3-journal"} == {"calls.sqlite3", "rehearsal-auth-token"}  # a write may be in progress
    assert (tmp_path / "data" / "rehearsal-auth-token").read_text().strip() not in process.log


async def test_it_lets_the_call_end_when_it_is_stopped_and_then_ends_without_a_word_of_complaint(tmp_path, fake):
    fake.script = Script((say(GREETING),))
    settings = {"BASE_URL": BASE_URL, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "OPENAI_API_KEY": "sk-test"}
    settings |= {"OPENAI_REALTIME_URL": fake.url, "PORT": "0"}
    async with backend(tmp_path, **settings) as process, asked(process) as service:
        async with service.stream() as line:
            await line.hear(GREETING)
            process.process.send_signal(signal.SIGTERM)
            await process.reads("Stopping: 1 calls on the line")
            await line.say(b"\xff" * 1600)  # it is still served
            await line.hang_up()
            assert await line.closed() == 1000
        assert await process.ends() == 0
    assert "Stopped" in process.log
    for word in ("Traceback", " ERROR - ", AUTH_TOKEN, "sk-test"):
        assert word not in process.log


async def test_a_second_signal_ends_the_calls_at_once(tmp_path, fake):
    fake.script = Script((say(GREETING),))
    settings = {"BASE_URL": BASE_URL, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "OPENAI_API_KEY": "sk-test"}
    settings |= {"OPENAI_REALTIME_URL": fake.url, "PORT": "0"}
    async with backend(tmp_path, **settings) as process, asked(process) as service, service.stream() as line:
        await line.hear(GREETING)
        process.process.send_signal(signal.SIGTERM)
        await process.reads("Stopping: 1 calls on the line")
        process.process.send_signal(signal.SIGTERM)
        assert await line.closed() == 1001
        assert await process.ends() == 0
    assert "Traceback" not in process.log


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """Yield a full pipe that nobody reads, like the one to a log driver that hangs."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 4096)
    os.set_blocking(write_end, True)
    yield write_end
    os.close(write_end)
    os.close(read_end)


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_a_log_that_nobody_reads_holds_no_call_and_not_the_end_either(tmp_path, fake, full_pipe, log_format):
    fake.script = Script((say(GREETING),))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"BASE_URL": BASE_URL, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "OPENAI_API_KEY": "sk-test", "PORT": str(port)}
    settings |= {"OPENAI_REALTIME_URL": fake.url, "LOG_LEVEL": "DEBUG", "LOG_FORMAT": log_format}
    async with backend(tmp_path, stderr=full_pipe, **settings) as process, aiohttp.ClientSession() as http:
        service = Service(None, f"127.0.0.1:{port}", http)
        async with asyncio.timeout(20):
            while not await answers(service):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        async with asyncio.timeout(20):
            for _ in range(3):
                async with service.stream() as line:
                    await line.hear(GREETING)
                    await line.hang_up()
                    assert await line.closed() == 1000
            assert (await service.ask("GET", "/healthz"))[0] == 200
        process.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.process.wait() == 0


async def answers(service: Service) -> bool:
    with contextlib.suppress(aiohttp.ClientConnectionError):
        return await service.ask("GET", "/healthz") == (200, "ok\n")
    return False


async def test_what_python_itself_would_write_is_logged_as_all_else(tmp_path):
    """Warnings, errors in threads and errors in finalizers are logged in one line each, and none contains a complete
    text."""
    script = """
import threading, warnings
from callgate.config.settings import Config
from callgate.logs.setup import set_up_logging

class Gone:
    def __del__(self): raise ValueError("'my foot hurts'")

def fail(): raise ValueError("'my foot hurts'")

set_up_logging(Config())
warnings.warn("this: 'my foot hurts'")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
Gone()
fail()
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(20):
        _, err = await process.communicate()
    text = err.decode()
    assert process.returncode == 1
    assert re.findall(r"(WARNING|ERROR|CRITICAL) - (.*)", text) == [
        ("WARNING", "<string>:12: UserWarning: this: '…'"),
        ("ERROR", "A thread ended with an error"),
        ("ERROR", "An error that could not be raised, in function"),
        ("CRITICAL", "The process ends with an error"),
    ]
    assert text.count("ValueError: '…'") == 3
    assert "foot" not in text
