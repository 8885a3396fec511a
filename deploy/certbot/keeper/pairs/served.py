"""Checks which certificate a client gets in a handshake with nginx."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Final

from keeper.errors import NotOfferedError, UnservedError
from keeper.kinds import Kind
from keeper.pairs.certificate import Certificate, der_serial
from keeper.settings import Address

HANDSHAKE_TIMEOUT: Final = 5.0
#: nginx may serve the certificate in its cache for a few more seconds.
TIMEOUT: Final = 15.0
POLL_INTERVAL: Final = 0.25
START_AGAIN: Final = "when no call is live, start nginx again (docker compose -f docker-compose.prod.yml restart nginx)"


async def accepts_connections(edge: Address, timeout: float) -> bool:
    """Whether something listens at ``edge`` within ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                _, writer = await asyncio.open_connection(edge.host, edge.port)
        except OSError:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_INTERVAL)
        else:
            writer.close()
            return True


async def served_serial(edge: Address, name: str, kind: Kind | None = None) -> int:
    """Do a TLS handshake for ``name``, and return the certificate's serial number. Raises OSError.

    ``kind``: as a client that takes only certificates of this kind. Only TLS 1.2 has cipher suites that say so. Trust
    is not checked: hooks/publish has checked it, and a rehearsal's certificate is not trusted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if kind is not None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(kind.ciphers)
    async with asyncio.timeout(HANDSHAKE_TIMEOUT):
        _, writer = await asyncio.open_connection(edge.host, edge.port, ssl=context, server_hostname=name)
    try:
        return der_serial(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    finally:
        writer.transport.abort()


async def confirm(
    edge: Address, name: str, published: Certificate, other: Certificate | None = None, *, timeout: float
) -> None:
    """Wait until a new handshake gets the published certificate. Raises `UnservedError` if none does in time.

    ``other``: the first certificate, if this is the second one. Raises `NotOfferedError` if nginx serves only that.
    """
    deadline = time.monotonic() + timeout
    while True:
        serial, seen = await _look(edge, name, published.kind)
        if serial == published.serial:
            return
        if other is not None and published.kind is not None and await _serves_alone(edge, name, serial, other):
            raise NotOfferedError(
                f"the {published.kind.label} certificate is published, but nginx was started before it was, and serves "
                f"the other one alone: {START_AGAIN}"
            )
        if time.monotonic() > deadline:
            raise UnservedError(
                f"{published.serial_hex} is published for {name}, but at {edge} {seen}: "
                "look at nginx's log; does its DOMAIN match, does it see the published folder?"
            )
        await asyncio.sleep(POLL_INTERVAL)


async def _look(edge: Address, name: str, kind: Kind | None) -> tuple[int | None, str]:
    """Return the serial number of what is served to a client of this kind, if anything is; and what was seen."""
    seen = ""
    for one in dict.fromkeys((kind, None)):
        try:
            serial = await served_serial(edge, name, one)
        except OSError as error:
            seen = f"the handshake failed ({error or type(error).__name__})"
        else:
            return (serial if one is kind else None), f"serial {serial:X} is served"
    return None, seen


async def _serves_alone(edge: Address, name: str, serial: int | None, other: Certificate) -> bool:
    if serial is not None:
        return serial == other.serial
    try:
        return await served_serial(edge, name, other.kind) == other.serial
    except OSError:
        return False
