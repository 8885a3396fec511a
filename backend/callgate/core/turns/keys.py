"""What follows from the keys that the caller presses. Pure."""

from __future__ import annotations

from .call_parts import CallParts
from .commands import Command
from .floor_table import Debt
from .keypad import Keypad
from .serving import Serving


class Keys:
    """The keys of one call."""

    def __init__(self, parts: CallParts, serving: Serving) -> None:
        self._parts = parts
        self._serving = serving
        self._keypad = Keypad()

    @property
    def due_at(self) -> float | None:
        """When to call `tell`; None: nothing was pressed."""
        return self._keypad.due_at

    def pressed(self, key: str, now: float) -> list[Command]:
        """A key was pressed."""
        parts = self._parts
        if parts.ending.is_leaving:
            return []
        parts.limits.caller_spoke()
        is_bound = parts.desk.binds(key) and parts.ending.farewell is None
        if self._keypad.due_at is None and is_bound:  # not part of an entry
            return self._calls_tool(key, now)
        is_entry = self._keypad.pressed(key, now)
        return self.tell(now) if is_entry and self._serving.is_there else []

    def tell(self, now: float) -> list[Command]:
        """Tell the agent the keys that were pressed."""
        if not self._serving.is_there:  # keys pressed before the agent can be told are kept
            self._keypad.wait(now)
            return []
        keys = self._keypad.take()
        if not keys or self._parts.ending.is_leaving:
            return []
        self._parts.floor.wants(Debt.TOLD, now)
        return self._parts.tell(f"[The caller pressed these keys on the telephone: {keys}]")

    def _calls_tool(self, key: str, now: float) -> list[Command]:
        """A key calls a tool. If the tool ends the call, it ends in the middle of a sentence."""
        parts = self._parts
        asked, note = parts.desk.pressed(key)
        parts.comfort.waits_from(now)
        if asked.owes_answer:
            parts.floor.wants(Debt.RESULTS, now)
        if asked.owes_answer and self._serving.is_there:
            return [*asked.commands, *parts.tell(note)]
        commands: list[Command] = [*asked.commands, parts.memory.note(note)]
        if asked.farewell is None:
            return commands
        parts.ending.leaves(asked.farewell)
        parts.ending.is_cut_short()
        silenced, _ = parts.speech.cut_off(now)
        return [*commands, *silenced, *parts.ending.agent_leaves(f", as the caller pressed {key}")]
