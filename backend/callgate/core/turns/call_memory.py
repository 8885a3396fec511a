"""What a call remembers, and what a model session has been told of it. Pure.

A model session hears only what is said while it serves. Everything else it is told as text, when it is opened, and
when it takes over. The caller's words that nobody has answered are the exception: a new session is given their audio,
so that it answers them. When it makes an item of that audio, this is the same turn, not another one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import takewhile

from callgate.core.protocols.realtime import ClientEvent

from .briefing import told
from .commands import OpenModel, Said
from .transcript import Role, Transcript, Turn

NOT_TRANSCRIBED = "[The caller said something that could not be transcribed.]"
CUT_OFF = "[The model was lost here, and another went on.]"


class CallMemory:
    """The transcript of one call, and its use."""

    def __init__(self, stream_sid: str, turns: tuple[Turn, ...]) -> None:
        self.transcript = Transcript(turns)
        self._stream_sid = stream_sid
        self._notes = 0  # used to name them
        self._losses = 0
        self._told: dict[str, str] = {}  # the turns that the session being opened has been told, and their texts
        self._unanswered: list[str] = []  # the caller's turns since somebody began to answer
        self._again: list[str] = []  # those turns of the caller's whose audio the present session was given
        self._rival_hears: list[str] | None = (
            None  # those that the rival was given, or hears as well; None: there is none
        )
        self._names: dict[str, str] = {}  # of turns that several sessions made an item of, by the later items

    # What happens.

    def caller_spoke(self, item_id: str, *, is_kept: bool = True) -> Said:
        """The model has the caller's speech as an item. ``is_kept``: its audio is, too."""
        name = self._names.get(item_id, item_id)
        if self._again and not self.transcript.has(name):  # otherwise it was told before
            name = self._again.pop(0)
            self._names[item_id] = name
        if is_kept and name not in self._unanswered:
            self._unanswered.append(name)
        if self._rival_hears is not None and name not in self._rival_hears:
            self._rival_hears.append(name)
        return Said(self.transcript.caller_spoke(name))

    def caller_said(self, item_id: str, text: str) -> Said:
        """The text of the caller's speech arrived."""
        name = self._names.get(item_id, item_id)
        if not self.transcript.has(name):  # that it was spoken was not told
            name = self.caller_spoke(item_id).turn.item_id
        return Said(self.transcript.caller_said(name, text))

    def not_transcribed(self, item_id: str) -> Said:
        """The text of the caller's speech will not arrive, unless an earlier session has sent it."""
        name = self._names.get(item_id, item_id)
        if self.transcript.has_text(name):
            return Said(self.transcript.caller_spoke(name))
        return Said(self.transcript.caller_said(name, NOT_TRANSCRIBED))

    def answered(self) -> None:
        """The model begins to answer what the caller said."""
        self._unanswered.clear()
        self._again.clear()

    def note(self, text: str) -> Said:
        """The model is told something besides what is said."""
        self._notes += 1
        return Said(self.transcript.noted(f"{self._stream_sid}_note_{self._notes}", text))

    def loss(self) -> Said:
        """A model was lost, which is for the record only."""
        self._losses += 1
        return Said(Turn(f"{self._stream_sid}_loss_{self._losses}", Role.NOTE, CUT_OFF))

    # What a session is told.

    def open_model(
        self, after: float, unconfirmed: Collection[str], *, words_are_kept: bool, beside: bool = False
    ) -> OpenModel:
        """Return the command that opens a session and tells it what was said. ``unconfirmed``: what may yet be cut off;
        it is told that, and what follows, when it takes over. ``words_are_kept``: it will be given the audio of what
        was not answered. ``beside``: while another session serves the call."""
        history = self.transcript.history(self._unanswered if words_are_kept else ())
        history = tuple(takewhile(lambda turn: turn.item_id not in unconfirmed, history))
        self._told = {turn.item_id: turn.text for turn in history}
        return OpenModel(after, history, beside)

    def the_rest(self, *, words_are_kept: bool) -> list[ClientEvent]:
        """What was said since the session was last told about the conversation."""
        return self._rest(self._unanswered if words_are_kept else ())

    def _rest(self, but: Collection[str]) -> list[ClientEvent]:
        history = self.transcript.history(but)
        rest = told(turn for each in history if (turn := self._untold(each)).text)
        self._told |= {turn.item_id: turn.text for turn in history}
        return rest

    def _untold(self, turn: Turn) -> Turn:
        """Return what is new of a turn: all of it, or what was heard of it since."""
        before = self._told.get(turn.item_id, "")
        return replace(turn, text=turn.text.removeprefix(before).strip() if turn.text.startswith(before) else "")

    def taken_over(self, *, words_are_kept: bool) -> None:
        """Another session serves the call from now on."""
        self._again = list(self._unanswered) if words_are_kept else []
        self._rival_hears = None

    def primed(self) -> None:
        """The session beside hears the caller from now on, and was given what was not answered."""
        self._rival_hears = list(self._unanswered)

    def rival_takes_over(self) -> list[ClientEvent]:
        """The rival serves the call from now on. Return what was said since it was told, but not by the caller."""
        self._again, self._rival_hears = self._rival_hears or [], None
        return self._rest(self._again)
