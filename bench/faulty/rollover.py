"""What is lost of the caller's and the agent's audio when a session's hour ends in the middle of a call.

The clock is scaled: the fake's sessions last ten seconds instead of an hour, and the relay's times for a planned
rollover are scaled to match. Sentences keep their usual length.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from callgate.core.units import SECONDS
from callgate.core.wire.media_stream import FRAME_BYTES
from callgate.peers.linecheck.realtime.pending_turn import ToAnswer
from callgate.peers.linecheck.realtime.response import ScriptedResponse, Speech
from callgate.peers.phone.simulation.script import Speak, Step
from support.fake_openai import Connection, FakeOpenAI, Script

from . import hearing
from .hearing import GRAM, RECOGNISED, Sentence, noise
from .place import Call, Tls, in_own_place, lateness, left_open, open_things, place
from .scene import history

SESSION = 10 * SECONDS  # instead of an hour
EXCHANGES = 10
WORDS = 0.8 * SECONDS
ANSWER = 1.4 * SECONDS
# before the caller speaks: shorter than the pauses in a real hour, but these few seconds must contain some
PAUSE = 1 * SECONDS
LONGEST_CALL = 90 * SECONDS
STAGGER = 0.37 * SECONDS  # so that sessions end at different places of the conversation

# The relay's times, by module and constant.
SCALED: Final = {
    ("callgate.core.turns.session_life", "ROLLOVER_AFTER"): 0.5 * SESSION,
    ("callgate.core.turns.session_life", "ROLLOVER_AT_LAST"): 0.9 * SESSION,
}


@dataclass(frozen=True, slots=True)
class Rollover:
    """The result of one call. Durations are in ms."""

    sessions: int
    expired: int  # sessions that reached their end without a planned rollover
    to_model_gap: float  # the longest time in which no session received audio from the caller
    words_lost: float  # the longest stretch of the caller's words that no session received
    agent_gap: float  # the longest silence inside an agent's answer
    replies: tuple[float, ...]  # from the end of the caller's words to the first sound of the answer
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of all calls. ``scaled`` names the relay's scaled times; it is empty if the relay plans no
    rollover."""

    calls: tuple[Rollover, ...]
    scaled: tuple[str, ...]
    left: tuple[str, ...]
    late_ms: float  # this process's worst delay


class Exchanges:
    """The sentences of one call: questions, each with its answer. Each ``number`` gives different noise."""

    def __init__(self, number: int) -> None:
        self.greeting = Sentence("Hello.", noise((number, 1, 0), 0.6))
        self.again = Sentence("Where were we?", noise((number, 1, 1), 0.6))
        self.questions = [
            Sentence(f"Question {place}.", noise((number, 2, place), WORDS)) for place in range(EXCHANGES)
        ]
        self.answers = [Sentence(f"Answer {place}.", noise((number, 3, place), ANSWER)) for place in range(EXCHANGES)]

    @property
    def steps(self) -> tuple[Step, ...]:
        """What the caller does."""
        return tuple(Speak(question.audio, question.text) for question in self.questions)

    def script(self, connection: Connection) -> Script:
        """Return what the model says on this connection. With no question to answer, it asks back."""

        def answer(turn: ToAnswer) -> ScriptedResponse:
            if (place := self._recognised(turn.heard)) is not None:
                sentence = self.answers[place]
            else:
                sentence = self.again if any(history(connection.received)) else self.greeting
            return ScriptedResponse((Speech(sentence.audio, sentence.text),))

        return Script(after=answer, transcript=self._transcript)

    def _transcript(self, audio: bytes) -> str:
        place = self._recognised(audio)
        return "" if place is None else self.questions[place].text

    def _recognised(self, audio: bytes) -> int | None:
        known = [place for place, each in enumerate(self.questions) if hearing.bytes_of(each.audio, audio) > RECOGNISED]
        return known[-1] if known else None


async def roll_over(tls: Tls, count: int) -> Outcome:
    """Make ``count`` calls at once."""
    with scaled_relay() as names:
        await in_own_place(_call(tls, 0, 0.0, 1))  # a first call opens what stays open for the whole run
        before = open_things()
        async with lateness() as late:
            calls = [
                asyncio.ensure_future(in_own_place(_call(tls, number, number * STAGGER, EXCHANGES)))
                for number in range(1, count + 1)
            ]
            done = await asyncio.gather(*calls)
        judged = tuple(_judged(call, fake, words) for call, fake, words in done)
        return Outcome(judged, names, await left_open(before), late() * 1000)


