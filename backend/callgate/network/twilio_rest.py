"""Twilio's REST API through Twilio's own client, with refusals and failures turned into exceptions.

Sources: https://www.twilio.com/docs/usage/twilios-response and …/docs/api/errors.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import requests
from twilio.base.exceptions import TwilioException
from twilio.rest import Client
from urllib3.exceptions import NewConnectionError

from callgate.core.foreign import foreign
from callgate.errors import CallgateError

from .threads import Threads

T = TypeVar("T")

NOT_FOUND: Final = 404


class TwilioError(CallgateError):
    """Twilio's REST API did not do what it was asked to. ``in_doubt``: it may have done it all the same."""

    def __init__(self, text: str, *, in_doubt: bool) -> None:
        super().__init__(text)
        self.in_doubt = in_doubt


class TwilioRefused(TwilioError):
    """Twilio refused the request. ``status``: the HTTP status; ``code``: Twilio's own code, or 0; ``message``: its
    text, cleaned."""

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        error = f", error {code}: {message}" if code else f": {message}" if message else ""
        super().__init__(f"status {status}{error}", in_doubt=status >= 500)


class TwilioUnreachableError(TwilioError):
    """Twilio can't be reached, or does not answer, or not as an API should."""

    def __init__(self, why: str, *, in_doubt: bool = True) -> None:
        super().__init__(why, in_doubt=in_doubt)


class TwilioRest:
    """The API for use in an event loop. ``client`` limits how long a request takes; ``most``: requests at once."""

    def __init__(self, client: Client, most: int) -> None:
        self._client = client
        self._threads = Threads("Twilio's REST API", most)

    async def ask(self, request: Callable[[Client], T]) -> T:
        """Make a request in a thread. Raises `TwilioError`."""

        def work() -> T:
            with asking():
                return request(self._client)

        try:
            return await self._threads.run(work)
        except OSError as exc:  # there is no thread for it
            raise TwilioUnreachableError(str(exc), in_doubt=False) from exc


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Turn the exceptions of Twilio's client into `TwilioError`."""
    try:
        yield
    except TwilioException as exc:
        raise _as_error(exc) from exc
    except OSError as exc:  # includes those of `requests`
        raise TwilioUnreachableError(type(exc).__name__, in_doubt=not _never_arrived(exc)) from exc
    except ValueError as exc:
        raise TwilioUnreachableError("its response is not JSON") from exc


def _as_error(exc: TwilioException) -> TwilioError:
    """Convert the client's exception: for a single resource it carries the status and the message, for a list a text
    and the HTTP response."""
    if isinstance(status := getattr(exc, "status", None), int):
        code, message = getattr(exc, "code", None), getattr(exc, "msg", None) or getattr(exc, "title", "")
    elif exc.args and (status := getattr(exc.args[-1], "status_code", None)) is not None:
        code, message = _said(exc.args[-1].text) or (0, exc.args[0])
    else:
        return TwilioUnreachableError(foreign(str(exc)) or type(exc).__name__)
    words = re.sub(r"^Unable to \w+ record: ", "", foreign(str(message)))
    return TwilioRefused(status, code if isinstance(code, int) and code != status else 0, words)


def _said(body: str) -> tuple[int, str] | None:
    """Return the code and message in the body of a refusal, if it contains them."""
    try:
        document = json.loads(body)
        return int(document["code"]), str(document["message"])
    except (ValueError, KeyError, TypeError):
        return None


def _never_arrived(exc: Exception) -> bool:
    """Whether there was no connection over which the request could have been sent."""
    if isinstance(exc, requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.ProxyError):
        return True
    reason = getattr(exc.args[0], "reason", None) if exc.args else None
    return isinstance(exc, requests.ConnectionError) and isinstance(reason, NewConnectionError)
