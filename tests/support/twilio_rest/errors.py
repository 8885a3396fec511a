"""Error answers of Twilio's REST API. Source: https://www.twilio.com/docs/usage/twilios-response."""

from __future__ import annotations

from aiohttp import web


class Refused(Exception):
    """An error answer: the HTTP status, Twilio's code, and the message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(f"{code}: {message}")


class NotFound(Refused):
    """There is no such resource."""

    def __init__(self, path: str) -> None:
        super().__init__(404, 20404, f"The requested resource {path} was not found")


def error_answer(refused: Refused) -> web.Response:
    """Return the answer with the error as its body."""
    body = {
        "code": refused.code,
        "message": refused.message,
        "more_info": f"https://www.twilio.com/docs/errors/{refused.code}",
        "status": refused.status,
    }
    return web.json_response(body, status=refused.status)
