"""The keys that a caller presses, until they are one entry. Pure; times are seconds of one clock."""

from __future__ import annotations

from callgate.core.units import SECONDS

KEYS_TOGETHER = 1.5 * SECONDS  # keys pressed closer together than this are one entry
MAX_KEYS = 64
END = "#"  # of an entry, as callers are used to it


class Keypad:
    """One call's. ``due_at``: when the entry is as good as complete; None: nothing was pressed."""

    def __init__(self) -> None:
        self.due_at: float | None = None
        self._keys = ""

    def pressed(self, digit: str, now: float) -> bool:
        """A key was pressed. Returns whether it completes the entry."""
        if len(self._keys) < MAX_KEYS:
            self._keys += digit
        self.due_at = now + KEYS_TOGETHER
        return digit == END

    def wait(self, now: float) -> None:
        """Nobody can be told of the entry now: it is due again later."""
        self.due_at = now + KEYS_TOGETHER

    def take(self) -> str:
        """The entry; the next one begins."""
        keys, self._keys, self.due_at = self._keys, "", None
        return keys
