"""The beginning of a Media Stream, up to the ``start`` message that says which call it belongs to.

A message that can't come before ``start``, or can't be read, is skipped; only a few are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from callgate.core.foreign import foreign
from callgate.core.units import SECONDS
from callgate.core.wire.media_stream import INVALID_MESSAGE, Connected, Start, Stop, Unknown
from callgate.core.wire.media_stream_json import event_of, parse_from_twilio
from callgate.errors import MediaStreamError
from callgate.websocket.sockets import Receiver

log = logging.getLogger(__name__)

START_DEADLINE = 5 * SECONDS  # from the upgrade to ``start``
BEFORE_LIMIT = 10  # messages that may come before ``start``; Twilio sends one, `connected`
# Limits, in messages and bytes, on what is kept after ``start`` until a session receives it: five seconds of audio, and
# more than twice its size.
BEHIND_LIMIT = 250
BEHIND_BYTES_LIMIT = 256 * 1024


class StreamClosedError(Exception):
    """The stream was closed by Twilio, or lost, before it started."""


class Reception:
    """Receives a stream until it is known which call it belongs to (`callgate.websocket.sockets.Receiver`)."""

    def __init__(self) -> None:
        self._start: asyncio.Future[Start] = asyncio.get_running_loop().create_future()
        self._before = 0  # messages
        self._skipped: list[MediaStreamError] = []  # why messages were skipped
        self._behind: list[Callable[[Receiver], None]] = []
        self._behind_bytes = 0

    async def start(self) -> Start:
        """Wait for ``start``. Raises `MediaStreamError`, `StreamClosedError`."""
        try:
            async with asyncio.timeout(START_DEADLINE):
                return await asyncio.shield(self._start)
        except TimeoutError:
            raise MediaStreamError(
                INVALID_MESSAGE, f"no start arrived within {START_DEADLINE:.0f} s of the upgrade"
            ) from None
        finally:
            if self._skipped:
                log.warning("Skipped %d of Twilio's messages before start: %s", len(self._skipped), self._skipped[0])

    def hand_over(self, receiver: Receiver) -> None:
        """Pass what arrived after ``start`` on to ``receiver``."""
        for message in self._behind:
            message(receiver)
        receiver.batch_received()

    def text_received(self, message: bytes) -> None:
        if self._start.done():
            self._keep(lambda receiver: receiver.text_received(message), len(message))
        else:
            self._read(message.decode())

    def binary_received(self, message: bytes) -> None:
        if self._start.done():
            self._keep(lambda receiver: receiver.binary_received(message), len(message))
        else:
            self._read(message)

    def batch_received(self) -> None: ...

    def pause_writing(self) -> None:
        self._keep(lambda receiver: receiver.pause_writing())

    def resume_writing(self) -> None:
        self._keep(lambda receiver: receiver.resume_writing())

    def connection_closed(self, code: int, reason: str) -> None:
        if self._start.done():
            self._behind.append(lambda receiver: receiver.connection_closed(code, reason))
        else:
            self._fail(StreamClosedError(f"{code} {foreign(reason)}".rstrip()))

    def _keep(self, message: Callable[[Receiver], None], size: int = 0) -> None:
        self._behind_bytes += size
        if len(self._behind) < BEHIND_LIMIT and self._behind_bytes <= BEHIND_BYTES_LIMIT:
            self._behind.append(message)

    def _read(self, message: str | bytes) -> None:
        try:
            parsed = parse_from_twilio(message)
        except MediaStreamError as exc:
            if event_of(message) == "start":  # there won't be another
                self._fail(exc)
                return
            self._skipped.append(exc)
        else:
            if isinstance(parsed, Start):
                self._start.set_result(parsed)
            elif isinstance(parsed, Stop):
                self._fail(MediaStreamError(INVALID_MESSAGE, "stop arrived before start"))
            elif not isinstance(parsed, Connected | Unknown):
                kind = type(parsed).__name__.lower()
                self._skipped.append(MediaStreamError(INVALID_MESSAGE, f"{kind} arrived before start"))
        self._before += 1
        if self._before > BEFORE_LIMIT and not self._start.done():
            why = f"{self._before} messages arrived, but no start"
            self._fail(MediaStreamError(INVALID_MESSAGE, why))

    def _fail(self, exc: Exception) -> None:
        self._start.set_exception(exc)
        self._start.exception()  # mark it as retrieved, as nobody may be waiting for it
