"""`websocket_echo` in its own thread and event loop, for blocking probes, with a view of its receivers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import uvloop
from callgate.websocket.on_hypercorn import takeover
from hypercorn.protocol.ws_stream import WSStream

from support.conformance.websocket_echo import Echo, EchoServer
from support.websocket_probe import BINARY, DEADLINE, TEXT, Probe

T = TypeVar("T")


class Observed(Echo):
    """An echo that reports what it receives to another thread."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[int, bytes]] = []
        self._closings: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()

    def text_received(self, message: bytes) -> None:
        self.messages.append((TEXT, message))
        super().text_received(message)

    def binary_received(self, message: bytes) -> None:
        self.messages.append((BINARY, message))
        super().binary_received(message)

    def connection_closed(self, code: int, reason: str) -> None:
        self._closings.put((code, reason))
        super().connection_closed(code, reason)

    def closed(self) -> int:
        """Wait for the connection to end, and return the code that the receiver was given."""
        code, _ = self._closings.get(timeout=DEADLINE)
        return code

    @property
    def told_again(self) -> bool:
        """Whether a second end was reported after the one that `closed` returned."""
        return not self._closings.empty()


class Flood(Observed):
    """Answers any message with ``COUNT`` numbered messages of ``SIZE`` bytes, as fast as they are accepted."""

    COUNT, SIZE = 1024, 16 * 1024

    def __init__(self) -> None:
        super().__init__()
        self.paused, self.resumed = threading.Event(), threading.Event()
        self.sent = 0
        self.waiting_when_paused = 0

    @classmethod
    def message(cls, number: int) -> bytes:
        return number.to_bytes(4, "big") * (cls.SIZE // 4)

    def text_received(self, message: bytes) -> None:
        self._send()

    def pause_writing(self) -> None:
        self.waiting_when_paused = self.socket.waiting
        self.resumed.clear()
        self.paused.set()

    def resume_writing(self) -> None:
        self.paused.clear()
        self.resumed.set()
        self._send()

    def _send(self) -> None:
        while self.sent < self.COUNT and not self.paused.is_set():
            self.sent += 1
            self.socket.send_binary(self.message(self.sent - 1))


class Service:
    """A running echo server. ``ordinary`` says whether Hypercorn serves its WebSockets."""

    def __init__(self, port: int, loop: asyncio.AbstractEventLoop, *, ordinary: bool) -> None:
        self.address = ("127.0.0.1", port)
        self.ordinary = ordinary
        self._loop = loop
        self._paths = map("/{}".format, itertools.count())
        self._awaited: dict[str, tuple[Callable[[], Observed], Future[Observed]]] = {}

    def expect(self, receiver: Callable[[], T]) -> tuple[str, Future[T]]:
        """Reserve a path for a future receiver."""
        path, made = next(self._paths), Future[Any]()
        self._awaited[path] = receiver, made  # type: ignore[assignment]
        return path, made

    @contextlib.contextmanager
    def connect(
        self, receiver: Callable[[], T] = Observed, *, receive_buffer: int | None = None
    ) -> Iterator[tuple[Probe, T]]:
        """Open a WebSocket, and return its client and its receiver in the server."""
        path, made = self.expect(receiver)
        with Probe(self.address, receive_buffer=receive_buffer) as probe:
            probe.upgrade(path)
            yield probe, made.result(DEADLINE)

    @contextlib.contextmanager
    def probe(self) -> Iterator[Probe]:
        """Open a WebSocket, and yield its client."""
        with self.connect() as (probe, _):
            yield probe

    def make(self, path: str) -> Echo:
        """Return the receiver of an accepted connection."""
        receiver, made = self._awaited.pop("/" + path, (Observed, Future()))
        made.set_result(receiver())
        return made.result()

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call a function in the server's thread."""
        self._loop.call_soon_threadsafe(function, *args)


@contextlib.contextmanager
def running(kind: str, **limits: float) -> Iterator[Service]:
    """Run an echo server: ``fast`` on uvloop, ``fast-asyncio`` on asyncio's own loop, ``ordinary`` on uvloop without
    the takeover. At the end, check that all receivers have ended with their clients, that no task is left, and that
    no exception reached the loop.
    """
    ordinary = kind == "ordinary"
    started: Future[tuple[Service, Callable[[], object]]] = Future()

    async def main() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        unhandled: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: unhandled.append(context))
        server = EchoServer(receiver=lambda path: started.result()[0].make(path), **limits)

        def listening(port: int) -> None:
            started.set_result((Service(port, loop, ordinary=ordinary), stop.set))

        async def stopped() -> None:
            await stop.wait()
            async with asyncio.timeout(DEADLINE):
                while server.live:  # noqa: ASYNC110 (only this test waits for it)
                    await asyncio.sleep(0.005)

        await server.serve(0, listening, stopped)
        assert not unhandled, unhandled
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    def run() -> None:
        loop_factory = asyncio.new_event_loop if kind == "fast-asyncio" else uvloop.new_event_loop
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as executor:
        patch.setattr(WSStream, "handle", WSStream.handle)  # so that it is restored
        (takeover.uninstall if ordinary else takeover.install)()
        thread = executor.submit(run)
        thread.add_done_callback(
            lambda ended: started.done() or started.set_exception(ended.exception() or SystemExit())
        )
        service, stop = started.result(DEADLINE)
        try:
            yield service
        finally:
            service.call(stop)
            thread.result(DEADLINE)
