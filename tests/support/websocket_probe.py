"""A WebSocket client that may break every rule of RFC 6455: hand-made frames on a TCP socket.

It blocks, but never longer than `DEADLINE`. It checks every frame it reads against the rules for servers: unmasked, no
reserved bit, the shortest length encoding, control frames unfragmented and at most 125 bytes long.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

DEADLINE: Final = 10.0  # seconds to wait for an answer; generous for a busy machine

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK: Final = b"\x37\xfa\x21\x3d"  # from the RFC's examples (§5.7)
SEVEN_BITS, SIXTEEN_BITS, SIXTY_FOUR_BITS = 7, 16, 64


class ProbeError(AssertionError):
    """The server sent something that no server may send, or less than expected."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame received from the server."""

    opcode: int
    payload: bytes
    fin: bool = True


@dataclass(frozen=True, slots=True)
class Ending:
    """How the server ended: the close frame's code (`None` without a frame, 1005 without a code) and reason, and
    whether it then reset the connection."""

    code: int | None
    reason: str = ""
    reset: bool = False


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    length: int | None = None,
    bits: int | None = None,
) -> bytes:
    """Return a client's frame. ``rsv`` is the three reserved bits, 4 being the first. ``mask`` is `None` for an
    unmasked frame. ``length`` is the announced length, if not the payload's. ``bits`` is its encoding (7, 16 or 64),
    by default the shortest.
    """
    length = len(payload) if length is None else length
    bits = bits or shortest(length)
    masked = 0x80 if mask is not None else 0
    first = fin << 7 | rsv << 4 | opcode
    match bits:
        case 7:
            head = struct.pack("!BB", first, masked | length)
        case 16:
            head = struct.pack("!BBH", first, masked | 126, length)
        case _:
            head = struct.pack("!BBQ", first, masked | 127, length)
    return head + payload if mask is None else head + mask + masked_with(mask, payload)


def shortest(length: int) -> int:
    """Return the bits of a length's shortest encoding (§5.2)."""
    return SEVEN_BITS if length < 126 else SIXTEEN_BITS if length < 2**16 else SIXTY_FOUR_BITS


def masked_with(mask: bytes, payload: bytes) -> bytes:
    """Return the payload masked, or unmasked (§5.3)."""
    size = len(payload)
    keys = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")


def close_payload(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame's body (§5.5.1)."""
    return code.to_bytes(2, "big") + reason


def fragments(opcode: int, parts: Iterable[bytes]) -> list[bytes]:
    """Return a message's frames, one for each part (§5.4)."""
    whole = list(parts)
    return [
        frame(CONTINUATION if number else opcode, part, fin=number == len(whole) - 1)
        for number, part in enumerate(whole)
    ]


def upgrade_request(path: str, **headers: str | None) -> bytes:
    """Return a handshake request (§4.1). ``headers`` change a header or, with `None`, remove it:
    ``sec_websocket_key=None``."""
    fields: dict[str, str | None] = {
        "host": "voice.example.com",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec_websocket_key": base64.b64encode(os.urandom(16)).decode(),
        "sec_websocket_version": "13",
        **headers,
    }
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items() if value is not None]
    return f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a handshake. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]


