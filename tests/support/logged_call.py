"""A call that covers everything that can be said, with errors that quote it; and what was logged of it, at any
level."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from callgate.config.settings import Config
from callgate.errors import StoreError
from callgate.logs.setup import set_up_logging
from callgate.peers.linecheck.realtime.response import Speech
from callgate.store import StoredCall

from support.fake_openai import (
    At,
    Close,
    Connection,
    FakeOpenAI,
    Faults,
    Script,
    Send,
    asking,
    error_event,
    failed,
    say,
    tone,
    tool,
    tools,
)
from support.relayed import until
from support.service import AUTH_TOKEN, WSS_URL, Line, Service, Stream, config_for, running
from support.tool_server import tool_server

GREETING, LOOKING, ANSWER, BACK = tone(0.3, 440), tone(0.2, 550), tone(0.3, 660), tone(0.3, 880)
LAST = tone(20, 770)  # only a little of it is heard
SPEECH = tone(0.5, 300) + b"\xff" * 8000  # the caller's words, followed by a pause

CALLER, CALLED = "+15557654301", "+15557654302"
SAID = "My zwieback is overdue, ring 0044 20 7946 0958 or +15557654303"
QUOTES = f"He said: {SAID}; and 'marzipan or 5557654304', I can't"  # the most that fits into a close frame
KEY, ADMIN = "sk-the-key-of-the-model", "the-admin-token"

#: Words of both sides, of tools, of messages and of errors that quote them; and secrets.
PRIVATE = (
    "zwieback", "overdue", "marzipan", "rhubarb", "wisteria", "quillfeather", "gooseberry", "parcels", "pineapple",
    KEY, ADMIN, AUTH_TOKEN,
)  # fmt: skip
NUMBER = re.compile(r"5557654\d|7946|554\D?0958")

AGENTS = """
[default]
instructions = "You are pineapple."
tools = ["hang_up", "take_message"]

[[default.http]]
name = "find_parcel"
description = "Where a parcel is."
url = "https://localhost:PORT/echo"

[[default.http]]
name = "find_out"
description = "Why it is late."
url = "https://localhost:PORT/missing"
method = "GET"
"""


@contextlib.contextmanager
def logged(config: Config) -> Iterator[io.StringIO]:
    """Set up a service's logging, and yield what its operator reads."""
    root, ours = logging.getLogger(), logging.getLogger("callgate")
    before, levels = root.handlers[:], (root.level, ours.level)
    stream = io.StringIO()
    set_up_logging(config, stream)
    try:
        yield stream
    finally:
        root.handlers[:] = before
        root.setLevel(levels[0])
        ours.setLevel(levels[1])


def private_in(text: str) -> list[str]:
    """Return whatever in the text must not be logged: words, secrets and numbers."""
    found = [word for word in PRIVATE if word.lower() in text.lower()]
    return found + NUMBER.findall(text)


def check_call(found: StoredCall, log: str) -> None:
    """Check a full call: everything that was to happen did, and what was said appears only where it may."""
    assert private_in(log) == []
    assert private_in(f"{found.call.reason} {found.call.receipt}") == []
    kept = " ".join(turn.text for turn in found.turns) + found.messages[0].text
    assert {"zwieback", "overdue", "rhubarb", "parcels"} <= set(private_in(kept))  # it was said, and is on record
    for happened in (
        "the tool [", "HTTP tool find_parcel: status 200", "Took a message of", "Caller spoke over",
        "reported invalid_value (", "response failed (server_error (", "closed the session: 4000 (",
        "refused the session: HTTP 503, [", "closed the session: 4001 (", "and is resumed", "the agent hung up",
    ):  # fmt: skip
        assert happened in log, happened


def first_session() -> Script:
    return Script(
        (
            say(GREETING, "Rhubarb, hello."),
            tools(
                asking("find_parcel", number="wisteria"),
                asking("find_out", since="gooseberry"),
                asking("take_message", text=SAID, name="Quillfeather", callback="+15557654305"),
                asking(QUOTES, what="marzipan"),
                first=Speech(LOOKING, "Rhubarb, let me see."),
            ),
            failed("server_error", QUOTES),
            say(ANSWER, "Rhubarb, that is it."),
            say(LAST, "Rhubarb, never heard."),
        ),
        transcript=SAID,
    )


def second_session() -> Script:
    return Script(after=lambda turn: say(BACK, "Rhubarb, I am back."), transcript=SAID)


