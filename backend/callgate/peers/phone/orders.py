"""What a call is told while it lasts, over Twilio's REST API: to go on with other TwiML, or to end.

Source: https://www.twilio.com/docs/voice/api/call-resource#update-a-call-resource. Whatever the call is doing is left
at once; a stream gets its ``stop``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from .simulation import twiml
from .simulation.verbs import Hangup, Verb


class Orders:
    """The orders to one call; a later one takes the place of one that was not begun."""

    def __init__(self) -> None:
        self._program: Sequence[Verb] | None = None
        self._given = asyncio.Event()

    def go_on_with(self, document: str) -> None:
        """Leave what is being done, and execute this document. Raises as `twiml.parse` does."""
        self._give(twiml.parse(document.encode()))

    def end(self) -> None:
        """Leave what is being done, and end the call."""
        self._give((Hangup(),))

    @property
    def waiting(self) -> bool:
        """Whether there is an order that was not begun."""
        return self._given.is_set()

    def take(self) -> Sequence[Verb] | None:
        """Begin the order, if there is one: what is to be executed."""
        program, self._program = self._program, None
        self._given.clear()
        return program

    async def wait(self, seconds: float) -> None:
        """Return when there is an order, or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._given.wait()

    def _give(self, program: Sequence[Verb]) -> None:
        self._program = program
        self._given.set()
