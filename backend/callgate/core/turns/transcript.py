"""What was said in a call, and how much of the agent's words the caller heard. Pure.

The model's text arrives before its speech, and its speech before the caller hears it. A turn of the agent's therefore
holds its text, how long its audio is, and how much of that was played; the text up to there is what the caller was
told.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum

from callgate.core.wire.media_stream import BYTES_PER_MS

MOST_TURNS = 200  # that are remembered; the oldest are forgotten first
MOST_TEXT = 16_000  # characters handed to a new model session


class Role(Enum):
    CALLER = "caller"
    AGENT = "agent"
    NOTE = "note"  # what the model was told besides the conversation


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn. ``audio_ms``: the length of the agent's audio that has arrived. ``heard_ms``: how much of it the caller
    has heard; None: all of it, as far as we know. ``cut``: the caller interrupted it, and heard no more."""

    item_id: str
    role: Role
    text: str = ""
    audio_ms: int = 0
    heard_ms: int | None = None
    cut: bool = False

    @property
    def heard_text(self) -> str:
        """The text as the caller heard it: cut at a word, in proportion to the audio."""
        if self.heard_ms == 0:
            return ""
        if self.heard_ms is None or self.heard_ms >= self.audio_ms:
            return self.text
        cut = len(self.text) * self.heard_ms // self.audio_ms
        if cut and not self.text[cut : cut + 1].isspace():
            cut = max(self.text.rfind(" ", 0, cut), 0)
        return self.text[:cut].rstrip()


class Transcript:
    """The turns of one call, in the order of the conversation. Each change returns the turn's new state."""

    def __init__(self, turns: tuple[Turn, ...] = ()) -> None:
        self._turns: dict[str, Turn] = {turn.item_id: turn for turn in turns}
        self._remembered = frozenset(self._turns)  # from earlier streams: their texts are what was heard

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns that are remembered."""
        return tuple(self._turns.values())

    def caller_spoke(self, item_id: str) -> Turn:
        """The model has the caller's speech; its text follows later, if at all."""
        return self._put(self._turn(item_id, Role.CALLER))

    def caller_said(self, item_id: str, text: str) -> Turn:
        """The text of the caller's speech arrived."""
        return self._put(replace(self._turn(item_id, Role.CALLER), text=text.strip()))

    def noted(self, item_id: str, text: str) -> Turn:
        """The model was told something: keys, limits."""
        return self._put(Turn(item_id, Role.NOTE, text))

    def agent_writes(self, item_id: str, piece: str) -> Turn:
        """A piece of the agent's text arrived."""
        turn = self._turn(item_id, Role.AGENT)
        return self._put(replace(turn, text=turn.text + piece))

    def agent_wrote(self, item_id: str, text: str) -> Turn:
        """The agent's text is complete."""
        return self._put(replace(self._turn(item_id, Role.AGENT), text=text))

    def agent_spoke(self, item_id: str, size: int) -> Turn:
        """The agent's audio is ``size`` bytes long so far."""
        return self._put(replace(self._turn(item_id, Role.AGENT), audio_ms=size // BYTES_PER_MS))

    def agent_goes_on(self, item_id: str, size: int) -> Turn:
        """``size`` more bytes of an item's audio have come, which the caller does not hear."""
        turn = self._turn(item_id, Role.AGENT)
        return self._put(replace(turn, audio_ms=turn.audio_ms + size // BYTES_PER_MS))

    def cut(self, item_id: str, heard_ms: int) -> Turn:
        """The caller heard this much of an item, and will hear no more of it."""
        return self._put(replace(self._turn(item_id, Role.AGENT), heard_ms=heard_ms, cut=True))

    def is_cut(self, item_id: str) -> bool:
        """Whether the caller will hear no more of this item."""
        turn = self._turns.get(item_id)
        return turn is not None and turn.cut

    def has(self, item_id: str) -> bool:
        """Whether there is such a turn."""
        return item_id in self._turns

    def has_text(self, item_id: str) -> bool:
        """Whether the text of this item is known."""
        turn = self._turns.get(item_id)
        return turn is not None and bool(turn.text)

    def history(self, but: Collection[str] = ()) -> tuple[Turn, ...]:
        """What a new model session has to know: the latest turns that contain words, as they were heard, ``but`` for
        these."""
        found: list[Turn] = []
        room = MOST_TEXT
        for turn in reversed(self._turns.values()):
            text = self._known_text(turn)
            if not text or turn.item_id in but:
                continue
            room -= len(text)
            if room < 0:
                break
            found.append(replace(turn, text=text, heard_ms=None))
        return tuple(reversed(found))

    def _known_text(self, turn: Turn) -> str:
        if turn.role is not Role.AGENT or turn.item_id in self._remembered:
            return turn.text
        return turn.heard_text if turn.audio_ms else ""  # its text can be there before its audio

    def _turn(self, item_id: str, role: Role) -> Turn:
        return self._turns.get(item_id) or Turn(item_id, role)

    def _put(self, turn: Turn) -> Turn:
        self._turns[turn.item_id] = turn
        if len(self._turns) > MOST_TURNS:
            del self._turns[next(iter(self._turns))]
        return turn
