"""What a peer sends that can't be used: the call goes on without it, and the operator learns of it."""

from __future__ import annotations

import contextvars
import logging
import re
from typing import Final

from callgate.errors import ProtocolError

log = logging.getLogger(__name__)

MOST_KINDS: Final = (
    8  # that are logged in one call, for each peer; a peer that sends only garbage must not fill the log
)
_DIGITS: Final = re.compile(r"[0-9]+")


class OddMessages:
    """The messages of one peer that a call has skipped. Each kind is logged once.

    ``peer``: its name. ``context``: it names the call in the log.
    """

    def __init__(self, peer: str, context: contextvars.Context) -> None:
        self.count = 0
        self._peer = peer
        self._context = context
        self._kinds: set[str] = set()

    def skip(self, why: ProtocolError) -> None:
        """A message is skipped. ``why``: its text does not quote the message."""
        self.count += 1
        reason = str(why)
        kind = _DIGITS.sub("0", reason.partition(":")[0])  # sizes, positions and names make no difference
        if kind in self._kinds or len(self._kinds) >= MOST_KINDS:
            return
        self._kinds.add(kind)
        self._context.run(log.warning, "Skipped a message from %s: %s", self._peer, reason)

    def report(self) -> None:
        """The call is over: log how many messages were skipped, if any were."""
        if self.count:
            what = "1 message" if self.count == 1 else f"{self.count} messages"
            self._context.run(log.warning, "Skipped %s from %s in this call", what, self._peer)
