"""How a call went on after its model had failed, or seemed to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from callgate.core.units import SECONDS
from support.fake_openai import Connection, FakeOpenAI

from . import hearing
from .figures import over, was_heard
from .hearing import RECOGNISED, Sentence
from .place import Call
from .scene import Scene, history

# anything heard at least this long before a session's first response must be in its history
TOLD_WITHIN = 0.3 * SECONDS

WRITTEN = frozenset({"conversation.item.input_audio_transcription.completed", "response.output_audio_transcript.done"})


class Ending(Enum):
    """How a call went on."""

    UNHARMED = "unharmed"  # with the same session
    WENT_ON = "went on"  # with another session, which knew what had been said
    SAFETY_NET = "safety net"  # apology and FALLBACK_DIAL
    FORGOT = "FORGOT"  # another session, which did not know what had been said
    LOST = "LOST"  # neither a goodbye that was heard nor the safety net

    @property
    def is_designed(self) -> bool:
        """Whether this is an acceptable ending."""
        return self not in (Ending.FORGOT, Ending.LOST)


def judge(call: Call, fake: FakeOpenAI, scene: Scene, struck_at: float) -> tuple[Ending, str]:
    """Return how the call ended, and the reason for that verdict. ``struck_at`` is when the fault came, in the
    loop's time."""
    report = call.report
    if fake.violations:
        return Ending.LOST, fake.violations[0]
    if report.ended == "dialled" and "Say" in report.verbs:
        return Ending.SAFETY_NET, "apologised, and put through"
    goodbye = any(hearing.ends_in(scene.goodbye, report.heard))
    if report.ended != "the app hung up" or not goodbye:
        return Ending.LOST, f"{report.ended}; the goodbye was {'' if goodbye else 'not '}heard to its end"
    others = [each for each in fake.connections[1:] if was_heard(each, report) or _served_last(each, call)]
    if missing := forgotten(call, fake, scene, struck_at, others):
        return Ending.FORGOT, f"a further session was not told {missing.text!r}"
    if len(list(hearing.ends_in(scene.greeting, report.heard))) > 1:
        return Ending.FORGOT, "the caller was greeted again"
    return (Ending.WENT_ON, "with another session") if others else (Ending.UNHARMED, "with the same session")


def forgotten(
    call: Call, fake: FakeOpenAI, scene: Scene, struck_at: float, others: Iterable[Connection]
) -> Sentence | None:
    """Return a sentence that was said before one of these later sessions took over and that the session does not know,
    if any: neither as text nor, if the caller said it, as audio.

    What the first session sent after ``struck_at`` may have gone unread.
    """
    for connection in others:
        began = _took_over(fake, connection)
        if began is None:
            continue
        told = " ".join(text for _, text in history(connection.received))
        before = began - TOLD_WITHIN
        written = set(_written_by(before, struck_at, fake.connections[: connection.number]))
        said = [*_heard_by(call, before, scene), *_not_given(connection, scene)]
        for sentence in said:
            if sentence.text in written and sentence.text not in told:
                return sentence
    return None


def _served_last(connection: Connection, call: Call) -> bool:
    """Whether the session was open to the end of the call, and so may have ended it without a word."""
    return connection.closed_at is None or connection.closed_at >= over(call)


def _not_given(connection: Connection, scene: Scene) -> Iterator[Sentence]:
    """Yield the caller's sentences that the session was not given as audio."""
    audio = connection.audio
    for sentence in scene.said_by_caller:
        if hearing.bytes_of(sentence.audio, audio) < RECOGNISED:
            yield sentence


def _heard_by(call: Call, before: float, scene: Scene) -> list[Sentence]:
    """Return the agent's sentences that had been heard to the end at ``before``, in the loop's time."""
    report = call.report
    return [
        sentence
        for sentence in scene.said_by_agent
        if any(call.zero + hearing.at_second(report, at) < before for at in hearing.ends_in(sentence, report.heard))
    ]


def _written_by(before: float, struck_at: float, sessions: Iterable[Connection]) -> Iterator[str]:
    """Yield the transcripts of both sides that these sessions had sent at ``before``, in the loop's time."""
    for session in sessions:
        until = min(before, struck_at) if session.number == 0 else before
        for event, at in zip(session.sent, session.sent_at, strict=True):
            if at < until and event.get("type") in WRITTEN and "transcript" in event:
                yield event["transcript"]


def _took_over(fake: FakeOpenAI, connection: Connection) -> float | None:
    """Return when a session was first asked to speak or given the caller's audio, in the loop's time."""
    times = [
        received.at
        for received in fake.events_received
        if received.connection == connection.number
        and received.event.get("type") in ("response.create", "input_audio_buffer.append")
    ]
    return min(times, default=None)
