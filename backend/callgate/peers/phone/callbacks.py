"""Status callbacks: requested in order, concurrently with the call, and without delaying it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from callgate.errors import PhoneError

from .http import Web


class Callbacks:
    """The status callbacks of one call. Use as a context manager, which waits on exit until all requests are done.

    ``failed`` is called with Twilio's error code and a reason for each request that fails. `Web` bounds every wait, and
    a call has at most a few callbacks for each stream.
    """

    def __init__(self, web: Web, failed: Callable[[int, str], None]) -> None:
        self._web = web
        self._failed = failed
        self._last: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Callbacks:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._last is None:
            return
        if kind is not None:
            self._last.cancel()
        await asyncio.wait({self._last})

    def tell(self, method: str, url: str, form: Mapping[str, str]) -> None:
        """Request ``url`` once all earlier requests are done."""
        self._last = asyncio.create_task(self._tell(self._last, method, url, form))

    async def _tell(self, before: asyncio.Task[None] | None, method: str, url: str, form: Mapping[str, str]) -> None:
        if before is not None:
            await before
        try:
            await self._web.ask(method, url, form)
        except PhoneError as exc:
            self._failed(exc.code, f"status callback: {exc.reason}")
