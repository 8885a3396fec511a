"""Refused upgrades, and what they leave behind on connections that the edge keeps open to the backend."""

from __future__ import annotations

from ..attack import Assault, attack
from ..client import get
from ..own_call import UPGRADE
from .bodies import signed_wrongly

PATHS = ("/media-stream", "/media-stream/garbage", "/incoming-call", "/call-status", "/", "/wp-login.php", "/calls")
A_SECOND = 50.0
CONNECTIONS = 10  # kept open
EACH = 5  # upgrades per connection


@attack(
    "upgrades",
    "Upgrades to /media-stream, webhooks, / and unknown paths, unsigned and wrongly signed, 50 a second",
    unit="upgrades",
    from_same=True,
)
async def new_connections(assault: Assault) -> None:
    async def do(number: int) -> None:
        headers = (signed_wrongly(number),) if number % 4 == 3 else ()
        await assault.ask(get(PATHS[number % len(PATHS)], assault.target.name, *UPGRADE, *headers))

    await assault.paced(A_SECOND, do)


@attack(
    "upgrades-kept",
    "The same on keep-alive connections, several on each, as fast as they are answered",
    unit="upgrades",
)
async def kept_connections(assault: Assault) -> None:
    async def do(connection_number: int) -> None:
        async with assault.client.connection() as connection:
            for number in range(EACH):
                assault.tried += 1
                path = PATHS[(connection_number + number) % len(PATHS)]
                connection.send(get(path, assault.target.name, *UPGRADE))
                answer = await connection.answer()
                assault.got[str(answer.status)] += 1
                if answer.headers.get("connection") == "close":
                    break

    await assault.crowd(CONNECTIONS, do)


ODD = (
    ("h2c", ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), "GET", "1.1"),
    ("HTTP/1.0", UPGRADE, "GET", "1.0"),
    ("no key", UPGRADE[:3], "GET", "1.1"),
    ("another version", (*UPGRADE[:2], "Sec-WebSocket-Version: 8", UPGRADE[3]), "GET", "1.1"),
    ("both", ("Connection: Upgrade", "Upgrade: h2c, websocket", *UPGRADE[2:]), "GET", "1.1"),
    ("POST", (*UPGRADE, "Content-Length: 0"), "POST", "1.1"),
    ("a body", (*UPGRADE, "Content-Length: 5\r\n\r\nhello\r\n"), "GET", "1.1"),
    ("an extension", (*UPGRADE, "Sec-WebSocket-Extensions: permessage-deflate"), "GET", "1.1"),
    ("a subprotocol", (*UPGRADE, "Sec-WebSocket-Protocol: a, b"), "GET", "1.1"),
)


@attack("upgrades-odd", "Invalid upgrades: h2c, HTTP/1.0, no key, another version, POST, with a body", unit="upgrades")
async def odd(assault: Assault) -> None:
    async def do(number: int) -> None:
        _, headers, method, version = ODD[number % len(ODD)]
        path = PATHS[number // len(ODD) % len(PATHS)]
        await assault.ask(get(path, assault.target.name, *headers, method=method, version=version))

    await assault.paced(A_SECOND, do)
