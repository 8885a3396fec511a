"""The request for a response that was sent to the model last. Pure.

A response that begins while a request is open is taken for the requested one. If it was one that the model began by
itself, the refusal of the request follows.
"""

from __future__ import annotations

from collections.abc import Collection

from .floor_table import Debt


class OwnRequest:
    """The last request of one call. ``is_open``: it has neither begun nor been refused. ``is_overtaken``: the caller
    has begun to speak since it was sent. ``about``: what it was to answer besides the caller's words. ``expires_at``:
    when to take it for refused, if it is open then; None: never."""

    def __init__(self) -> None:
        self.is_open = False
        self.is_overtaken = False
        self.about: list[Debt] = []
        self.expires_at: float | None = None
        self._count = 0
        self._event_id = ""  # until it is refused

    def next_id(self) -> str:
        """Return the event id of another request."""
        self._count += 1
        return f"ask_{self._count}"

    def sent(self, about: Collection[Debt]) -> str:
        """A request is sent. Return its event id."""
        self._event_id = self.next_id()
        self.is_open, self.is_overtaken, self.expires_at = True, False, None
        self.about = [debt for debt in about if debt in (Debt.TOLD, Debt.RESULTS)]
        return self._event_id

    def may_be_refused(self, until: float) -> None:
        """An error may have been about it. If it has not begun by then, it was."""
        if self.is_open:
            self.expires_at = until

    def caller_begins(self) -> None:
        """The caller begins to speak."""
        self.is_overtaken = self.is_open

    def caller_ends(self) -> None:
        """The caller has spoken: what begins from now on is their answer."""
        self.is_overtaken = False

    def settled(self) -> bool:
        """A response has begun, or none will. Return whether the request was open."""
        was_open = self.is_open
        self.is_open, self.is_overtaken, self.expires_at = False, False, None
        return was_open

    def is_refused_by(self, event_id: str | None) -> bool:
        """Whether an error about this event of ours, or about some event (None), refuses it. It counts once."""
        if not self._event_id or event_id not in (None, self._event_id):
            return False
        self._event_id = ""
        return True

    def forget(self) -> None:
        """Another session serves the call, which was sent nothing."""
        self.settled()
        self._event_id = ""
        self.about = []
