"""What defines an attack, what it is given, and what it reports. It runs in its own process (`attacker`)."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from callgate.core.units import SECONDS

from .client import ANSWER_TIMEOUT, Client, Peer, why

AFTER_A_FAILURE = 0.02 * SECONDS
MOST_AT_ONCE = 400  # concurrent tasks of one `Assault.paced`


@dataclass(frozen=True, slots=True)
class Target:
    """What is attacked, and what the attacker has found out. It is passed to the attacker's process as JSON.

    ``auth_token`` signs requests that the attacker is supposed to have captured. ``live`` is the form of a live call's
    webhook. ``secrets`` are strings that no answer may contain.
    """

    host: str
    http_port: int
    https_port: int
    name: str
    ca: str
    source: str
    auth_token: str
    live: dict[str, str]
    secrets: dict[str, str]

    @property
    def base_url(self) -> str:
        """The URL that Twilio knows the service by, and signs."""
        return f"https://{self.name}"


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack. ``about`` is one sentence; ``unit`` is what ``tried`` counts. ``sessions`` and ``rest`` are the
    model sessions and the requests to Twilio's REST API that it may cause, in addition to one session per call of
    its own. ``lasts`` multiplies the usual seconds. With ``edge_fails``, it attacks an edge whose backend is gone;
    with ``from_same``, it is run from the callers' own address too."""

    name: str
    about: str
    run: Callable[[Assault], Awaitable[None]]
    unit: str = "requests"
    sessions: int = 0
    rest: int = 0
    lasts: float = 1.0
    edge_fails: bool = False
    from_same: bool = False


ATTACKS: dict[str, Attack] = {}


def attack(
    name: str, about: str, **options: Any
) -> Callable[[Callable[[Assault], Awaitable[None]]], Callable[[Assault], Awaitable[None]]]:
    """Register a function in `ATTACKS`, with the fields of `Attack`."""

    def enter(run: Callable[[Assault], Awaitable[None]]) -> Callable[[Assault], Awaitable[None]]:
        assert name not in ATTACKS, name
        ATTACKS[name] = Attack(name, about, run, **options)
        return run

    return enter


class Assault:
    """An attack in progress, limited to ``seconds``: its target and its results so far."""

    def __init__(self, target: Target, seconds: float) -> None:
        self.target = target
        self.tried = 0
        self.got: Counter[str] = Counter()  # answers by kind: a status, "closed", "reset", …
        self.told: set[str] = set()  # the target's secrets that answers revealed
        self.calls = 0  # the attacker's own calls that were answered with a stream
        self.client = Client(Peer(target.host, target.https_port, target.name, target.ca, target.source), self.look)
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + seconds

    def begin(self) -> None:
        """Start the clock again."""
        self._until = self._loop.time() + self._seconds

    @property
    def left(self) -> float:
        """The seconds left."""
        return max(0.0, self._until - self._loop.time())

    @property
    def goes_on(self) -> bool:
        """Whether there is time left."""
        return self._loop.time() < self._until

    def look(self, data: bytes) -> None:
        """Search data from an answer for secrets."""
        for name, secret in self.target.secrets.items():
            if secret.encode() in data:
                self.told.add(name)

    async def paced(self, a_second: float, do: Callable[[int], Awaitable[None]]) -> None:
        """Start ``do`` at a steady rate, with the next number each time, until time is up. Then wait for all."""
        under_way: set[asyncio.Task[None]] = set()
        began = self._loop.time()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began + number / a_second - self._loop.time()))
            if not self.goes_on:
                break
            if len(under_way) < MOST_AT_ONCE:
                task = asyncio.ensure_future(self._noted(do, number))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=ANSWER_TIMEOUT)
            for task in late:
                task.cancel()

    async def together(self, count: int, do: Callable[[int], Awaitable[None]]) -> None:
        """Run ``do`` ``count`` times concurrently, with a different number each."""
        await asyncio.gather(*(self._noted(do, number) for number in range(count)))

    async def crowd(self, count: int, do: Callable[[int], Awaitable[None]]) -> None:
        """Run ``do`` repeatedly in ``count`` tasks, with a different number each, until time is up."""

        async def again(number: int) -> None:
            while self.goes_on:
                before = self.got.total()
                await self._noted(do, number)
                if self.got.total() == before + 1:  # only one failure, perhaps an immediate one
                    await asyncio.sleep(AFTER_A_FAILURE)

        await asyncio.gather(*(again(number) for number in range(count)))

    async def _noted(self, do: Callable[[int], Awaitable[None]], number: int) -> None:
        try:
            await do(number)
        except (OSError, ssl.SSLError, EOFError, TimeoutError, ValueError) as error:
            self.got[why(error)] += 1

    async def ask(self, request: bytes, *, tls: bool = True) -> None:
        """Send a request on a new connection, and count the answer's status."""
        self.tried += 1
        async with self.client.connection(tls=tls, port=None if tls else self.target.http_port) as connection:
            connection.send(request)
            self.got[str((await connection.answer()).status)] += 1
