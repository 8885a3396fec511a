"""The interface between a call and its two sockets, independent of what serves them.

A socket pushes whole messages, in order, from the event loop's own callback, so that a message costs no task switch.
Sending never waits: what a peer does not accept is buffered, and beyond a limit the socket calls `pause_writing` until
it has been accepted, as asyncio transports do.
"""

from __future__ import annotations

from typing import Protocol

# Bytes of one message. Twilio's have about 400, and a `start` with all its parameters a few thousand; a socket that
# receives more than this is closed with 1009. Parsing that much JSON takes about a millisecond at worst.
MESSAGE_LIMIT = 64 * 1024


class Receiver(Protocol):
    """Receives the messages of a WebSocket."""

    def text_received(self, message: bytes) -> None:
        """A whole text message arrived; its UTF-8 is valid."""

    def binary_received(self, message: bytes) -> None:
        """A whole binary message arrived."""

    def batch_received(self) -> None:
        """All pending messages have been passed on: do now what was put off until then."""

    def pause_writing(self) -> None:
        """The peer accepts less than it is sent."""

    def resume_writing(self) -> None:
        """The peer has accepted what was waiting."""

    def connection_closed(self, code: int, reason: str) -> None:
        """Nothing more will arrive. Called once. 1005: closed by the peer without a code; 1006: lost without a close
        frame."""


class Socket(Protocol):
    """Our side of an accepted WebSocket."""

    def serve(self, receiver: Receiver) -> None:
        """Pass what arrives from now on to ``receiver``."""

    def send_text(self, message: bytes) -> None:
        """Send a text message, given as UTF-8; on a closed socket this does nothing."""

    def send_texts(self, first: bytes, second: bytes) -> None:
        """Send two text messages, in one write if possible."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake; on a closing socket this does nothing."""

    async def wait_closed(self) -> None:
        """Wait until the connection is gone, which takes no longer than the closing handshake may."""