class Probe:
    """A connection to a server. As a context manager, it always closes the connection at the end.

    ``unread`` is what arrived after what was asked for.
    """

    def __init__(self, address: tuple[str, int], *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:  # before connecting, because the handshake settles the window
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.unread = b""
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    # The handshake.

    def upgrade(self, path: str, **headers: str | None) -> Self:
        """Open the WebSocket. Raises `ProbeError` if the answer is not 101."""
        answer = self.ask(upgrade_request(path, **headers))
        if answer.status != 101:
            raise ProbeError(f"the upgrade was answered {answer.status}")
        return self

    def ask(self, request: bytes) -> Answer:
        """Send bytes, and read the head of an HTTP answer."""
        self.send(request)
        while b"\r\n\r\n" not in self.unread:
            self._fill("the head of an answer")
        head, _, self.unread = self.unread.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin1").split("\r\n")
        fields = (line.partition(":") for line in lines)
        return Answer(int(status.split()[1]), {name.lower(): value.strip() for name, _, value in fields})

    # Sending.

    def send(self, *data: bytes) -> None:
        """Send bytes, in one segment if they are few."""
        self.socket.sendall(b"".join(data))

    def send_frame(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        fin: bool = True,
        rsv: int = 0,
        mask: bytes | None = MASK,
        length: int | None = None,
        bits: int | None = None,
    ) -> None:
        """Send a `frame`."""
        self.send(frame(opcode, payload, fin=fin, rsv=rsv, mask=mask, length=length, bits=bits))

    def finish(self) -> None:
        """Send a FIN: nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close the connection with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # Receiving.

    def read_frame(self) -> Frame:
        """Return the next frame. Raises `EOFError` at the connection's end, `ConnectionResetError` at a reset."""
        first, second = self._take(2)
        fin, rsv, opcode = bool(first & 0x80), first >> 4 & 7, first & 15
        if second & 0x80:
            raise ProbeError("§5.1: a server's frame is masked")
        if rsv:
            raise ProbeError(f"§5.2: reserved bits {rsv:03b}, and no extension")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise ProbeError(f"§5.2: opcode {opcode:#x} is reserved")
        length = second & 0x7F
        bits = {126: SIXTEEN_BITS, 127: SIXTY_FOUR_BITS}.get(length, SEVEN_BITS)
        if bits > SEVEN_BITS:
            length = int.from_bytes(self._take(bits // 8), "big")
        if bits != shortest(length):
            raise ProbeError(f"§5.2: {length} is encoded in {bits} bits")
        if opcode & 8 and not (fin and length < 126):
            raise ProbeError(f"§5.5: a control frame of {length} bytes, whole: {fin}")
        return Frame(opcode, self._take(length), fin)

    def read_message(self) -> Frame:
        """Return the next complete data message. Raises `ProbeError` if another frame arrives."""
        start = self.read_frame()
        opcode, payload, fin = start.opcode, start.payload, start.fin
        if opcode not in (TEXT, BINARY):
            raise ProbeError(f"wanted a data message, found {start}")
        while not fin:
            part = self.read_frame()
            if part.opcode != CONTINUATION:
                raise ProbeError(f"§5.4: {part} inside of a message")
            payload, fin = payload + part.payload, part.fin
        return Frame(opcode, payload)

    def read_to_end(self) -> tuple[list[Frame], Ending]:
        """Return all frames before the close frame or the connection's end, and how it ended.

        Raises `ProbeError` if anything follows the close frame (§5.5.1), and `TimeoutError` if the server doesn't close
        the connection (§7.1.1).
        """
        frames: list[Frame] = []
        try:
            while (got := self.read_frame()).opcode != CLOSE:
                frames.append(got)
        except EOFError:
            return frames, Ending(None)
        except ConnectionResetError:
            return frames, Ending(None, reset=True)
        code = int.from_bytes(got.payload[:2], "big") if got.payload else 1005
        reason = got.payload[2:].decode()
        try:
            more = self.unread or self.socket.recv(1)
        except ConnectionResetError:
            return frames, Ending(code, reason, reset=True)
        if more:
            raise ProbeError(f"§5.5.1: {more!r} came behind the close frame")
        return frames, Ending(code, reason)

    def _take(self, size: int) -> bytes:
        while len(self.unread) < size:
            self._fill(f"{size} bytes of a frame")
        taken, self.unread = self.unread[:size], self.unread[size:]
        return taken

    def _fill(self, wanted: str) -> None:
        try:
            data = self.socket.recv(2**20)
        except TimeoutError:
            raise ProbeError(f"waited {DEADLINE:.0f} s for {wanted}, found {self.unread[:100]!r}") from None
        if not data:
            if self.unread:
                raise ProbeError(f"the connection ended within {wanted}: {self.unread[:100]!r}")
            raise EOFError
        self.unread += data
