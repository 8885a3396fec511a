"""The model's responses in one call: which is in progress, which is next, which the caller must not hear. Pure.

The API allows one response at a time, begins most of them by itself, and goes on sending one for a moment after it was
cut off. Requests sent from here may cross with that.
"""

from __future__ import annotations

from callgate.core.protocols.realtime import CreateResponse


class Responses:
    """One call's responses. ``asked_for``: one was requested that the model has not begun yet. ``wanted``: the one to
    request as soon as the current one is done. ``retried``: the last one failed, and was requested again."""

    def __init__(self) -> None:
        self.asked_for = False
        self.wanted: CreateResponse | None = None
        self.retried = False
        self._under_way: str | None = None
        self._over_caller = False  # one was requested before the caller began to speak, and they are still speaking
        self._cut_off: str | None = None
        self._unheard: str | None = None

    @property
    def under_way(self) -> bool:
        """Whether the model is speaking or thinking."""
        return self._under_way is not None

    @property
    def is_busy(self) -> bool:
        """Whether the model would refuse a request for another response now."""
        return self._under_way is not None or self.asked_for

    # Requests.

    def ask(self, response: CreateResponse) -> bool:
        """A response is wanted. Return whether to request it now; otherwise it is kept until the current one is
        done."""
        is_now = not self.is_busy
        self.wanted = None if is_now else response
        self.asked_for = self.asked_for or is_now
        return is_now

    def refused(self) -> None:
        """The model refused to begin the response that was requested."""
        self.asked_for = False

    # What becomes of them.

    def began(self, response_id: str) -> bool:
        """The model began a response. Return whether the caller is to hear it: not if they have begun to speak since it
        was requested, as another response will answer them."""
        self._under_way = response_id
        is_over_caller, self.asked_for, self._over_caller = self._over_caller, False, False
        if is_over_caller:
            self._cut_off = self._unheard = response_id
        return not is_over_caller

    def done(self, response_id: str) -> None:
        """The model finished a response."""
        if response_id == self._under_way:
            self._under_way = None

    def is_cut_off(self, response_id: str) -> bool:
        """Whether the caller must not hear any more of this response."""
        return response_id == self._cut_off

    def is_unheard(self, response_id: str) -> bool:
        """Whether the caller has heard nothing of this response."""
        return response_id == self._unheard

    # What happens meanwhile.

    def cut_off(self) -> None:
        """The caller must not hear any more of the response in progress."""
        self._cut_off = self._under_way

    def caller_speaks(self) -> None:
        """The caller began to speak."""
        self._over_caller = self.asked_for

    def caller_stopped(self) -> None:
        """The caller stopped speaking."""
        self._over_caller = False

    def lost(self) -> None:
        """The session that made the responses is gone. What was requested is remembered until another session takes
        over."""
        self._under_way = self.wanted = None

    def session_replaced(self) -> None:
        """Another session took over, which has been asked for nothing yet."""
        self._under_way = None
        self.asked_for = self._over_caller = False
