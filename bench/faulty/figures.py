"""What a caller had to bear that was not the model's doing: dead air, answers that they did not hear, a session that
lived and was given up. Pure.

Times are seconds since the call began, unless they are said to be the loop's.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from callgate.core.units import SECONDS
from callgate.core.wire.media_stream import SAMPLE_RATE
from callgate.peers.phone.simulation.report import CallReport
from support.fake_openai import Connection, FakeOpenAI

from . import clips, hearing
from .hearing import GRAM, RECOGNISED, Sentence
from .place import Call

VOICE_DETECTION = 0.5 * SECONDS  # of silence, until the model takes the caller to have finished
SAME_TIME = 0.1 * SECONDS

# From what the silence follows (the name of an utterance; `OPENING`; or "" for anything else) to the model's own
# latency after that, as the fake was told to have it.
Own = Callable[[str], float]
OPENING = "the call's beginning"


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted of one call. ``silence`` is the longest one; ``dead_air`` the most that was left of one after the
    model's own latency. ``lost``: answers that were not heard. ``clips``: how often "one moment" was played;
    ``over_caller``: how often over the caller. ``sessions``: how many were opened; ``given_up``: how many that lived
    and served were closed too early."""

    silence: float
    dead_air: float
    lost: tuple[str, ...]
    clips: int
    over_caller: int
    sessions: int
    given_up: int


def figures_of(
    call: Call,
    fake: FakeOpenAI,
    sentences: Sequence[Sentence],
    own: Own,
    *,
    late: float = 0.0,
    dead_from: float | None = None,
) -> Figures:
    """Count what happened in a call. ``sentences``: of the agent's. ``late``: how late the model's events are.
    ``dead_from``: when the first session failed for good, in the loop's time; None if it did not."""
    report = call.report
    return Figures(
        silence=hearing.worst(hearing.silences(report, sentences)),
        dead_air=max(dead_air(report, sentences, own), default=0.0),
        lost=tuple(answers_lost(call, fake, sentences, late=late, dead_from=dead_from)),
        clips=len(clips.clips(report.heard)),
        over_caller=len(clips.over_caller(report, late)),
        sessions=len(fake.connections),
        given_up=given_up(call, fake, dead_from),
    )


def dead_air(report: CallReport, sentences: Sequence[Sentence], own: Own) -> list[float]:
    """Return, of every silence, what is left of it after the model's own latency has passed."""
    found: list[float] = []
    for silence in hearing.silences(report, sentences):
        name, since = _cause(report, silence.began)
        due = max(silence.began, since + own(name))
        found.append(max(0.0, silence.began + silence.seconds - due))
    return found


def _cause(report: CallReport, began: float) -> tuple[str, float]:
    """Return what a silence that began at this time follows, and when that was."""
    ended = [(each.speech_ended, each.name) for each in report.utterances if each.speech_ended is not None]
    before = [(at, name) for at, name in ended if at <= began + SAME_TIME]
    if before:
        at, name = before[-1]
        return name, at
    answered = hearing.answered(report)
    return (OPENING, answered) if not report.utterances or began < report.utterances[0].began else ("", began)


# Answers.


@dataclass(frozen=True, slots=True)
class _Spoken:
    """One item of a response, as the fake sent it. Times are the loop's; ``done_at``: None if it never was."""

    sentence: Sentence
    began_at: float
    done_at: float | None
    status: str


def answers_lost(
    call: Call, fake: FakeOpenAI, sentences: Sequence[Sentence], *, late: float = 0.0, dead_from: float | None = None
) -> list[str]:
    """Return the texts of these sentences that a living model spoke and that the caller did not hear to the end,
    neither from it nor from another session, though they did not interrupt it.

    ``late``: how late its events are. ``dead_from``: when the first session failed for good, in the loop's time: what
    it had not finished by then is not expected.
    """
    end = call.zero + call.report.seconds - late
    lost: dict[str, None] = {}
    for connection in fake.connections:
        dead = dead_from if connection.number == 0 else None
        for spoken in _spoken(connection, sentences):
            was_there = _is_finished(spoken, connection, dead) and spoken.began_at < end
            if was_there and spoken.sentence.is_owed and not _is_heard_or_cut(spoken, call.report):
                lost[spoken.sentence.text] = None
    return list(lost)


def _is_finished(spoken: _Spoken, connection: Connection, dead_from: float | None) -> bool:
    """Whether the session was there to say all of it."""
    if spoken.status == "cancelled":
        return False
    if spoken.done_at is None:
        return dead_from is None and not connection.ended_by_fake
    return dead_from is None or spoken.done_at < dead_from


def _is_heard_or_cut(spoken: _Spoken, report: CallReport) -> bool:
    """Whether the caller heard it to the end, or interrupted it while they heard it."""
    if any(hearing.ends_in(spoken.sentence, report.heard)):
        return True
    audio = spoken.sentence.audio
    at = report.heard.find(audio[:GRAM])
    if at < 0:
        return False
    began = hearing.at_second(report, at)
    return any(began < each.began < began + len(audio) / SAMPLE_RATE for each in report.utterances)


def _spoken(connection: Connection, sentences: Sequence[Sentence]) -> Iterator[_Spoken]:
    began: dict[tuple[str, str], tuple[float, Sentence]] = {}
    ended: dict[str, tuple[float, str]] = {}
    for event, at in zip(connection.sent, connection.sent_at, strict=True):
        if event["type"] == "response.output_audio.delta":
            start = base64.b64decode(event["delta"])[:GRAM]
            sentence = next((each for each in sentences if each.audio.startswith(start)), None)
            key = (event["response_id"], event["item_id"])
            if sentence is not None and key not in began:
                began[key] = (at, sentence)
        elif event["type"] == "response.done":
            ended[event["response"]["id"]] = (at, event["response"]["status"])
    for (response_id, _), (at, sentence) in began.items():
        done_at, status = ended.get(response_id, (None, ""))
        yield _Spoken(sentence, at, done_at, status)


# Sessions.


def over(call: Call) -> float:
    """Return, in the loop's time, before when a model's session is closed too early: the end of the last stream."""
    closes = [close.at for close in call.report.closes]
    return call.zero + max(closes, default=call.report.seconds) - SAME_TIME


def was_heard(connection: Connection, report: CallReport) -> bool:
    """Whether the caller heard anything of what this session said."""
    deltas = (event for event in connection.sent if event["type"] == "response.output_audio.delta")
    audio = b"".join(base64.b64decode(event["delta"]) for event in deltas)
    return hearing.bytes_of(audio, report.heard) >= RECOGNISED


def given_up(call: Call, fake: FakeOpenAI, dead_from: float | None = None) -> int:
    """Return how many sessions that served the call and lived were closed before its end, while it went on with
    another. ``dead_from``: when the first one failed, in the loop's time."""
    closed = [each.closed_at for each in fake.connections if each.closed_at is not None]
    last = max(closed, default=0.0) - SAME_TIME  # the phone notices the end later, if this process is late
    early = [each for each in fake.connections if each.closed_at is not None and each.closed_at < min(over(call), last)]
    return sum(
        not each.ended_by_fake
        and (each.number > 0 or dead_from is None)
        and (each.number == 0 or was_heard(each, call.report))
        for each in early
    )
