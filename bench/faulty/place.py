"""One call through its own service, between its own phone and its own fake OpenAI; and what the call leaves behind.

The service is the whole product, in this process, on a loopback port. What a call leaves behind is counted before the
service is stopped, because stopping would clean it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from callgate.core.units import SECONDS
from callgate.peers.phone.call import place_call
from callgate.peers.phone.options import Address, PhoneOptions, TwilioLimits
from callgate.peers.phone.simulation.report import CallReport
from callgate.peers.phone.simulation.script import Step
from callgate.peers.phone.simulation.timeline import Event
from callgate.store import StoredCall
from callgate.store.sqlite_or_postgres import FILE_NAME
from support.fake_openai import FakeOpenAI
from support.fixtures import AUTH_TOKEN
from support.phone_peer import Certificates
from support.service import ACCOUNT, BASE_URL, Service, config_for, running

from .clips import CLIP
from .front import LOOPBACK, front

QUIET = 0.4 * SECONDS  # silence after which the caller takes the agent to have finished
REPLY_WITHIN = 6 * SECONDS
LONGEST_CALL = 25 * SECONDS
TIDY_WITHIN = 4 * SECONDS
TIDY_LOOK = 0.02 * SECONDS
LATENESS_LOOK = 0.005 * SECONDS
STORE = FILE_NAME
FALLBACK = "+15550009999"  # a 555 number, which belongs to nobody
MODEL_KEY = "sk-test"  # the same key as in `service.config_for`
LIMITS = TwilioLimits(connect=5 * SECONDS, read=5 * SECONDS, upgrade=5 * SECONDS, close=2 * SECONDS)

Result = TypeVar("Result")

_place: ContextVar[object | None] = ContextVar("_place", default=None)
_tasks: dict[object, set[asyncio.Task[Any]]] = {}


@dataclass(frozen=True, slots=True)
class Tls:
    """The server context and CA file for the front's TLS; and settings that all services have."""

    server: ssl.SSLContext
    ca: Path
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is over. ``zero`` is when it began, in the loop's time."""

    report: CallReport
    zero: float
    left: tuple[str, ...]  # what it left behind, a few words for each item


@contextlib.contextmanager
def tls_files() -> Generator[Tls]:
    """Yield TLS files with a certificate for the service's name, while the context lasts."""
    with tempfile.TemporaryDirectory() as directory:
        certificates = Certificates(Path(directory))
        yield Tls(certificates.server(BASE_URL.removeprefix("https://")), certificates.ca)


class Place:
    """A service and its fake OpenAI, which takes calls."""

    def __init__(self, service: Service, fake: FakeOpenAI, port: int, ca: Path) -> None:
        self.fake = fake
        self._service = service
        self._options = PhoneOptions(
            to=f"{BASE_URL}/incoming-call",
            auth_token=AUTH_TOKEN,
            account_sid=ACCOUNT,
            connect_to=Address(LOOPBACK, port),
            ca=ca,
            quiet_seconds=QUIET,
            reply_within=REPLY_WITHIN,
            max_seconds=LONGEST_CALL,
            wait_clip=CLIP,
            limits=LIMITS,
        )

    async def call(self, *script: Step, **options: Any) -> Call:
        """Make a call, and check what is left after it."""
        zeros: list[float] = []
        clock = asyncio.get_running_loop().time

        def note(event: Event) -> None:
            if not zeros:
                zeros.append(clock() - event.at)

        before = set(_own_tasks())
        report = await place_call(replace(self._options, script=script, on_event=note, **options))
        return Call(report, zeros[0], await self._left(before))

    async def record_of(self, call: Call) -> StoredCall:
        """Return the store's record of a call."""
        store = self._service.services.store
        await store.journal.flush(TIDY_WITHIN)
        found = await store.call(call.report.call_sid)
        assert found is not None, "the call is not on record"
        return found

    async def _left(self, before: set[asyncio.Task[Any]]) -> tuple[str, ...]:
        """Return what remains of a call after `TIDY_WITHIN`."""
        switchboard = self._service.services.switchboard
        until = time.monotonic() + TIDY_WITHIN
        while True:
            counts = {
                "live calls": switchboard.registry.live,
                "parked sessions": switchboard.parking.waiting,
                "model sessions": self.fake.open_connections,
            }
            left = [f"{count} {what}" for what, count in counts.items() if count]
            left += sorted(f"task {_name(task)}" for task in _own_tasks() - before)
            if not left or time.monotonic() >= until:
                return tuple(left)
            await asyncio.sleep(TIDY_LOOK)


