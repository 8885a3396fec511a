"""``callgate serve``: the application under Hypercorn, from the first log line to the last call."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys

from hypercorn.asyncio import serve as hypercorn_serve
from quart import Quart

from callgate import __version__
from callgate.agents import AgentBook
from callgate.config.settings import Config
from callgate.config.warnings import warnings
from callgate.core.units import SECONDS
from callgate.errors import ConfigError
from callgate.websocket.on_hypercorn import port as hypercorn_port
from callgate.websocket.on_hypercorn.port import PortConfig
from callgate.websocket.sockets import MESSAGE_LIMIT

from .app import StartModelServer, create_app
from .services import Services

log = logging.getLogger(__name__)

HEADER_LIMIT = 32 * 1024  # bytes of request line and headers
HEAD_DEADLINE = 5 * SECONDS  # for a request's headers to arrive, from the connection's start or the last response
BACKLOG = 1024  # connections that may wait to be accepted: nginx gives up on one within half a second
SWITCH_INTERVAL = 0.0005 * SECONDS  # after which the store's thread yields to the calls; Python's default is 5 ms
GRACE = 3 * SECONDS  # for connections that are left when all calls have ended


async def serve(config: Config, line_check: StartModelServer) -> None:
    """Serve until SIGTERM or SIGINT, then wait up to ``DRAIN_SECONDS`` for live calls to end.

    A second signal ends them at once. SIGHUP reloads the agents' file. Raises `ConfigError` if that file can't be used
    at the start, or the address can't be listened on. ``line_check``: see `create_app`.
    """
    config = config.with_rehearsal_token()
    hypercorn_port.raise_file_limit()
    for warning in warnings(config):
        log.warning("%s", warning)
    changed = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, changed.set)
    agents = AgentBook(config)
    listener = listen(config.host, config.port)
    app = create_app(config, line_check, agents=agents)
    host, port = listener.getsockname()[:2]
    log.info("Callgate %s serves %s, listening on http://%s:%d", __version__, config.base_url, host, port)
    reloading = asyncio.create_task(_reload_whenever(changed, agents))
    try:
        await hypercorn_serve(
            app, hypercorn_config(listener), shutdown_trigger=lambda: _stopped(app, config.drain_seconds), mode="asgi"
        )
    finally:
        reloading.cancel()
        await asyncio.wait((reloading,))
    log.info("Stopped")


async def _reload_whenever(changed: asyncio.Event, agents: AgentBook) -> None:
    while True:
        await changed.wait()
        changed.clear()
        await agents.reload()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `ConfigError`."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as exc:
        raise ConfigError([f"HOST, PORT: {host}:{port} can't be listened on: {exc.strerror}"]) from exc


def hypercorn_config(listener: socket.socket) -> PortConfig:
    """Return Hypercorn's settings, with all limits. Hypercorn takes over the listening socket."""
    hypercorn_port.install()
    config = PortConfig()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = logging.getLogger("hypercorn.error")
    config.errorlog.setLevel(logging.WARNING)
    config.accesslog = None
    config.include_server_header = False
    config.websocket_max_message_size = MESSAGE_LIMIT
    # No pings: Twilio sends 50 messages a second, so its silence is noticed within seconds, while Hypercorn's ping task
    # would keep each finished connection alive for the rest of its interval.
    config.websocket_ping_interval = None
    config.h11_max_incomplete_size = HEADER_LIMIT
    # Counted from the connection's start, and from each response, until the next request's headers are complete: a
    # trickle of bytes does not extend it. A body has its own deadline (`app`). No ``read_timeout``: it would end silent
    # WebSockets too.
    config.keep_alive_timeout = HEAD_DEADLINE
    config.graceful_timeout = GRACE
    return config


async def _stopped(app: Quart, drain_seconds: float) -> None:
    # The objects that exist by now are permanent: scanning them in every collection would delay all calls.
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_INTERVAL)
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    await signals.get()
    services: Services = app.extensions["callgate"]
    registry = services.switchboard.registry
    log.info("Stopping: %d calls on the line", registry.live)
    drained = asyncio.ensure_future(registry.drain(drain_seconds))
    again = asyncio.ensure_future(signals.get())
    await asyncio.wait((drained, again), return_when=asyncio.FIRST_COMPLETED)
    again.cancel()
    if not drained.done():
        drained.cancel()
        await registry.drain(0)
