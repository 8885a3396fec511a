"""Calls to a model that lives, frame by frame: the model's script, the caller's words, and the usual exchange."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from callgate.agents.clips import one_moment
from callgate.core.wire.media_stream import FRAME_BYTES, FRAME_SECONDS
from callgate.peers.linecheck.realtime.response import ScriptedResponse, SpeechPace

from support.fake_openai import At, Connection, FakeOpenAI, Faults, Habits, Script, tone
from support.service import Line, config_for, running

GREETING, ANSWER, LAST = tone(0.3, 440), tone(0.4, 660), tone(0.4, 770)
WORDS = tone(0.5, 300)
PAUSE = b"\xff" * 8000
ONE_MOMENT = base64.b64decode(one_moment())
QUICK = SpeechPace(times=1000)


def in_order(*responses: ScriptedResponse, pace: SpeechPace = QUICK) -> Script:
    """Return a model that gives these responses in order, in whichever sessions it is asked, and the last one again and
    again."""
    waiting = list(responses)
    return Script(after=lambda turn: waiting.pop(0) if len(waiting) > 1 else waiting[0], pace=pace)


@contextlib.asynccontextmanager
async def called(
    folder: Path,
    script: Script | Callable[[Connection], Script],
    habits: Habits | None = None,
    *at: At,
    hold_marks: bool = False,
    **settings: str,
) -> AsyncIterator[tuple[Line, FakeOpenAI]]:
    """Make a call to a service with this model. ``at``: faults of its first session."""
    fake = FakeOpenAI(script, (Faults(at=at),), habits=habits or Habits(), api_key="sk-test")
    async with (
        fake,
        running(config_for(fake.url, folder, **settings)) as service,
        service.stream(hold_marks=hold_marks) as line,
    ):
        yield line, fake
    assert fake.violations == []


async def hears(line: Line, audio: bytes) -> None:
    """Wait until the caller has been sent this audio."""
    await line.listen(lambda line: audio in line.heard)


async def answered(line: Line, answer: bytes = ANSWER) -> None:
    """Be greeted, say something, and hear the answer."""
    await hears(line, GREETING)
    await line.say(WORDS + PAUSE)
    await hears(line, answer)


async def press(line: Line, keys: str) -> None:
    """Press keys on the telephone."""
    for digit in keys:
        await line.send("dtmf", dtmf={"track": "inbound_track", "digit": digit})


async def talk(line: Line, audio: bytes) -> None:
    """Speak at the pace of a telephone."""
    for at in range(0, len(audio), FRAME_BYTES):
        await line.say(audio[at : at + FRAME_BYTES])
        await asyncio.sleep(FRAME_SECONDS)


@contextlib.asynccontextmanager
async def noise_on(line: Line, audio: bytes) -> AsyncIterator[None]:
    """Have this noise on the line, again and again."""

    async def make_noise() -> None:
        while True:
            await talk(line, audio)

    making = asyncio.create_task(make_noise())
    try:
        yield
    finally:
        making.cancel()
        await asyncio.wait((making,))


def responses_begun(fake: FakeOpenAI) -> int:
    """Return how many responses the model has begun."""
    return sum(event["type"] == "response.created" for each in fake.connections for event in each.sent)
