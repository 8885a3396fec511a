"""What follows from the model's events about turns: who speaks, what is heard, which tools are called. Pure."""

from __future__ import annotations

import logging

from callgate.core.protocols.realtime import (
    ALREADY_RESPONDING,
    SESSION_EXPIRED,
    AddFunctionOutput,
    AgentTranscript,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    CallerTranscriptFailed,
    ErrorEvent,
    FunctionCall,
    Other,
    RemoteCallBegan,
    RemoteCallEnded,
    RemoteToolsMissing,
    ResponseCreated,
    ResponseDone,
    ServerEvent,
    SessionCreated,
    SessionUpdated,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
)
from callgate.core.units import SECONDS
from callgate.core.wire.media_stream import Mark, Media, payload_bytes
from callgate.errors import MediaStreamError

from .call_parts import CallParts
from .commands import Command, Note, Said
from .floor_table import Debt, Ended
from .rivalry import Rivalry
from .succession import Succession

AGAIN_AFTER = 0.2 * SECONDS  # for a request that the model refused because of a response in progress
SILENT_AFTER = 1 * SECONDS  # without a sound
REFUSED_WITHIN = 1.5 * SECONDS  # of an error that may be about our request: it would have begun by then
MOST_REFUSALS = 5  # in a row that say a response is in progress, though none is


