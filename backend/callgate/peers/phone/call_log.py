"""Records what happens in a call, for its report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .options import PhoneOptions
from .promises import Facts, judge
from .simulation import verbs
from .simulation.caller import Caller, Utterance
from .simulation.line import Line, Recording
from .simulation.report import CallError, CallReport, Spoken, StreamClose
from .simulation.script import Interrupt
from .simulation.timeline import Event, Timeline


class CallLog:
    """The record of one call. Times are in seconds since `begin`."""

    def __init__(self, on_event: Callable[[Event], None] | None = None) -> None:
        self.timeline = Timeline(on_event)
        self.recording = Recording()
        self.errors: list[CallError] = []
        self.documents: list[str] = []
        self.verbs: list[verbs.Verb] = []
        self.dialled: list[str] = []
        self.digits: list[str] = []
        self.lines: list[Line] = []
        self.closes: list[StreamClose] = []
        self.ended = ""  # why, as half a sentence
        self.overran = False
        self._zero = 0.0

    def begin(self) -> None:
        """Start the clock."""
        self._zero = asyncio.get_running_loop().time()

    def now(self) -> float:
        """Return how long the call has lasted."""
        return asyncio.get_running_loop().time() - self._zero

    def note(self, kind: str, text: str, **data: Any) -> None:
        """Add to the timeline what happens now."""
        self.timeline.add(self.now(), kind, text, **data)

    def end(self, why: str) -> None:
        """Note that the call is over. Only the first reason counts."""
        self.ended = self.ended or why

    def error(self, code: int, reason: str) -> None:
        """Note what the app does wrong now. ``code``: Twilio's error code, or 0 if it has none."""
        now = self.now()
        self.errors.append(CallError(code, reason, now))
        self.timeline.add(now, "error", f"{reason} (Twilio error {code})" if code else reason, code=code)

    def report(self, call_sid: str, options: PhoneOptions, caller: Caller, seconds: float) -> CallReport:
        """Return the report of the call. ``seconds``: how long it lasted."""
        executed = [verbs.describe(verb) for verb in self.verbs]
        errors = tuple(sorted(self.errors, key=lambda error: error.at))
        facts = Facts(errors, len(self.lines), executed, self.ended, self.overran)
        return CallReport(
            call_sid=call_sid,
            ended=self.ended,
            seconds=seconds,
            events=tuple(self.timeline.events),
            promises=judge(options, caller, facts),
            errors=errors,
            twiml_documents=tuple(self.documents),
            verbs=tuple(type(verb).__name__ for verb in self.verbs),
            dialled=tuple(self.dialled),
            digits=tuple(self.digits),
            stream_sids=tuple(line.start.stream_sid for line in self.lines),
            closes=tuple(self.closes),
            said=bytes(self.recording.said),
            heard=bytes(self.recording.heard),
            audio_began=self.recording.began or 0.0,
            utterances=tuple(_spoken(utterance) for utterance in caller.utterances),
            first_audio=self.lines[0].first_audio if self.lines else None,
            marks=sum(line.marks for line in self.lines),
            clears=sum(line.clears for line in self.lines),
        )


def _spoken(utterance: Utterance) -> Spoken:
    cleared = utterance.cleared
    return Spoken(
        name=utterance.words.name,
        audio=utterance.words.audio,
        began=utterance.began,
        speech_ended=utterance.speech_ended,
        at_byte=utterance.began_at_byte,
        latency=utterance.latency,
        interrupts=isinstance(utterance.words, Interrupt),
        cleared_after=None if cleared is None else cleared - utterance.began,
        spoken_over=utterance.spoken_over,
    )
