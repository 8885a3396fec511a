"""Bodies that cost more to read than to send, from a sender who has proved nothing."""

from __future__ import annotations

import base64
import hashlib

from ..attack import Assault, attack
from ..client import get, post

WEBHOOKS = ("/incoming-call", "/call-interrupted", "/call-transferred", "/call-status", "/stream-status", "/amd-status")
SEVERAL = 6.0  # a second
MORE = 20.0

LARGEST = 64_000  # bytes: the most that nginx accepts
MANY_KEYS = "&".join(f"{number:x}=" for number in range(16_000))[:LARGEST].rpartition("&")[0].encode()
FEW_KEYS = "&".join(f"{key}={number % 10}" for number in range(8_000) for key in "ab")[:LARGEST].encode()
DEEP = b"[" * 60_000
NO_UTF8 = b'{"to":"\xff"}'
JSON = "application/json"
BOUNDARY = "----bench"
PART = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
MULTIPART = (PART * (LARGEST // len(PART) - 1) + f"--{BOUNDARY}--\r\n").encode()
BEARERS = ((), ("Authorization: Bearer not-the-token",))


def likely_signature(number: int) -> str:
    """Return 28 characters that look like a Twilio signature."""
    return base64.b64encode(hashlib.sha1(b"%d" % number, usedforsecurity=False).digest()).decode()


def signed_wrongly(number: int) -> str:
    """Return a signature header with such a signature."""
    return f"X-Twilio-Signature: {likely_signature(number)}"


@attack("forms-unsigned", "64 kB forms of up to 16,000 fields, unsigned, to /incoming-call, 6 a second", from_same=True)
async def unsigned(assault: Assault) -> None:
    async def do(number: int) -> None:
        await assault.ask(post("/incoming-call", assault.target.name, (MANY_KEYS, FEW_KEYS)[number % 2]))

    await assault.paced(SEVERAL, do)


@attack(
    "forms-wrongly-signed",
    "The same with a header that looks like a signature, at each webhook path in turn, 6 a second",
    from_same=True,
)
async def wrongly_signed(assault: Assault) -> None:
    async def do(number: int) -> None:
        path = WEBHOOKS[number % len(WEBHOOKS)]
        await assault.ask(post(path, assault.target.name, (MANY_KEYS, FEW_KEYS)[number % 2], signed_wrongly(number)))

    await assault.paced(SEVERAL, do)


@attack("forms-multipart", "64 kB of multipart/form-data in 1,000 parts, wrongly signed and unsigned, 6 a second")
async def multipart(assault: Assault) -> None:
    async def do(number: int) -> None:
        headers = (signed_wrongly(number),) if number % 2 else ()
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        await assault.ask(post(WEBHOOKS[number % 6], assault.target.name, MULTIPART, *headers, kind=kind))

    await assault.paced(SEVERAL, do)


@attack("forms-to-the-operator", "The forms to /test-call-realtime and /calls, without a token and with a wrong one")
async def to_the_operator(assault: Assault) -> None:
    async def do(number: int) -> None:
        path = ("/test-call-realtime", "/calls")[number % 2]
        await assault.ask(post(path, assault.target.name, MANY_KEYS, *BEARERS[number // 2 % 2]))

    await assault.paced(SEVERAL, do)


@attack("json", "60,000 × `[` and JSON that is not UTF-8 to /calls, without a token and with a wrong one, 6 a second")
async def json_bodies(assault: Assault) -> None:
    async def do(number: int) -> None:
        body = (DEEP, NO_UTF8)[number % 2]
        await assault.ask(post("/calls", assault.target.name, body, *BEARERS[number // 2 % 2], kind=JSON))

    await assault.paced(SEVERAL, do)


@attack("queries", "GETs whose query is as long as a request line may be, and longer, 20 a second")
async def queries(assault: Assault) -> None:
    paths = ("/incoming-call", "/call-interrupted", "/", "/calls/CA0", "/media-stream")

    async def do(number: int) -> None:
        size = (7_900, 7_900, 20_000)[number % 3]
        path = f"{paths[number % len(paths)]}?{MANY_KEYS[:size].decode()}"
        headers = (signed_wrongly(number),) if number % 2 else ()
        await assault.ask(get(path, assault.target.name, *headers))

    await assault.paced(MORE, do)
