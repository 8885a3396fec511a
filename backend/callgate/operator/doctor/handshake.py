"""TLS handshakes as Twilio may make them, and the certificates that the server sent in one.

Python's ``ssl`` shows only from 3.13 on what a server sent, and a chain that is not complete is just what is looked
for. So it is read where TLS 1.2 sends it in the clear (RFC 5246, section 7.4.2).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final

from callgate.core.units import SECONDS
from callgate.peers.phone.options import Address

TIMEOUT: Final = 5 * SECONDS
MOST_RECEIVED: Final = 256 * 1024  # bytes, of one handshake

HANDSHAKE: Final = 22  # a record's type
CERTIFICATE: Final = 11  # a handshake message's type


def unjudging() -> ssl.SSLContext:
    """A client that takes any certificate: it sends nothing secret, and is there to look."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def only_tls_1_2() -> ssl.SSLContext:
    """As `unjudging`, and speaks nothing newer than TLS 1.2."""
    context = unjudging()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


async def shake_hands(address: Address, name: str | None, context: ssl.SSLContext) -> tuple[bytes, ...]:
    """Shake hands, naming a host or none. Returns the certificates that were sent in the clear, as DER.

    Raises OSError: `ssl.SSLError` where the handshake fails, `TimeoutError` where it takes longer than `TIMEOUT`.
    """
    async with asyncio.timeout(2 * TIMEOUT):
        return await asyncio.to_thread(_shake_hands, address, name, context)


def _shake_hands(address: Address, name: str | None, context: ssl.SSLContext) -> tuple[bytes, ...]:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    received = bytearray()
    with socket.create_connection(address, timeout=TIMEOUT) as sock:
        while len(received) < MOST_RECEIVED:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                data = sock.recv(16384)
                if not data:
                    raise ConnectionResetError("the connection was closed during the handshake") from None
                received += data
                incoming.write(data)
        sock.sendall(outgoing.read())
    return certificates_in(bytes(received))


def certificates_in(received: bytes) -> tuple[bytes, ...]:
    """The certificates, as DER, in what a server sent up to TLS 1.2's ChangeCipherSpec; none where it is cut short."""
    messages = b"".join(_handshake_records(received))
    while len(messages) >= 4:
        kind, length = messages[0], int.from_bytes(messages[1:4], "big")
        if kind == CERTIFICATE:
            return tuple(_with_lengths(messages[7 : 4 + length]))
        messages = messages[4 + length :]
    return ()


def _handshake_records(received: bytes) -> list[bytes]:
    found, at = [], 0
    while at + 5 <= len(received) and received[at] == HANDSHAKE:
        length = int.from_bytes(received[at + 3 : at + 5], "big")
        found.append(received[at + 5 : at + 5 + length])
        at += 5 + length
    return found


def _with_lengths(block: bytes) -> list[bytes]:
    found, at = [], 0
    while at + 3 <= len(block):
        length = int.from_bytes(block[at : at + 3], "big")
        found.append(block[at + 3 : at + 3 + length])
        at += 3 + length
    return found
