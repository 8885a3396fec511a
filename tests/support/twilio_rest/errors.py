"""How Twilio's REST API says no. Source: https://www.twilio.com/docs/usage/twilios-response."""

from __future__ import annotations

from aiohttp import web


class Refused(Exception):
    """An answer that is an error of Twilio's: the HTTP status, Twilio's code, and what it says."""

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(f"{code}: {message}")


class NotFound(Refused):
    """There is no such resource."""

    def __init__(self, path: str) -> None:
        super().__init__(404, 20404, f"The requested resource {path} was not found")


def error_answer(refused: Refused) -> web.Response:
    """The answer with the error's body."""
    body = {
        "code": refused.code,
        "message": refused.message,
        "more_info": f"https://www.twilio.com/docs/errors/{refused.code}",
        "status": refused.status,
    }
    return web.json_response(body, status=refused.status)
