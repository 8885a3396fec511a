"""A hundred media sockets held open through twenty rotations: none is dropped, and no frame is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager

from demo.local_edge import LOOPBACK, LocalEdge
from support.edge.backends import Backend
from support.edge.probes import wait_for, workers
from support.edge.sockets import HeldSockets

SOCKETS = 100
ROTATIONS = 20
RELOAD_EVERY = 5

Beside = Callable[..., AbstractContextManager[LocalEdge]]


def renew(edge: LocalEdge) -> int:
    """Let certbot get and publish another certificate, and return its serial number."""
    edge.renew("--force-renewal")
    return int((edge.published / edge.domain / "current").readlink().name, 16)


def until_served(edge: LocalEdge, serial: int) -> None:
    """Make handshakes until the certificate appears."""
    wait_for(lambda: edge.served_certificate().serial_number == serial)


def reload(edge: LocalEdge) -> None:
    """Reload nginx, and wait for its new workers."""
    before = workers(edge)
    assert edge.nginx is not None
    edge.nginx.send(signal.SIGHUP)
    wait_for(lambda: bool(workers(edge) - before))


async def test_a_hundred_sockets_notice_nothing_of_twenty_rotations(
    edge: LocalEdge, beside: Beside, backend: Backend
) -> None:
    serials = set()
    # One edge renews and the other serves, because the serving one's workers may change.
    with beside(backend.port) as serving:
        address = {"host": LOOPBACK, "port": serving.https_port, "name": serving.domain, "ca_file": serving.ca_file}
        async with HeldSockets(SOCKETS, **address) as sockets:  # type: ignore[arg-type]
            for number in range(1, ROTATIONS + 1):
                serial = await asyncio.to_thread(renew, edge)
                await asyncio.to_thread(until_served, serving, serial)
                serials.add(serial)
                if number % RELOAD_EVERY == 0:
                    await asyncio.to_thread(reload, serving)
                assert sockets.dropped == 0, f"after {number} rotations"
            tally = await sockets.stop()

    assert len(serials) == ROTATIONS
    assert (tally.sockets, tally.dropped, tally.lost) == (SOCKETS, 0, 0)
    assert tally.sent >= SOCKETS * ROTATIONS
