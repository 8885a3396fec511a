"""Checks of a WebSocket's opening handshake that Hypercorn does not make."""

from __future__ import annotations

import base64
import binascii

from quart import Response, websocket

KEY_SIZE = 16  # bytes


async def refuse_bad_key() -> Response | None:
    """Refuse an upgrade unless it has exactly one ``Sec-WebSocket-Key``, of 16 bytes in base64 (RFC 6455 §4.2.1), and
    no body, which would be read as frames. For Quart's ``before_websocket``. Hypercorn refuses an upgrade without a
    key."""
    headers = websocket.headers
    keys = headers.getlist("Sec-WebSocket-Key")
    if len(keys) != 1 or not _is_well_formed(keys[0]):
        return _bad_request("Sec-WebSocket-Key must be 16 bytes in base64, once")
    if "Transfer-Encoding" in headers or headers.get("Content-Length", "0") != "0":
        return _bad_request("a request for an upgrade can't have a body")
    return None


def _bad_request(why: str) -> Response:
    return Response(f"Bad request: {why}\n", 400, content_type="text/plain")


def _is_well_formed(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == KEY_SIZE
    except binascii.Error:
        return False
