"""Checks which certificate a client gets in a handshake with nginx."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Final

from keeper.errors import UnservedError
from keeper.pairs.certificate import Certificate, der_serial
from keeper.settings import Address

HANDSHAKE_TIMEOUT: Final = 5.0
#: nginx may serve the certificate in its cache for a few more seconds.
TIMEOUT: Final = 15.0
POLL_INTERVAL: Final = 0.25


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


async def served_serial(edge: Address, name: str) -> int:
    """Do a TLS handshake for ``name``, and return the certificate's serial number. Raises OSError.

    Trust is not checked: hooks/publish has checked it, and a rehearsal's certificate is not trusted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(HANDSHAKE_TIMEOUT):
        _, writer = await asyncio.open_connection(edge.host, edge.port, ssl=context, server_hostname=name)
    try:
        return der_serial(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    finally:
        writer.transport.abort()


async def confirm(edge: Address, name: str, published: Certificate, *, timeout: float) -> None:
    """Wait until a new handshake gets the published certificate. Raises `UnservedError` if none does in time."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            serial = await served_serial(edge, name)
        except OSError as error:
            seen = f"the handshake failed ({error or type(error).__name__})"
        else:
            if serial == published.serial:
                return
            seen = f"serial {serial:X} is served"
        if time.monotonic() > deadline:
            raise UnservedError(
                f"{published.serial_hex} is published for {name}, but at {edge} {seen}: "
                "look at nginx's log; does its DOMAIN match, does it see the published folder?"
            )
        await asyncio.sleep(POLL_INTERVAL)