@contextlib.asynccontextmanager
async def place(tls: Tls, fake: FakeOpenAI, **settings: str) -> AsyncIterator[Place]:
    """Run a service with these settings, and those of ``tls``, in front of ``fake``, and start both."""
    with tempfile.TemporaryDirectory() as data, _store_made_ready(Path(data), tls.ca.parent):
        async with contextlib.AsyncExitStack() as stack:
            fake.api_key = MODEL_KEY
            await stack.enter_async_context(fake)
            config = config_for(fake.url, Path(data), FALLBACK_DIAL=FALLBACK, **{**tls.settings, **settings})
            service = await stack.enter_async_context(running(config))
            port = await stack.enter_async_context(front(service.address, tls.server))
            yield Place(service, fake, port, tls.ca)


@contextlib.contextmanager
def _store_made_ready(data: Path, kept: Path) -> Generator[None]:
    """Copy the first service's store file to ``data``: creating one is slow enough to disturb live calls."""
    if (kept / STORE).exists():
        shutil.copy(kept / STORE, data)
    yield
    if (data / STORE).exists() and not (kept / STORE).exists():
        shutil.copy(data / STORE, kept)


# Tasks and files.


def count_tasks_by_place() -> None:
    """Attribute every new task of this loop to the `in_own_place` call it descends from."""

    def create(
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Result] | Generator[Any, None, Result],
        **options: Any,
    ) -> asyncio.Task[Result]:
        task = asyncio.Task(coro, loop=loop, **options)
        context = options.get("context")
        own = _place.get() if context is None else context.get(_place)
        if own is not None:
            tasks = _tasks.setdefault(own, set())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return task

    asyncio.get_running_loop().set_task_factory(create)


async def in_own_place(work: Coroutine[Any, Any, Result]) -> Result:
    """Run ``work`` in a task whose descendant tasks are counted separately."""
    own = object()
    context = copy_context()
    context.run(_place.set, own)
    try:
        return await asyncio.get_running_loop().create_task(work, context=context)
    finally:
        _tasks.pop(own, None)


def _name(task: asyncio.Task[Any]) -> str:
    """Return the name of the task's coroutine."""
    return str(getattr(task.get_coro(), "__qualname__", task.get_coro()))


def _own_tasks() -> set[asyncio.Task[Any]]:
    own = _place.get()
    return set(asyncio.all_tasks()) if own is None else set(_tasks.get(own, ()))


@contextlib.asynccontextmanager
async def lateness() -> AsyncIterator[Callable[[], float]]:
    """Watch the event loop's delays. Yield a function that returns the worst one, in seconds."""
    loop = asyncio.get_running_loop()
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            due = loop.time() + LATENESS_LOOK
            await asyncio.sleep(LATENESS_LOOK)
            worst = max(worst, loop.time() - due)

    watching = loop.create_task(watch())
    try:
        yield lambda: worst
    finally:
        watching.cancel()
        await asyncio.wait((watching,))


@dataclass(frozen=True, slots=True)
class Open:
    """The numbers of things that a process has open."""

    files: int
    tasks: int


def open_things() -> Open:
    """Count what this process has open now."""
    gc.collect()
    return Open(len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()))


async def left_open(before: Open) -> tuple[str, ...]:
    """Return what is still open beyond ``before`` after `TIDY_WITHIN`."""
    until = time.monotonic() + TIDY_WITHIN
    while True:
        now = open_things()
        more = {"file descriptors": now.files - before.files, "tasks": now.tasks - before.tasks}
        left = tuple(f"{count} {what}" for what, count in more.items() if count > 0)
        if not left or time.monotonic() >= until:
            return left
        await asyncio.sleep(TIDY_LOOK)
