"""Updates of a live call over Twilio's REST API: continue with other TwiML, or end.

Source: https://www.twilio.com/docs/voice/api/call-resource#update-a-call-resource. An update interrupts whatever the
call is doing; a stream gets its ``stop``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from .simulation import twiml
from .simulation.verbs import Hangup, Verb


class Orders:
    """The orders to one call. A later order replaces one that has not begun."""

    def __init__(self) -> None:
        self._program: Sequence[Verb] | None = None
        self._given = asyncio.Event()

    def go_on_with(self, document: str) -> None:
        """Order the call to execute this document now. Raises as `twiml.parse` does."""
        self._give(twiml.parse(document.encode()))

    def end(self) -> None:
        """Order the call to end now."""
        self._give((Hangup(),))

    @property
    def waiting(self) -> bool:
        """Whether there is an order that has not begun."""
        return self._given.is_set()

    def take(self) -> Sequence[Verb] | None:
        """Begin the order, if there is one. Returns the verbs to execute."""
        program, self._program = self._program, None
        self._given.clear()
        return program

    async def wait(self, seconds: float) -> None:
        """Wait until there is an order, but not longer than ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._given.wait()

    def _give(self, program: Sequence[Verb]) -> None:
        self._program = program
        self._given.set()
