"""Callers who speak over the agent at random moments: how soon it goes silent, and what the model is told.

Each caller asks, gets a long answer, speaks over it, gets another, and so on. What the model was told
(``audio_end_ms``) is compared with the recording of what the caller heard.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass

from callgate.core.units import SECONDS
from callgate.peers.linecheck.realtime.pending_turn import ToAnswer
from callgate.peers.linecheck.realtime.response import ScriptedResponse, Speech, SpeechPace
from callgate.peers.phone.simulation.script import Interrupt, Speak, Step
from support.fake_openai import Connection, Event, FakeOpenAI, Faults, Script

from . import hearing
from .hearing import noise
from .place import Call, Tls, in_own_place, lateness, left_open, open_things, place

EACH = 20  # interruptions per call, roughly
ANSWER = 5 * SECONDS
WORDS = 0.3 * SECONDS
EARLIEST, LATEST = 0.05 * SECONDS, 2.5 * SECONDS  # into the agent's speech
LATE_DELTAS = 3  # sent after a response was cancelled
STAGGER = 0.13 * SECONDS


@dataclass(frozen=True, slots=True)
class Cut:
    """One interruption. ``told_ms`` is how much the caller heard according to the relay; ``played_ms`` is what was
    played."""

    clear_ms: float | None  # from the model's speech_started to the phone's clear, or None if no clear arrived
    told_ms: float
    played_ms: float
    played_after: int  # bytes of the cut item, or of earlier ones, played after the clear

    @property
    def error_ms(self) -> float:
        """How far the reported position is from what was heard."""
        return self.told_ms - self.played_ms


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of all calls."""

    cuts: tuple[Cut, ...]
    asked: int  # interruptions made by the callers
    violations: tuple[str, ...]
    left: tuple[str, ...]
    late_ms: float  # this process's worst delay, by which the phone's playback may have been late too


async def interrupt(tls: Tls, count: int, at_once: int, seed: int) -> Outcome:
    """Make ``count`` interruptions, spread over concurrent calls."""
    shares = [len(range(number, count, at_once)) for number in range(at_once)]
    shares = [share for share in shares if share]
    await in_own_place(_call(tls, (seed, 0), 1, 0.0))  # a first call opens what stays open for the whole run
    before = open_things()
    async with lateness() as late:
        calls = [
            asyncio.ensure_future(in_own_place(_call(tls, (seed, number), share, number * STAGGER)))
            for number, share in enumerate(shares, 1)
        ]
        done = await asyncio.gather(*calls)
    # Only now, because it takes long enough to delay the phones of calls still running.
    return Outcome(
        cuts=tuple(cut for call, fake in done for cut in _cuts(call, fake)),
        asked=sum(utterance.interrupts for call, _ in done for utterance in call.report.utterances),
        violations=tuple(violation for _, fake in done for violation in fake.violations),
        left=(*(what for call, _ in done for what in call.left), *await left_open(before)),
        late_ms=late() * 1000,
    )


async def _call(tls: Tls, seed: tuple[int, int], count: int, delay: float) -> tuple[Call, FakeOpenAI]:
    await asyncio.sleep(delay)
    chance = random.Random(repr(seed))
    pace = SpeechPace(delta_ms=chance.choice((20, 60, 200, 400)), times=chance.uniform(2.0, 11.0))

    def answer(turn: ToAnswer) -> ScriptedResponse:
        return ScriptedResponse((Speech(noise((*seed, 1, turn.number), ANSWER), "And so on, and so on."),))

    steps: list[Step] = [Speak(noise((*seed, 0), WORDS), "question")]
    steps += [
        Interrupt(noise((*seed, 2, number), WORDS), "interruption", chance.uniform(EARLIEST, LATEST))
        for number in range(count)
    ]
    fake = FakeOpenAI(Script(after=answer, pace=pace), Faults(late_deltas=LATE_DELTAS))
    async with place(tls, fake) as here:
        return await here.call(*steps, max_seconds=30 * SECONDS + 5 * SECONDS * count), fake


def _cuts(call: Call, fake: FakeOpenAI) -> Iterator[Cut]:
    """Yield every interruption that was reported to the model, in order."""
    connection = fake.connections[0]
    clears = [event.at + call.zero for event in call.report.events if event.kind == "clear"]
    started = _times(connection, "input_audio_buffer.speech_started")
    for received in fake.events_received:
        told = received.event
        if told.get("type") != "conversation.item.truncate":
            continue
        began = max((at for at in started if at <= received.at), default=received.at)
        clear = next((at for at in clears if at >= began), None)
        yield _cut(call, _audio_of(connection, told["item_id"]), told, began, clear)


def _cut(call: Call, audio: bytes, told: Event, began: float, clear: float | None) -> Cut:
    recording = call.report.heard
    at, played = hearing.find(audio, recording)
    return Cut(
        clear_ms=None if clear is None else (clear - began) * 1000,
        told_ms=told["audio_end_ms"],
        played_ms=hearing.milliseconds(played),
        played_after=hearing.bytes_of(audio, recording[at + played :]),
    )


def _audio_of(connection: Connection, item_id: str) -> bytes:
    """Return the audio sent of an item, without the deltas repeated after its cancellation."""
    return b"".join(
        base64.b64decode(event["delta"])
        for event in connection.sent
        if event["type"] == "response.output_audio.delta"
        and event["item_id"] == item_id
        and not event["event_id"].startswith("event_late")
    )


def _times(connection: Connection, type: str) -> list[float]:
    pairs = zip(connection.sent, connection.sent_at, strict=True)
    return [at for event, at in pairs if event["type"] == type]
