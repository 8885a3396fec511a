"""``callgate serve`` as its own process: how it starts, how it stops, and how little it needs."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from fake_openai import Script, say, tone
from serve_process import Backend, backend
from service import AUTH_TOKEN, BASE_URL, Service

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
    """As behind a tunnel: no nginx, no certbot, no configuration file, some GA Realtime server as the model."""
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
    assert kept - {"calls.sqlite3-journal"} == {"calls.sqlite3", "rehearsal-auth-token"}  # it may be writing now
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