@contextlib.contextmanager
def scaled_relay() -> Generator[tuple[str, ...]]:
    """Scale those of the relay's times that exist. Yield their descriptions."""
    found = [(importlib.import_module(module), name, value) for (module, name), value in SCALED.items()]
    found = [(module, name, value) for module, name, value in found if hasattr(module, name)]
    usual = [getattr(module, name) for module, name, _ in found]
    for module, name, value in found:
        setattr(module, name, value)
    try:
        yield tuple(f"{module.__name__}.{name} = {value:g} s" for module, name, value in found)
    finally:
        for (module, name, _), value in zip(found, usual, strict=True):
            setattr(module, name, value)


async def _call(tls: Tls, number: int, delay: float, exchanges: int) -> tuple[Call, FakeOpenAI, Exchanges]:
    await asyncio.sleep(delay)
    words = Exchanges(number)
    fake = FakeOpenAI(words.script, session_seconds=SESSION)
    async with place(tls, fake) as here:
        call = await here.call(*words.steps[:exchanges], quiet_seconds=PAUSE, max_seconds=LONGEST_CALL)
    return call, fake, words


def _judged(call: Call, fake: FakeOpenAI, words: Exchanges) -> Rollover:
    return Rollover(
        sessions=sum(bool(connection.audio) for connection in fake.connections),
        expired=sum(_has_expired(connection) for connection in fake.connections),
        to_model_gap=_longest_gap(fake) * 1000,
        words_lost=max(_words_lost(question, fake) for question in words.questions),
        agent_gap=max(_gap_in(answer, call.report.heard) for answer in words.answers),
        replies=tuple(each.latency * 1000 for each in call.report.utterances if each.latency is not None),
        problems=tuple(_problems(call, fake, words)),
    )


def _has_expired(connection: Connection) -> bool:
    return any(event["type"] == "error" and event["error"]["code"] == "session_expired" for event in connection.sent)


def _longest_gap(fake: FakeOpenAI) -> float:
    """Return the longest time between two pieces of the caller's audio, over all sessions, in seconds."""
    times = [each.at for each in fake.events_received if each.event.get("type") == "input_audio_buffer.append"]
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)


def _words_lost(question: Sentence, fake: FakeOpenAI) -> float:
    """Return the longest stretch of these words that no session received, in ms."""
    got = b"".join(connection.audio for connection in fake.connections)
    frames = [question.audio[at : at + FRAME_BYTES] in got for at in range(0, len(question.audio), FRAME_BYTES)]
    runs = [len(list(run)) for there, run in itertools.groupby(frames) if not there]
    return hearing.milliseconds(max(runs, default=0) * FRAME_BYTES)


def _gap_in(sentence: Sentence, recording: bytes) -> float:
    """Return the longest silence inside this sentence, in ms. An end that was never heard counts too."""
    return max(_gaps(sentence.audio, recording))


def _gaps(audio: bytes, recording: bytes) -> Iterator[float]:
    heard_to = recording.find(audio[:GRAM])
    while audio:
        at = recording.find(audio[:GRAM], max(heard_to, 0))
        if at < 0:
            yield hearing.milliseconds(len(audio))
            return
        yield hearing.milliseconds(at - heard_to)
        size = hearing.common_prefix(audio, recording[at:])
        audio, heard_to = audio[size:], at + size


def _problems(call: Call, fake: FakeOpenAI, words: Exchanges) -> Iterator[str]:
    report = call.report
    if report.ended != "the caller hung up":
        yield f"the call ended otherwise: {report.ended}"
    if sum(each.latency is not None for each in report.utterances) != EXCHANGES:
        yield "not every question was answered"
    if any(hearing.ends_in(words.again, report.heard)):
        yield "the caller was asked where they were"
    if len(list(hearing.ends_in(words.greeting, report.heard))) > 1:
        yield "the caller was greeted again"
    yield from (f"left {what}" for what in call.left)
    yield from fake.violations
    yield from _forgotten(fake.connections)


def _forgotten(connections: Sequence[Connection]) -> Iterator[str]:
    for connection in connections[1:]:
        if connection.audio and not any(history(connection.received)):
            yield f"session {connection.number + 1} was told nothing of the conversation before it"