class Answering:
    """The agent's answers in one call."""

    def __init__(self, parts: CallParts, succession: Succession, rivalry: Rivalry) -> None:
        self.interruptions = 0
        self._parts = parts
        self._succession = succession
        self._rivalry = rivalry
        self._is_continued = False  # the model was asked to go on with a response that broke off
        self._refusals = 0

    def audio(self, response_id: str, part: str, size: int, now: float) -> str | None:
        """``size`` bytes of a part arrived. Return None if the caller must not hear them; otherwise the name of the
        mark to send after them, or ""."""
        parts = self._parts
        if not (parts.ending.has_spoken and parts.floor.speaks(response_id)):
            is_first = not parts.floor.was_heard
            if not parts.floor.hears(response_id, now):
                parts.speech.kept_back(part, size, response_id)
                return None
            parts.ending.spoke()
            parts.first_word.said()
            if is_first:
                self._is_heard(now)
        return parts.speech.sent(part, size, now)

    def event(self, event: ServerEvent, now: float) -> list[Command]:
        """The model sent an event. Return the commands that follow."""
        parts = self._parts
        match event:
            case AudioDelta():
                return self._audio(event, now)
            case AudioDone():
                parts.comfort.spoken()
                return parts.speech.part_done(parts.speech.part(event.item_id, event.content_index))
            case SpeechStarted():
                return self._caller_speaks(now)
            case SpeechStopped():
                return self._caller_is_silent(now)
            case SpeechCommitted():
                commands = self._caller_is_silent(now) if parts.floor.caller_speaks else []  # its end was not reported
                return [*commands, parts.memory.caller_spoke(event.item_id, is_kept=parts.audio.spoken)]
            case CallerTranscript():
                return [parts.memory.caller_said(event.item_id, event.text)]
            case CallerTranscriptFailed():
                why = f"The model could not transcribe what the caller said: {event.why}"
                return [Note(logging.WARNING, why), parts.memory.not_transcribed(event.item_id)]
            case AgentTranscript():
                return self._text(event)
            case ResponseCreated():
                self._began(event.response_id, now)
            case ResponseDone():
                return self._done(event, now)
            case FunctionCall():
                return self._tool_asked(event, now)
            case RemoteToolsMissing() | RemoteCallBegan() | RemoteCallEnded():
                return self._remote(event, now)
            case ErrorEvent():
                return self._error(event, now)
            case SessionUpdated():
                if parts.liveness.answered(now):
                    parts.audio.let_pass(now)
            case SessionCreated() | Other():
                pass
        return []

    # The caller.

    def _caller_speaks(self, now: float, *, is_kept: bool = True) -> list[Command]:
        """The caller begins to speak. ``is_kept``: their audio is kept from there on."""
        parts = self._parts
        commands: list[Command] = []
        if not parts.ending.can_be_interrupted:
            return []
        if parts.ending.farewell is not None:
            parts.ending.stays()
            commands.append(
                Note(logging.INFO, "The caller went on speaking before the agent's goodbye: the call goes on")
            )
        if parts.floor.was_heard:
            parts.recovery.answered()
        if is_kept:
            parts.audio.noticed(now)
        parts.limits.caller_spoke()
        parts.comfort.spoken()
        self._is_continued = False
        was_answering = parts.floor.has_responses
        parts.floor.speech_begins(now)
        if parts.audio.is_repeated(now) and not was_answering:  # what was said before interrupts nobody
            return commands
        silenced, heard_ms = parts.speech.cut_off(now)
        commands += silenced
        if heard_ms is not None:
            self.interruptions += 1
            commands.append(Note(logging.INFO, f"Caller spoke over the agent, who was heard for {heard_ms} ms"))
        return commands

    def _caller_is_silent(self, now: float) -> list[Command]:
        parts = self._parts
        commands: list[Command] = []
        if parts.floor.missed_speech:
            commands = self._caller_speaks(now, is_kept=parts.audio.keeps_words)
        parts.audio.fell_silent()
        parts.floor.speech_ends(now)
        parts.comfort.waits_from(now)
        return commands

    # The agent.

    def _audio(self, event: AudioDelta, now: float) -> list[Command]:
        parts = self._parts
        part = parts.speech.part(event.item_id, event.content_index)
        try:
            size = payload_bytes(event.delta)
        except MediaStreamError:
            return [Note(logging.WARNING, "The model sent audio that is not base64: it is skipped")]
        if not size or (mark := self.audio(event.response_id, part, size, now)) is None:
            return []
        commands: list[Command] = [Media(parts.stream_sid, event.delta)]
        if mark:
            commands.append(Mark(parts.stream_sid, mark))
        return commands + self._rivalry.spoke()

    def _text(self, event: AgentTranscript) -> list[Command]:
        parts = self._parts
        part = parts.speech.part(event.item_id, event.content_index)
        is_unheard = parts.ending.is_leaving or parts.floor.is_muted(
            event.response_id
        )  # as far as it comes from now on
        if is_unheard and not parts.speech.is_heard(part):
            return []
        if event.complete:
            return [Said(parts.memory.transcript.agent_wrote(part, event.text))]
        parts.memory.transcript.agent_writes(part, event.text)
        return []

    def _began(self, response_id: str, now: float) -> None:
        self._refusals = 0
        if response_id and self._parts.floor.begins(response_id, now):
            self._parts.ending.response_begins()

    def _is_heard(self, now: float) -> None:
        """The response under way is heard for the first time, or calls a tool."""
        parts = self._parts
        parts.comfort.answered_after(now - parts.floor.since)
        if parts.floor.pays_words:
            parts.audio.answered()
            parts.memory.answered()

    def _done(self, event: ResponseDone, now: float) -> list[Command]:
        parts = self._parts
        ended = parts.floor.ends(event.response_id, now, was_cancelled=event.status == "cancelled")
        if event.error_code == SESSION_EXPIRED:
            return self._succession.lost(event.why, now, is_to_blame=False)
        if ErrorEvent(event.error_code or "", "").ends_session:
            return self._succession.useless(f"the model's response failed ({event.why})", now)
        if ended is Ended.MUTED:
            is_over_caller = parts.floor.caller_speaks and event.status != "cancelled"
            if is_over_caller and now >= parts.audio.heard_until + SILENT_AFTER:  # their silence was not reported
                self._caller_is_silent(now)
            return parts.speech.response_done(event.response_id)
        if ended is Ended.UNKNOWN:
            return []
        if parts.ending.farewell is not None:
            if parts.ending.must_ask(now):
                parts.floor.wants(Debt.RESULTS, now)
                return []
            return parts.leave(now)
        if ended is Ended.UNHEARD:
            return self._rivalry.failed(_nothing_said(event), now, event.retry_after)
        if event.status in ("failed", "incomplete"):
            return self._broke_off(event, now)
        self._is_continued = False
        parts.recovery.answered()
        return self._rivalry.spoke()

    def _broke_off(self, event: ResponseDone, now: float) -> list[Command]:
        """A response ended in the middle, after the caller had heard some of it."""
        if self._is_continued and not event.unfinished_call:
            return []
        self._is_continued = True
        self._parts.floor.still_owes(now)
        return self._rivalry.failed(f"its response broke off ({_why(event)})", now, event.retry_after)

    # Tools.

    def _tool_asked(self, event: FunctionCall, now: float) -> list[Command]:
        parts = self._parts
        response_id = event.response_id or parts.floor.under_way
        was_heard = parts.floor.speaks(response_id)
        is_heard = parts.floor.hears(response_id, now) if response_id else not parts.floor.caller_speaks
        if is_heard and not was_heard:
            self._is_heard(now)
        asked = parts.desk.asked(
            event.call_id, event.name, event.arguments,
            may_leave=is_heard, is_leaving=parts.ending.farewell is not None,
        )  # fmt: skip
        parts.comfort.waits_from(now)
        if asked.farewell is not None:
            parts.ending.leaves(asked.farewell)
        if asked.owes_answer and is_heard:
            parts.floor.wants(Debt.RESULTS, now)
        commands = [*asked.commands, *(self._rivalry.spoke() if is_heard else [])]
        return commands if asked.output is None else [*commands, AddFunctionOutput(event.call_id, asked.output)]

    def _remote(self, event: RemoteToolsMissing | RemoteCallBegan | RemoteCallEnded, now: float) -> list[Command]:
        parts = self._parts
        parts.comfort.waits_from(now)
        commands: list[Command] = []
        if isinstance(event, RemoteCallBegan):
            if parts.floor.acts(now):
                self._is_heard(now)
                commands += self._rivalry.spoke()
        elif isinstance(event, RemoteCallEnded):
            parts.floor.wants(Debt.RESULTS, now)
        return commands + parts.desk.remote(event, now)

    # Errors.

    def _error(self, event: ErrorEvent, now: float) -> list[Command]:
        parts = self._parts
        if event.code == SESSION_EXPIRED:
            return self._succession.lost(event.why, now, is_to_blame=False)
        if event.ends_session:
            return self._succession.useless(f"the model reported {event.why}", now)
        note = Note(logging.DEBUG if event.benign else logging.WARNING, f"The model reported {event.why}")
        is_conflict = event.code == ALREADY_RESPONDING
        if event.event_id is None and not is_conflict:
            if not event.benign:
                parts.floor.may_be_refused(now + REFUSED_WITHIN)
            return [note]
        if not parts.floor.refused(event.event_id, now):
            return [note]
        if not is_conflict:
            return [note, *self._rivalry.failed(f"it refused to answer ({event.why})", now, event.retry_after)]
        # What we want said is asked for again when that response is done, or at once if it is done already.
        parts.floor.hold_off(now + AGAIN_AFTER)
        self._refusals += 1
        if self._refusals % MOST_REFUSALS:
            return [note]
        return [note, *self._rivalry.failed("it says that a response is in progress, but there is none", now)]


def _nothing_said(event: ResponseDone) -> str:
    if event.status == "completed":
        return "its response was empty"
    if event.status == "failed":
        return f"its response failed ({event.why})"
    return f"its response said nothing ({_why(event)})"


def _why(event: ResponseDone) -> str:
    return event.why if event.status == "failed" else f"{event.status}: {event.reason or 'no reason given'}"
