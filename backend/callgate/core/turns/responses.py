"""The model's responses of one call: which is under way, which is to come, which the caller must not hear. Pure.

The API takes one at a time, begins most of them by itself, and goes on sending one that was cut off for a moment. What
is asked of it here may cross with that.
"""

from __future__ import annotations

from callgate.core.protocols.realtime import CreateResponse


class Responses:
    """One call's. ``asked_for``: one that the model has not begun yet. ``wanted``: one to be asked for as soon as that
    under way is done. ``retried``: the last one failed, and was asked for again."""

    def __init__(self) -> None:
        self.asked_for = False
        self.wanted: CreateResponse | None = None
        self.retried = False
        self._under_way: str | None = None
        self._over_caller = False  # that was asked for before the caller began to speak, and they still do
        self._cut_off: str | None = None
        self._unheard: str | None = None

    @property
    def under_way(self) -> bool:
        """Whether the model speaks, or thinks."""
        return self._under_way is not None

    @property
    def is_busy(self) -> bool:
        """Whether it would not take the request for another one now."""
        return self._under_way is not None or self.asked_for

    # What is asked for.

    def ask(self, response: CreateResponse) -> bool:
        """One is wanted. Returns whether it is asked for now; else it is when that under way is done."""
        is_now = not self.is_busy
        self.wanted = None if is_now else response
        self.asked_for = self.asked_for or is_now
        return is_now

    def refused(self) -> None:
        """The model will not begin what it was asked for."""
        self.asked_for = False

    # What becomes of it.

    def began(self, response_id: str) -> bool:
        """The model began one. Returns whether the caller is to hear it: not where they have begun to speak since
        it was asked for, as another will answer them."""
        self._under_way = response_id
        is_over_caller, self.asked_for, self._over_caller = self._over_caller, False, False
        if is_over_caller:
            self._cut_off = self._unheard = response_id
        return not is_over_caller

    def done(self, response_id: str) -> None:
        """The model ended one."""
        if response_id == self._under_way:
            self._under_way = None

    def is_cut_off(self, response_id: str) -> bool:
        """Whether the caller must not hear any more of it."""
        return response_id == self._cut_off

    def is_unheard(self, response_id: str) -> bool:
        """Whether the caller has heard nothing of it."""
        return response_id == self._unheard

    # What happens beside it.

    def cut_off(self) -> None:
        """The caller must not hear any more of the one under way."""
        self._cut_off = self._under_way

    def caller_speaks(self) -> None:
        """The caller began to speak."""
        self._over_caller = self.asked_for

    def caller_stopped(self) -> None:
        """The caller has spoken."""
        self._over_caller = False

    def lost(self) -> None:
        """The session that made them is gone; what was asked of it is not forgotten before another is there."""
        self._under_way = self.wanted = None

    def session_replaced(self) -> None:
        """Another session goes on, which was asked for nothing yet."""
        self._under_way = None
        self.asked_for = self._over_caller = False
