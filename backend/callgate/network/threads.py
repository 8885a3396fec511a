"""Blocking work, in threads of its own.

The event loop's default executor has a few threads for everybody: work that hangs there delays whoever needs a thread
next. Here each kind of work has its own threads. They are daemons, so that a hanging one does not keep the process from
exiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_thread(name: str, work: Callable[[], T]) -> asyncio.Future[T]:
    """Start ``work`` in a thread, and return a future for its result: an `OSError` if the system provides no thread.
    The work goes on if nobody waits for it any more."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()
    result.add_done_callback(_is_known)
    context = contextvars.copy_context()

    def end(value: T | None, error: Exception | None) -> None:
        if result.done():  # cancelled
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value, error = None, None
        try:
            value = context.run(work)
        except Exception as exc:
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(end, value, error)

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError:
        result.set_exception(OSError(f"no thread can be started for it ({name})"))
    return result


class Threads:
    """Does one kind of work, at most ``most`` pieces of it at once; the rest waits."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._places = asyncio.Semaphore(most)

    async def run(self, work: Callable[[], T]) -> T:
        """Do ``work``. If nobody waits for it any more, it goes on, and keeps its place."""
        await self._places.acquire()
        result = in_thread(self._name, work)
        result.add_done_callback(lambda _: self._places.release())
        return await asyncio.shield(result)


def _is_known(result: asyncio.Future[T]) -> None:
    """Mark the exception as retrieved: nobody may be waiting for it any more."""
    if not result.cancelled():
        result.exception()
