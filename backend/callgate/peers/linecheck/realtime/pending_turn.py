"""What the next response of a session has to answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from callgate.core.wire.media_stream import BYTES_PER_MS, SILENCE

from .input_audio import MAX_UTTERANCE_BYTES, SpeechBegan, SpeechEnded

# A caller who goes on this soon after a turn was taken for ended had only paused.
PAUSE_BYTES = 1_000 * BYTES_PER_MS


@dataclass(frozen=True, slots=True)
class ToAnswer:
    """What there is to answer.

    ``number`` counts the session's responses from 0. ``heard`` is the caller's audio, µ-law, committed since the last
    response; when the caller had only paused, it begins with what was said before the pause. ``text`` is the last text
    item a client added since the last response, ``function_output`` the last result of a tool.
    """

    number: int
    instructions: str
    heard: bytes = b""
    text: str | None = None
    function_output: str | None = None


class PendingTurn:
    """What has come since the last response."""

    def __init__(self) -> None:
        self._turn = ToAnswer(number=0, instructions="")
        # The end of the last utterance, and what was answered then: taken up again when the caller only paused.
        self._stopped: SpeechEnded | None = None
        self._answered = b""

    def take(self, instructions: str) -> ToAnswer:
        """A response begins: what it answers."""
        turn = replace(self._turn, instructions=instructions)
        self._turn = ToAnswer(number=turn.number + 1, instructions="")
        return turn

    def add_audio(self, audio: bytes) -> None:
        """The caller's, µ-law."""
        self._turn = replace(self._turn, heard=self._turn.heard + audio)

    def add_item(self, resource: dict[str, Any]) -> None:
        """An item that the client created."""
        for part in resource.get("content", ()):
            if "text" in part and resource["role"] == "user":
                self._turn = replace(self._turn, text=part["text"])
            if "audio" in part:
                self.add_audio(part["audio"])
        if resource["type"] == "function_call_output":
            self._turn = replace(self._turn, function_output=resource["output"])

    def answered_at(self, stopped: SpeechEnded) -> None:
        """What was said until ``stopped`` is answered now."""
        self._stopped, self._answered = stopped, self._turn.heard

    def resume(self, started: SpeechBegan) -> None:
        """The caller speaks again. Where it had only paused, what was answered then is to be answered with the rest."""
        stopped, self._stopped = self._stopped, None
        if stopped is None or started.position - stopped.position > PAUSE_BYTES:
            return
        pause = bytes([SILENCE]) * (started.position - stopped.end)
        if len(self._answered) + len(pause) < MAX_UTTERANCE_BYTES:
            self._turn = replace(self._turn, heard=self._answered + pause)
