"""A backend behind the edge that reports the requests that reach it, and echoes what it receives on its WebSocket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web
from demo.local_edge import LOOPBACK

START_TIMEOUT = 10.0

# The path that is answered with status 500.
BROKEN = "/broken"


async def _stream(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    assert request.transport is not None
    served_by = request.transport.get_extra_info("sockname")[1]
    await websocket.send_json({**request.headers, "Served-By": served_by})
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            await websocket.send_str(message.data)
    return websocket


async def _anything(request: web.Request) -> web.Response:
    body = await request.text()
    told = {"method": request.method, "path": request.path_qs, "headers": dict(request.headers), "body": body}
    return web.json_response(told, status=500 if request.path == BROKEN else 200)


async def failing(request: web.Request) -> web.Response:
    """Answer everything with 500."""
    return web.Response(status=500, text="broken")


class Backend:
    """An HTTP server in a thread. ``port`` is set when the constructor returns."""

    def __init__(self, anything: Callable[[web.Request], Awaitable[web.StreamResponse]] = _anything) -> None:
        self._anything = anything
        self._socket = socket.create_server((LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._started.wait(START_TIMEOUT), "the test's backend did not start"

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1024**2)
        app.router.add_get("/media-stream", _stream)
        app.router.add_get("/media-stream/{token:.*}", _stream)
        app.router.add_route("*", "/{path:.*}", self._anything)
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
