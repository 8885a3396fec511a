"""Asks for a file on port 80 at each address of a name, as the authority does in the http-01 challenge."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keeper.look import fetch
from keeper.look.finding import Finding, cant_tell, good, suspicious

CHALLENGE_FOLDER: Final = Path(".well-known") / "acme-challenge"
NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

ADVICE: Final = (
    "open port 80 to the world, and check that {} to this machine; some routers refuse connections from inside, and "
    "then nothing is wrong"
)
ADVICE_V6: Final = "the authority prefers IPv6, so let the AAAA record lead to this machine, or remove it"


@dataclass(frozen=True, slots=True)
class Probe:
    """A file that nginx serves beside the challenges."""

    token: str
    content: str


@contextlib.contextmanager
def probe_file(webroot: Path) -> Iterator[Probe]:
    """Write a probe, and remove it afterwards. Raises OSError."""
    probe = Probe(f"probe-{secrets.token_urlsafe(16)}", secrets.token_urlsafe(32))
    file = webroot / CHALLENGE_FOLDER / probe.token
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        file.write_text(probe.content)
        file.chmod(0o644)
        yield probe
    finally:
        file.unlink(missing_ok=True)


async def look_at_port(probe: Probe, *, name: str, address: str, port: int) -> Finding:
    """Fetch the probe. Whatever is found may be different for the authority, which asks from outside."""
    where = f"port {port} of {address}"
    leads_here = "this address belongs" if name == address else "the A record leads"
    advice = ADVICE_V6 if ":" in address else ADVICE.format(leads_here)
    host = name if port == 80 else f"{name}:{port}"
    try:
        answer = await fetch.get(f"http://{host}/{CHALLENGE_FOLDER}/{probe.token}", connect_to=address)
    except TimeoutError:
        return suspicious(f"{where} does not answer here: {advice}")
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        if error.errno in NO_ROUTE:
            return cant_tell(f"whether {where} is open: there is no route to it from here ({why})")
        return suspicious(f"{where} can't be reached from here ({why}): {advice}")
    except ValueError as error:
        return suspicious(f"at {where}, {error}: {advice}")
    if answer.status == 200 and answer.body.decode(errors="replace") == probe.content:
        return good(f"{where} is answered by this machine")
    return suspicious(f"at {where} another server answers (status {answer.status}): {advice}")
