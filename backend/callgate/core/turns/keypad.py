"""Collects the keys that a caller presses into entries. Pure; times are seconds on one clock."""

from __future__ import annotations

from callgate.core.units import SECONDS

KEYS_TOGETHER = 1.5 * SECONDS  # keys pressed closer together than this belong to one entry
MAX_KEYS = 64
END = "#"  # ends an entry, as callers are used to


class Keypad:
    """One call's keypad. ``due_at``: when the entry counts as complete; None: nothing was pressed."""

    def __init__(self) -> None:
        self.due_at: float | None = None
        self._keys = ""

    def pressed(self, digit: str, now: float) -> bool:
        """A key was pressed. Return whether it completes the entry."""
        if len(self._keys) < MAX_KEYS:
            self._keys += digit
        self.due_at = now + KEYS_TOGETHER
        return digit == END

    def wait(self, now: float) -> None:
        """Nobody can be told the entry now: make it due again later."""
        self.due_at = now + KEYS_TOGETHER

    def take(self) -> str:
        """Return the entry, and begin the next one."""
        keys, self._keys, self.due_at = self._keys, "", None
        return keys