def last_session() -> Script:
    goodbye = tool("hang_up", first=Speech(BACK, "Rhubarb, goodbye."))
    return Script((say(BACK, "Rhubarb, I am back."),), after=lambda turn: goodbye, transcript=SAID)


FAULTS = (
    Faults(
        at=(
            At("response.output_audio.delta", Send(error_event("invalid_value", QUOTES))),
            At("response.output_audio.delta", Send(error_event(QUOTES, QUOTES, type=QUOTES))),
            At("response.done", Send({"type": QUOTES, "zwieback": SAID})),
            At("input_audio_buffer.speech_stopped", Close(4000, QUOTES), nth=3),
        )
    ),
    Faults(refuse=503, refuse_code=QUOTES),
    Faults(at=(At("session.updated", Send(error_event("invalid_value", QUOTES))),)),
    Faults(at=(At("session.updated", Close(4001, QUOTES)),)),
)


@contextlib.asynccontextmanager
async def place(
    folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str
) -> AsyncIterator[tuple[Service, FakeOpenAI, Config]]:
    """Run a service whose model fails in every way, and whose agent has tools."""
    async with (
        FakeOpenAI(api_key=KEY) as fake,
        tool_server(folder, name="localhost") as server,
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificates.ca))
        for wait in (
            "tools.runner.KEEP_DEADLINE",
            "core.turns.liveness.ANSWER_WITHIN",
            "core.turns.liveness.WORDS_WITHIN",
            "core.turns.floor.BEGINS_WITHIN",
            "switchboard.loop_pulse.LATE",
        ):
            monkeypatch.setattr(f"callgate.{wait}", 30.0)  # the machine may be busy
        file = folder / "agents.toml"
        file.write_text(AGENTS.replace("PORT", str(server.port)))
        config = config_for(
            fake.url,
            folder,
            **{
                "STORE": "on",
                "LOG_LEVEL": "DEBUG",
                "OPENAI_API_KEY": KEY,
                "ADMIN_TOKEN": ADMIN,
                "AGENTS_FILE": str(file),
                "HTTP_TOOLS_ALLOW": f"localhost:{server.port}",
                **settings,
            },
        )
        async with running(config) as service:
            yield service, fake, config
        assert fake.violations == []


async def call_of(service: Service, call_sid: str, path: str = "/incoming-call") -> Stream:
    """Return the stream that Twilio is told to connect a call to."""
    status, document = await service.webhook(path, CallSid=call_sid, From=CALLER, To=CALLED)
    assert status == 200, document
    stream = ElementTree.fromstring(document).find("./Connect/Stream")
    assert stream is not None, document
    return Stream(call_sid, stream.attrib["url"].removeprefix(WSS_URL), stream[0].attrib["value"])


async def full_call(service: Service, fake: FakeOpenAI, call_sid: str) -> StoredCall:
    """Hold the call: words, tools, a message and an interruption; a model that is lost, with successors that fail
    while being opened; a stream that breaks and is resumed; a goodbye. Return the stored call."""

    def script(connection: Connection) -> Script:
        return first_session() if connection.number == 0 else second_session()

    fake.script, fake.faults = script, FAULTS
    async with asyncio.timeout(20):  # until the store is open
        while service.services.store.journal.failure or not await _reads(service, call_sid):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    async with service.stream(await call_of(service, call_sid)) as line:
        await line.hear(GREETING)
        await line.say(SPEECH)
        await line.listen(lambda line: ANSWER in line.heard)
        await line.say(SPEECH)
        await _interrupt(line)
        await line.listen(lambda line: BACK in line.heard)
        fake.script = lambda connection: last_session()
        line.socket.transport.abort()
    await until(lambda: fake.open_connections == 0)
    again = await call_of(service, call_sid, "/call-interrupted?resumed=0")
    async with service.stream(again) as line:
        await line.listen(lambda line: BACK in line.heard)
        await line.say(SPEECH)
        assert await line.closed() == 1000
    assert await service.services.store.journal.flush(10)
    found = await service.services.store.call(call_sid)
    assert found is not None
    return found


async def _reads(service: Service, call_sid: str) -> bool:
    with contextlib.suppress(StoreError):
        return await service.services.store.memory(call_sid) is None
    return False


async def _interrupt(line: Line) -> None:
    line.hold_marks = True
    await line.listen(lambda line: LAST[:1600] in line.heard)
    clears = line.clears
    await line.say(SPEECH)
    await line.listen(lambda line: line.clears > clears)
    line.hold_marks = False
    await line.return_marks()
