"""The rule that a session is told what was heard: nothing else, nothing less, and nothing twice."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from callgate.core.protocols.realtime import AgentTranscript, AudioDone
from callgate.core.turns.agent_speech import HEARD_ONLY
from callgate.core.turns.transcript import Role, Turn
from callgate.core.wire.media_stream import BYTES_PER_MS

from .broken import Broken
from .playback import ONE_WAY
from .speech import PIECE_MS
from .truth import MS_PER_WORD, Part

if TYPE_CHECKING:
    from .scene import Scene
    from .server import Server

MEMORY = "memory is what was heard"
AGENT_WORD = re.compile(r"\ba(\d+)\.(\d+)\b")
CORRECTION = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.*)", re.escape(HEARD_ONLY)))
CALLER_WORD = re.compile(r"\bu(\d+)\b")
# What is believed to be heard is as exact as the time that a message takes, and is cut at a word.
TOLERANCE_MS = MS_PER_WORD + 2000 * ONE_WAY + 100


class MemoryRules:
    """It. ``transcribed``: the caller's utterances whose text the conversation was told, and by which session."""

    def __init__(self, scene: Scene) -> None:
        self.transcribed: set[tuple[Server, int]] = set()
        self._scene = scene
        self._said: dict[str, Turn] = {}

    def writes(self, text: AgentTranscript) -> None:
        """The conversation is told some of the agent's text, or all."""
        part = self._part(text.item_id, text.content_index)
        part.words = text.text.count(" ") if text.complete else part.words + text.text.count(" ")

    def is_whole(self, audio: AudioDone) -> None:
        """The conversation is told that all audio of a part has arrived."""
        part = self._part(audio.item_id, audio.content_index)
        part.is_whole = part.sent >= part.planned

    def said(self, turn: Turn) -> None:
        """A turn is recorded."""
        self._said[turn.item_id] = turn

    def serves(self, server: Server) -> None:
        """A session takes over, and was told all that it will be."""
        self._agent(server.told, (part for part in self._scene.truth.parts.values() if part.server is not server))
        told = [int(number) for text in server.told for number in CALLER_WORD.findall(text)]
        for number in self._scene.truth.utterances:
            count = told.count(number) + server.has_heard(number)
            if count > 1:
                raise Broken(MEMORY, f"session {server.number} is told u{number} {count} times")
            is_kept = not self._scene.truth.utterances[number].is_cough  # it may have begun just before an answer did
            if not count and is_kept and any(by is not server and each == number for by, each in self.transcribed):
                raise Broken(MEMORY, f"session {server.number} is not told u{number}")

    def at_end(self) -> None:
        """The call is over: what was recorded is what was heard."""
        if not self._scene.playback.is_told:
            return
        turns = self._said.values()
        texts = [turn.heard_text for turn in turns if turn.role is Role.AGENT]
        self._agent(texts, self._scene.truth.parts.values(), is_end=True)
        told = [int(number) for turn in turns if turn.role is Role.CALLER for number in CALLER_WORD.findall(turn.text)]
        for number in self._scene.truth.utterances:
            if told.count(number) > 1:
                raise Broken(MEMORY, f"u{number} is recorded {told.count(number)} times")

    def _part(self, item_id: str, index: int) -> Part:
        return self._scene.truth.parts[f"{item_id}/{index}" if index else item_id]

    def _agent(self, texts: Iterable[str], parts: Iterable[Part], *, is_end: bool = False) -> None:
        words: dict[int, list[int]] = {}
        for text in texts:
            corrected = CORRECTION.fullmatch(text)
            for part, _ in AGENT_WORD.findall(corrected["said"]) if corrected else ():
                words.pop(int(part), None)
            for part, word in AGENT_WORD.findall(corrected["heard"] if corrected else text):
                words.setdefault(int(part), []).append(int(word))
        for each in parts:
            self._compare(each, words.pop(each.number, []), is_end)

    def _compare(self, part: Part, words: list[int], is_end: bool) -> None:
        if words != list(range(len(words))):
            raise Broken(MEMORY, f"of {part.name}, these words are told: {words}")
        heard_ms = part.heard // BYTES_PER_MS
        told_ms = len(words) * MS_PER_WORD
        ahead = 0 if part.is_whole else 2 * PIECE_MS  # as far as its text may be ahead of its audio
        if told_ms > heard_ms + TOLERANCE_MS + ahead:
            raise Broken(MEMORY, f"of {part.name}, {told_ms} ms are told, and {heard_ms} were heard")
        if is_end and not part.is_whole:
            return  # nothing tells that it is to be recorded
        share = min(1.0, part.words * MS_PER_WORD * BYTES_PER_MS / max(1, part.forwarded))  # text may be missing
        if told_ms < heard_ms * share - TOLERANCE_MS:
            raise Broken(MEMORY, f"of {part.name}, only {told_ms} ms are told, and {heard_ms} were heard")
