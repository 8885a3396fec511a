"""What Hypercorn leaves unchecked of a WebSocket's opening handshake."""

from __future__ import annotations

import base64
import binascii

from quart import Response, websocket

KEY_SIZE = 16  # bytes


async def refuse_bad_key() -> Response | None:
    """Refuse an upgrade whose ``Sec-WebSocket-Key`` is not 16 bytes in base64, once (RFC 6455 §4.2.1). For Quart's
    ``before_websocket``. Hypercorn refuses an upgrade without.
    """
    keys = websocket.headers.getlist("Sec-WebSocket-Key")
    if len(keys) == 1 and all(map(_is_well_formed, keys)):
        return None
    return Response("Bad request: Sec-WebSocket-Key must be 16 bytes in base64, once\n", 400, content_type="text/plain")


def _is_well_formed(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == KEY_SIZE
    except binascii.Error:
        return False
