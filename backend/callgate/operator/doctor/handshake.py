"""TLS handshakes as Twilio may make them, and the certificates that the server sends in them.

Python's ``ssl`` exposes the chain that a server sent only from 3.13 on, and an incomplete chain must be detected. So
the chain is read from a TLS 1.2 handshake, which sends it in the clear (RFC 5246, section 7.4.2).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final

from callgate.core.units import SECONDS
from callgate.peers.phone.options import Address

TIMEOUT: Final = 5 * SECONDS
MOST_RECEIVED: Final = 256 * 1024  # bytes in one handshake

HANDSHAKE: Final = 22  # a record's type
CERTIFICATE: Final = 11  # a handshake message's type


def unjudging() -> ssl.SSLContext:
    """Return a client context that accepts any certificate, for connections that send nothing secret."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def only_tls_1_2() -> ssl.SSLContext:
    """Return a context like `unjudging`'s that speaks only TLS 1.2."""
    context = unjudging()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


async def shake_hands(address: Address, name: str | None, context: ssl.SSLContext) -> tuple[bytes, ...]:
    """Make a handshake, with ``name`` as SNI if set. Returns the certificates that were sent in the clear, as DER.

    Raises OSError: `ssl.SSLError` if the handshake fails, `TimeoutError` if it takes longer than `TIMEOUT`.
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
    """Return the certificates, as DER, that a server sent before TLS 1.2's ChangeCipherSpec; none if it is cut off."""
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
