"""Certificates that rotate under open media sockets, in the bundle's own containers."""

from __future__ import annotations

import asyncio
import time

from support.edge.sockets import HeldSockets
from support.engine.bundle import ROOT, Bundle, note
from support.engine.line import LOOPBACK, Line

DOMAIN = "voice.rotation.test"
SOCKETS = 100
ROTATIONS = 20
SEEN_WITHIN = 10.0  # seconds


def start_echo(bundle: Bundle) -> None:
    """Start the echo server in the backend's place, with its image and under its name."""
    echo = ROOT / "tests/support/engine/echo.py"
    bundle.compose("run", "--detach", "--no-deps", "--use-aliases", "--volume", f"{echo}:/echo.py:ro",
                   "backend", "python3", "/echo.py")  # fmt: skip


def rotate(line: Line) -> tuple[float, float]:
    """Get a new certificate. Return the seconds that took, and those from its publication until it was served."""
    before = line.served().serial_number
    began = time.monotonic()
    line.bundle.exec("certbot", "python3", "-m", "keeper", "issue", "--force")
    published = time.monotonic()
    while line.served().serial_number == before:
        assert time.monotonic() - published < SEEN_WITHIN, "new handshakes don't see the new certificate"
    return published - began, time.monotonic() - published


async def test_no_socket_is_dropped_and_no_frame_lost_while_certificates_rotate(new_bundle, images):
    with new_bundle(DOMAIN) as bundle:
        (bundle.folder / ".env").write_text(f"DOMAIN={DOMAIN}\n")
        bundle.start_acme()
        start_echo(bundle)
        bundle.up("nginx", "certbot")
        ca = bundle.acme_folder / "root.pem"
        line = Line(bundle, DOMAIN, ca, "")

        port, rotations = bundle.port("nginx", 8443), []
        async with HeldSockets(SOCKETS, host=LOOPBACK, port=port, name=DOMAIN, ca_file=ca) as sockets:
            for _ in range(ROTATIONS):
                rotations.append(await asyncio.to_thread(rotate, line))
            tally = await sockets.stop()

        issued, seen = (max(times) for times in zip(*rotations, strict=True))
        note(f"{ROTATIONS} rotations: {tally}; issued in at most {issued:.1f} s, seen within {seen:.1f} s")
        assert (tally.sockets, tally.dropped, tally.lost) == (SOCKETS, 0, 0)
        assert tally.sent > SOCKETS * ROTATIONS
