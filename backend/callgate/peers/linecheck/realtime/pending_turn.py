"""What the session's next response has to answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from callgate.core.wire.media_stream import BYTES_PER_MS, SILENCE

from .input_audio import MAX_UTTERANCE_BYTES, SpeechBegan, SpeechEnded

# A caller who speaks again this soon after the turn seemed to have ended had only paused.
PAUSE_BYTES = 1_000 * BYTES_PER_MS


@dataclass(frozen=True, slots=True)
class ToAnswer:
    """What a response has to answer.

    ``number`` counts the session's responses from 0. ``heard`` is the caller's audio, µ-law, committed since the last
    response; if the caller had only paused, it begins with what was said before the pause. ``text`` is the last text
    item that the client added since the last response, and ``function_output`` the last result of a tool.
    """

    number: int
    instructions: str
    heard: bytes = b""
    text: str | None = None
    function_output: str | None = None


class PendingTurn:
    """Collects what has come since the last response."""

    def __init__(self) -> None:
        self._turn = ToAnswer(number=0, instructions="")
        # The end of the last utterance, and what was answered then: needed if the caller only paused.
        self._stopped: SpeechEnded | None = None
        self._answered = b""
        self._utterances = 0

    @property
    def number(self) -> int:
        """The number of the response that comes next."""
        return self._turn.number

    def take(self, instructions: str) -> ToAnswer:
        """Return what a response that begins now has to answer."""
        turn = replace(self._turn, instructions=instructions)
        self._turn = ToAnswer(number=turn.number + 1, instructions="")
        return turn

    def add_audio(self, audio: bytes) -> None:
        """Add the caller's audio, µ-law."""
        self._turn = replace(self._turn, heard=self._turn.heard + audio)

    def add_item(self, resource: dict[str, Any]) -> None:
        """Add an item that the client created."""
        for part in resource.get("content", ()):
            if "text" in part and resource["role"] == "user":
                self._turn = replace(self._turn, text=part["text"])
            if "audio" in part:
                self.add_audio(part["audio"])
        if resource["type"] == "function_call_output":
            self._turn = replace(self._turn, function_output=resource["output"])

    def ended(self) -> int:
        """Note that an utterance has ended, and return its number, from 0."""
        self._utterances += 1
        return self._utterances - 1

    def answered_at(self, stopped: SpeechEnded) -> None:
        """Note that what was said until ``stopped`` is answered now."""
        self._stopped, self._answered = stopped, self._turn.heard

    def resume(self, started: SpeechBegan) -> None:
        """Note that the caller speaks again. If it had only paused, the next response answers both parts."""
        stopped, self._stopped = self._stopped, None
        if stopped is None or started.position - stopped.position > PAUSE_BYTES:
            return
        pause = bytes([SILENCE]) * (started.position - stopped.end)
        if len(self._answered) + len(pause) < MAX_UTTERANCE_BYTES:
            self._turn = replace(self._turn, heard=self._answered + pause)
