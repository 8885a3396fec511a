"""Callgate's side of a WebSocket as an echo server, for conformance suites of RFC 6455.

It is a Quart application under Hypercorn, whose sockets are accepted and served exactly like a Media Stream: on the
fast path by `callgate.websocket.server`, on the ordinary one by `asgi_stream`. Text is echoed as text and binary as
binary, on any path of the URL.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, cast

import uvloop
from callgate.errors import ConfigError
from callgate.web.server import hypercorn_config, listen
from callgate.websocket.allowance import UNLIMITED
from callgate.websocket.on_hypercorn import takeover
from callgate.websocket.on_hypercorn.asgi_ending import EndsInTime
from callgate.websocket.on_hypercorn.asgi_stream import AsgiStream
from callgate.websocket.on_hypercorn.handshake import refuse_bad_key
from callgate.websocket.server import WebSocketServer
from hypercorn.asyncio import serve as hypercorn_serve
from quart import Quart, websocket

LOOPBACK: Final = "127.0.0.1"
MESSAGE_LIMIT: Final = 16 * 1024 * 1024  # bytes; conformance suites send messages of that size
UNREAD_LIMIT: Final = 64 * 1024 * 1024  # bytes that a client may leave unread
GOING_AWAY: Final = 1001
TRY_AGAIN_LATER: Final = 1013

Path = Literal["fast", "ordinary"]


class Echo:
    """A receiver that echoes what it receives."""

    socket: WebSocketServer | AsgiStream

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def text_received(self, message: bytes) -> None:
        self.socket.send_text(message)

    def binary_received(self, message: bytes) -> None:
        self.socket.send_binary(message)

    def batch_received(self) -> None:
        if self.socket.waiting > UNREAD_LIMIT:
            self.close(TRY_AGAIN_LATER, "too much is unread")

    def pause_writing(self) -> None:
        """Do nothing: more may be queued, up to the limit."""

    def resume_writing(self) -> None:
        pass

    def connection_closed(self, code: int, reason: str) -> None:
        self.ended.set()

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake."""
        self.socket.close(code, reason)
        self.ended.set()


class EchoServer:
    """The application, and its `live` receivers. ``receiver`` makes one for the URL's path. ``limits`` are those of
    `WebSocketServer`, in bytes and seconds; on the ordinary path, only ``message_limit`` has an effect."""

    def __init__(self, *, receiver: Callable[[str], Echo] = lambda path: Echo(), **limits: Any) -> None:
        self.app = Quart(__name__)
        self.app.before_websocket(refuse_bad_key)
        self.app.asgi_app = EndsInTime(self.app.asgi_app)  # type: ignore[method-assign]
        self.app.add_websocket("/", view_func=self._accept)
        self.app.add_websocket("/<path:path>", view_func=self._accept)
        self._receiver = receiver
        self._limits: dict[str, Any] = {"message_limit": MESSAGE_LIMIT, "pace": UNLIMITED, **limits}
        self.live: set[Echo] = set()

    async def serve(self, port: int, listening: Callable[[int], None], stopped: Callable[[], Awaitable[None]]) -> None:
        """Serve on a loopback port (0 for a free one), which is passed to ``listening``, until ``stopped`` returns.
        Raises `ConfigError`."""
        listener = listen(LOOPBACK, port)
        listening(listener.getsockname()[1])
        config = hypercorn_config(listener)
        config.websocket_max_message_size = int(self._limits["message_limit"])
        config.stream_pace = self._limits["pace"]

        async def stop() -> None:
            await stopped()
            for receiver in self.live:
                receiver.close(GOING_AWAY, "the server stops")

        await hypercorn_serve(self.app, config, shutdown_trigger=stop, mode="asgi")  # type: ignore[arg-type]

    async def _accept(self, path: str = "") -> None:
        """Accept as `callgate.web.routes.media_stream` does, without refusing anybody."""
        await websocket.accept()
        receiver = self._receiver(path)
        receiver.socket = WebSocketServer(receiver, **self._limits)
        if takeover.take(websocket.scope, receiver.socket):
            await self._serve(receiver)
            return
        receiver.socket = AsgiStream(cast(Any, websocket)._get_current_object(), receiver)
        receiver.socket.start()
        served = asyncio.ensure_future(self._serve(receiver))
        try:
            await asyncio.shield(served)
        except asyncio.CancelledError:  # the peer is gone; some of what it sent may be unread
            receiver.socket.peer_gone()
            await served
            raise
        finally:
            await receiver.socket.stop()

    async def _serve(self, receiver: Echo) -> None:
        self.live.add(receiver)
        await receiver.ended.wait()
        self.live.discard(receiver)
        await receiver.socket.wait_closed()


async def serve(path: Path, port: int, message_limit: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    (takeover.install if path == "fast" else takeover.uninstall)()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def say(port: int) -> None:
        print(f"ws://{LOOPBACK}:{port}", flush=True)

    async def stopped() -> None:
        await stop.wait()

    await EchoServer(message_limit=message_limit).serve(port, say, stopped)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program. Return its exit code: 0 if a signal ended it, 2 if it can't listen."""
    parser = argparse.ArgumentParser(
        prog="websocket-echo.sh", description="A WebSocket echo server, for RFC 6455 suites."
    )
    parser.add_argument("--port", type=int, default=0, help="where to listen on 127.0.0.1; a free port by default")
    parser.add_argument("--path", choices=("fast", "ordinary"), default="fast", help="who serves; fast by default")
    parser.add_argument(
        "--message-limit", type=int, default=MESSAGE_LIMIT, help=f"bytes of one message; {MESSAGE_LIMIT} by default"
    )
    args = parser.parse_args(argv)
    try:
        uvloop.run(serve(args.path, args.port, args.message_limit))
    except ConfigError as exc:
        print(f"websocket-echo.sh: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
