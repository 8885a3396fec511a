"""A client of the running service's ``/calls`` and ``/test-call-realtime``, with the admin token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from callgate.core.units import SECONDS
from callgate.errors import CallgateError

from .ask import Answer, UnreachableError
from .ask import ask as ask_over_http

REQUEST_DEADLINE: Final = 30 * SECONDS
NEWS_WAIT: Final = 6 * SECONDS  # how long the service may wait for news, in one request
NEWS_DEADLINE: Final = 60 * SECONDS  # without any answer from the service
PAUSE: Final = 1 * SECONDS  # before a request that had no answer is repeated

IN_ITS_PLACE: Final = (502, 503, 504)  # from a proxy in front of the service
FINAL_STATUSES: Final = (401, 403, 404)  # repeating the request would not help


class ServiceError(CallgateError):
    """The service did not do what it was asked. ``fix``: what to do. ``status``: the answer's, 0 if there was none.
    ``is_final``: repeating the request would not help."""

    def __init__(self, error: str, fix: str, status: int = 0, *, is_final: bool = False) -> None:
        self.error, self.fix, self.status, self.is_final = error, fix, status, is_final
        super().__init__(f"{error} {fix}")


class ServiceUnheardError(ServiceError):
    """The service's answer was lost: it may have done what it was asked. Another try may succeed."""


class Service:
    """The service at ``base_url``. ``options``: for each request, as for `callgate.operator.ask.ask`."""

    def __init__(self, base_url: str, admin_token: str | None, **options: Any) -> None:
        self._base_url, self._options = base_url, options
        self._headers = {"Authorization": f"Bearer {admin_token}"}

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Send a request, and return the answer. Raises `ServiceError` with the service's error or the network's."""
        options = {"timeout": REQUEST_DEADLINE, **self._options, **options}
        try:
            answer = await ask_over_http(
                method, f"{self._base_url}{path}", headers={**self._headers, **(headers or {})}, **options
            )
        except UnreachableError as exc:
            kind = ServiceUnheardError if exc.sent else ServiceError
            raise kind(f"The service does not answer: {exc}.", "Is it running?") from exc
        return said(answer)

    async def news(self, call_sid: str) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the call's state, again and again until the call is ``over``; ``events`` holds only the new events.

        The service may be silent for a while, for example because it restarts. Raises `ServiceError`.
        """
        loop, known = asyncio.get_running_loop(), 0
        heard = loop.time()
        while True:
            params = {"after": str(known), "wait": f"{NEWS_WAIT:.0f}"}
            try:
                news = await self.ask("GET", f"/calls/{call_sid}", params=params)
            except ServiceError as exc:
                if exc.is_final or loop.time() - heard > NEWS_DEADLINE:
                    error = f"The call may still be going on, but can't be followed any longer: {exc.error}"
                    raise ServiceError(error, exc.fix, exc.status, is_final=True) from exc
                await asyncio.sleep(PAUSE)
                continue
            heard = loop.time()
            known += len(news.get("events", ()))
            yield news
            if news.get("over"):
                return


def said(answer: Answer) -> dict[str, Any]:
    """Return the document in an answer. Raises `ServiceError` if the service refuses, or did not write the answer."""
    document = answer.document
    if document is None:
        if answer.status in IN_ITS_PLACE:
            error = f"A proxy in front of the service answers in its place, with status {answer.status}."
            raise ServiceUnheardError(error, "Is the service running?", answer.status)
        error = f"Something other than the service answers at its address, with status {answer.status}."
        raise ServiceError(error, "Check the address: --url, or BASE_URL.", answer.status)
    if answer.status >= 400:
        kind = ServiceUnheardError if answer.status == 504 else ServiceError
        error = str(document.get("error") or f"The service answers with status {answer.status}.")
        fix = str(document.get("fix") or "Read the service's log.")
        raise kind(error, fix, answer.status, is_final=answer.status in FINAL_STATUSES)
    return document
