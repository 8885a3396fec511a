"""Names that are looked up in the DNS, so that one that is not answered is felt by nobody else.

The system's resolver blocks, and can't be stopped. The event loop has it run in a few threads for all (uvloop in two of
libuv's), and two names that hang there are enough that no other is looked up. So here each name has a thread of its own
while it is looked up, and whoever wants the same name meanwhile waits for the same answer. The names stand in the
owner's own settings and files, so there are as many threads as names at most, and twice as many where they hang.

It is the system's resolver all the same, not a client of our own: only it knows ``/etc/hosts``, the search domains, and
what else ``nsswitch.conf`` has asked (Docker's names, mDNS, a VPN's own servers).
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

LATE = 1 * SECONDS  # when a name that was known before is waited for no longer
HANGS = 60 * SECONDS  # when a name is looked up anew, beside a look-up that has not come back
MOST_FOR_A_NAME = 2  # threads
MOST_KEPT = 256  # names whose last answer is kept

# As `socket.getaddrinfo` has it: family, kind, protocol, canonical name, address.
AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]

NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


@dataclass(slots=True)
class _Name:
    host: str
    look_up: asyncio.Future[list[AddressInfo]] | None = None  # that is under way
    began: float = 0.0
    threads: int = 0
    answer: list[AddressInfo] = field(default_factory=list)  # the last good one
    answered: float = float("-inf")
    fails: bool = False  # it is answered late, or not, and this stands in the log


class Lookups:
    """Looks names up for one purpose; another purpose has its own, and shares nothing with it.

    A name that is not answered in time, or not now, has the addresses that it had last, if that is at most ``keep_for``
    seconds ago. ``believes_missing``: an answer that there is no such name is taken for true, and the addresses are
    forgotten; otherwise it is one more failure. ``flags``: of `socket.getaddrinfo`.
    """

    def __init__(self, *, keep_for: float, believes_missing: bool, flags: int = 0) -> None:
        self._keep_for, self._believes_missing, self._flags = keep_for, believes_missing, flags
        self._names: dict[str, _Name] = {}  # the one that was asked for last, last

    async def find(self, host: str, port: int) -> list[AddressInfo]:
        """The addresses of a host. Raises `OSError` where there is none. It waits as long as it takes for a name that
        has not been found before: who asks has a deadline."""
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
        return await asyncio.shield(look_up)  # there is no such name, or none any more

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
        """See that the name is being looked up."""
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
                log.info("The name %s is found again", name.host)
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
    """Ask the system. Raises `OSError`."""
    try:
        return cast(list[AddressInfo], socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags))
    except UnicodeError as exc:
        raise socket.gaierror(socket.EAI_NONAME, "it can't be a name") from exc


def is_address(host: str) -> bool:
    """Whether a host is given by its address, of IPv4 or IPv6, so that there is no name to look up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _with_port(found: list[AddressInfo], port: int) -> list[AddressInfo]:
    return [(family, kind, protocol, name, (at[0], port, *at[2:])) for family, kind, protocol, name, at in found]
