"""An HTTP client for Twilio's library that connects where the doctor says, and trusts whom the doctor trusts."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from typing import Any

from twilio.http import HttpClient
from twilio.http.response import Response

from callgate.network.twilio_rest import TwilioUnreachableError

from .ask import TIMEOUT, UnreachableError, ask


class AskingHttpClient(HttpClient):  # type: ignore[misc]
    """Has Twilio's library send its requests with `callgate.operator.ask.ask` and these ``options``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(logging.getLogger(__name__), False, TIMEOUT)
        self._options = options

    def request(
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """Send a request. Raises `TwilioUnreachableError`."""
        headers = dict(headers or {})
        if auth is not None:
            headers["Authorization"] = f"Basic {b64encode(':'.join(auth).encode()).decode()}"
        request = ask(method, uri, params=params, form=data, headers=headers, **self._options)
        try:
            answer = asyncio.run(request)
        except UnreachableError as exc:
            raise TwilioUnreachableError(str(exc), in_doubt=exc.sent) from exc
        return Response(answer.status, answer.body.decode(errors="replace"), answer.headers)
