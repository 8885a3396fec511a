"""DNS look-ups in which one unanswered name delays nobody else.

The system's resolver blocks and can't be cancelled. The event loop runs it in a few threads shared by all (uvloop in
two of libuv's), and two names that hang there keep all others from being resolved. Here each name therefore has its own
thread while it is being looked up, and requests for the same name share one look-up. The names come from the owner's
own settings and files, so there are at most as many threads as names, or twice as many if they hang.

It is still the system's resolver rather than a client of our own: only it knows ``/etc/hosts``, the search domains, and
the other sources in ``nsswitch.conf`` (Docker's names, mDNS, a VPN's own servers).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from dataclasses import dataclass, field
from typing import cast

from callgate.core.units import SECONDS

from .threads import in_thread

log = logging.getLogger(__name__)

LATE = 1 * SECONDS  # how long to wait for a name whose addresses are known already
HANGS = 60 * SECONDS  # when to look a name up again although its last look-up has not returned
MOST_FOR_A_NAME = 2  # threads
MOST_KEPT = 256  # names whose latest answer is kept

# As `socket.getaddrinfo` returns it: family, kind, protocol, canonical name, address.
AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]

NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


@dataclass(slots=True)
class _Name:
    host: str
    look_up: asyncio.Future[list[AddressInfo]] | None = None  # the look-up in progress
    began: float = 0.0
    threads: int = 0
    answer: list[AddressInfo] = field(default_factory=list)  # the last good one
    answered: float = float("-inf")
    fails: bool = False  # it is answered late or not at all, and that was logged


class Lookups:
    """Looks names up for one purpose; each purpose has its own instance, and they share nothing.

    A name that is not answered in time, or can't be resolved now, keeps its latest addresses for up to ``keep_for``
    seconds. ``believes_missing``: an answer that the name does not exist is believed, and the addresses are dropped;
    otherwise it is just another failure. ``flags``: for `socket.getaddrinfo`.
    """

    def __init__(self, *, keep_for: float, believes_missing: bool, flags: int = 0) -> None:
        self._keep_for, self._believes_missing, self._flags = keep_for, believes_missing, flags
        self._names: dict[str, _Name] = {}  # ordered by when each was last requested

    async def find(self, host: str, port: int) -> list[AddressInfo]:
        """Return the addresses of a host. Raises `OSError` if there are none. For a name that was not resolved before,
        it waits as long as the look-up takes: whoever awaits it has a deadline."""
        if is_address(host):
            return _with_port(_ask(host, socket.AI_NUMERICHOST), port)
        name = self._name(host)
        return _with_port(await self._answer(name), port)

    async def _answer(self, name: _Name) -> list[AddressInfo]:
        look_up = self._begin(name)
        if not self._has_answer(name):
            return await asyncio.shield(look_up)
        if not name.fails:
            await asyncio.wait([look_up], timeout=max(0.0, name.began + LATE - time.monotonic()))
            if not look_up.done():
                self._failed(name, f"no answer within {LATE:.0f} s")
        if look_up.done() and not look_up.exception():
            return look_up.result()
        if self._has_answer(name):
            return name.answer
        return await asyncio.shield(look_up)  # the name does not exist, or not any more

    def _has_answer(self, name: _Name) -> bool:
        return bool(name.answer) and time.monotonic() - name.answered <= self._keep_for

    def _name(self, host: str) -> _Name:
        key = host.lower().rstrip(".")
        name = self._names.pop(key) if key in self._names else _Name(host)
        self._names[key] = name
        for other, each in [*self._names.items()] if len(self._names) > MOST_KEPT else []:
            if not each.threads and each is not name:
                del self._names[other]
                break
        return name

    def _begin(self, name: _Name) -> asyncio.Future[list[AddressInfo]]:
        """Make sure that the name is being looked up."""
        if name.look_up is not None:
            hangs = time.monotonic() - name.began > HANGS
            if not hangs or name.threads >= MOST_FOR_A_NAME:
                return name.look_up
        host, flags = name.host, self._flags
        look_up = name.look_up = in_thread("look-up", lambda: _ask(host, flags))
        name.began = time.monotonic()
        name.threads += 1
        look_up.add_done_callback(lambda done: self._done(name, done))
        return look_up

    def _done(self, name: _Name, look_up: asyncio.Future[list[AddressInfo]]) -> None:
        name.threads -= 1
        if name.look_up is look_up:
            name.look_up = None
        if look_up.cancelled():
            return
        error = look_up.exception()
        if error is None:
            if name.fails:
                log.info("The name %s can be looked up again", name.host)
            name.answer, name.answered, name.fails = look_up.result(), time.monotonic(), False
        elif self._believes_missing and isinstance(error, socket.gaierror) and error.errno in NO_SUCH_NAME:
            name.answer, name.fails = [], False
        else:
            self._failed(name, str(error))

    def _failed(self, name: _Name, why: str) -> None:
        if not name.fails and self._has_answer(name):
            age = time.monotonic() - name.answered
            log.warning(
                "The name %s can't be looked up (%s): its addresses of %.0f s ago are used", name.host, why, age
            )
            name.fails = True


def _ask(host: str, flags: int) -> list[AddressInfo]:
    """Query the system's resolver. Raises `OSError`."""
    try:
        return cast(list[AddressInfo], socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags))
    except UnicodeError as exc:
        raise socket.gaierror(socket.EAI_NONAME, "it is not a valid host name") from exc


def is_address(host: str) -> bool:
    """Whether a host is an IPv4 or IPv6 address, so that there is no name to look up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _with_port(found: list[AddressInfo], port: int) -> list[AddressInfo]:
    return [(family, kind, protocol, name, (at[0], port, *at[2:])) for family, kind, protocol, name, at in found]
