"""A WebSocket's server side without a socket: a transport and a receiver that record what they are given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from support.websocket_probe import BINARY, TEXT


class Recorder:
    """A receiver that records its calls."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.closings: list[tuple[int, str]] = []

    def text_received(self, message: bytes) -> None:
        self.messages.append((TEXT, bytes(message)))

    def binary_received(self, message: bytes) -> None:
        self.messages.append((BINARY, bytes(message)))

    def batch_received(self) -> None:
        pass

    def pause_writing(self) -> None:
        raise AssertionError("the transport never says so")

    def resume_writing(self) -> None:
        raise AssertionError("the transport never says so")

    def connection_closed(self, code: int, reason: str) -> None:
        self.closings.append((code, reason))


class RecordingTransport(asyncio.Transport):
    """A transport that records what is written, and accepts everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False
        self.paused = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    async def until_read(self) -> None:
        """Let the event loop run until more data would be read."""
        while self.paused and not self.closed:  # noqa: ASYNC110 (each iteration takes a slice)
            await asyncio.sleep(0)


def frames_of(written: bytes) -> Iterator[tuple[int, bytes]]:
    """Return a server's control frames."""
    while written:
        opcode, length = written[0] & 15, written[1]
        assert written[0] & 0xF0 == 0x80
        assert length < 126
        yield opcode, written[2 : 2 + length]
        written = written[2 + length :]
