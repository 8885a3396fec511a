"""What a call and its two sockets say to each other, whatever serves them.

A socket pushes: whole messages, in order, from the event loop's own callback, so that a message costs no task switch.
It never waits: what a peer does not take is buffered, and beyond its limit the socket says `pause_writing` until it has
been taken, as transports of asyncio do.
"""

from __future__ import annotations

from typing import Protocol

# Bytes of one message. Twilio's are some 400, and a `start` with all its parameters a few thousand; beyond this the
# socket is closed with 1009. Parsing that much JSON takes about a millisecond at the worst.
MESSAGE_LIMIT = 64 * 1024


class Receiver(Protocol):
    """Who is served by a WebSocket."""

    def text_received(self, message: bytes) -> None:
        """A whole text message; its UTF-8 is valid."""

    def binary_received(self, message: bytes) -> None:
        """A whole binary message."""

    def batch_received(self) -> None:
        """All messages that were waiting have been given: what was put off until now is due."""

    def pause_writing(self) -> None:
        """The peer takes less than it is sent."""

    def resume_writing(self) -> None:
        """The peer has taken what waited."""

    def connection_closed(self, code: int, reason: str) -> None:
        """Nothing more will come. Called once. 1005: closed by the peer without a code; 1006: lost without a close."""


class Socket(Protocol):
    """One side of a WebSocket that was accepted."""

    def serve(self, receiver: Receiver) -> None:
        """Give what comes from now on to ``receiver``."""

    def send_text(self, message: bytes) -> None:
        """Send a text message, given as UTF-8; to a closed socket it does nothing."""

    def send_texts(self, first: bytes, second: bytes) -> None:
        """Send two, in one write where there is a choice."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake; a closing socket stays as it is."""

    async def wait_closed(self) -> None:
        """Wait until the connection is gone, which takes no longer than the closing handshake may."""
