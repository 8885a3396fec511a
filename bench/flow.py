"""One direction of one call's audio. Every piece is known, so that each loss, mix-up and delay is detected. Pure.

Each piece carries its call's number and its own number in the first six bytes of audio, and its call's pattern in the
rest. The receiving end compares it with what was sent, nearly always by comparing two byte strings. Only if that fails
is base64 decoded, to find out what happened. Joined or split pieces are fine, because audio is a stream.
"""

from __future__ import annotations

import base64
import binascii
from array import array
from collections import deque
from dataclasses import dataclass, field

FRAME_BYTES = 160  # µ-law, 20 ms: what Twilio sends in one media message
FRAME_CHARACTERS = 216  # the same frame in base64
NUMBER_BYTES = 3  # size of a call's number, and of a piece's
TAG_BYTES = 2 * NUMBER_BYTES
LONGEST_CALL = 1 << 18  # pieces: 87 minutes of frames

_NUMBERS = [base64.b64encode(number.to_bytes(NUMBER_BYTES, "big")) for number in range(LONGEST_CALL)]
_CIRCLE = bytes(at * 11 & 0xFF for at in range(256))  # each byte once


def pattern(call: int, size: int) -> bytes:
    """Return, in base64, the audio that follows the tag in a piece of ``size`` bytes."""
    begin = call * 37 % len(_CIRCLE)
    rounds = -(-(begin + size) // len(_CIRCLE))
    return base64.b64encode((_CIRCLE * rounds)[begin : begin + size - TAG_BYTES])


def silence(size: int) -> bytes:
    """Return, in base64, silence that follows the tag in a piece of ``size`` bytes."""
    return base64.b64encode(b"\xff" * (size - TAG_BYTES))


def call_of(payload: bytes) -> int:
    """Return the number of the call that this audio belongs to."""
    return int.from_bytes(binascii.a2b_base64(payload[:4]), "big")


@dataclass(slots=True)
class Hop:
    """Counts over all calls' audio in one direction. ``delays`` holds seconds, for the pieces that arrived."""

    delays: array[float] = field(default_factory=lambda: array("d"))
    lost: int = 0
    repeated: int = 0
    crossed: int = 0  # belonging to another call
    corrupt: int = 0  # matching nothing that was sent
    stale: int = 0  # from an answer that was cut off earlier
    joined: int = 0  # pieces that arrived merged with the one before

    def reset(self) -> None:
        """Reset all counts for a new window."""
        self.delays = array("d")
        self.lost = self.repeated = self.crossed = self.corrupt = self.stale = self.joined = 0


class Flow:
    """The audio on its way from one end of a call to the other. Times are in seconds, of any one clock."""

    __slots__ = ("_call", "_excused", "_first", "_head", "_hop", "_outstanding", "_part", "_sent", "_stale")

    def __init__(self, call: int, hop: Hop) -> None:
        self._call = call
        self._hop = hop
        self._head = _NUMBERS[call]
        self._outstanding: deque[tuple[bytes, float]] = deque()  # payloads on their way, and when each was sent
        self._sent = 0
        self._first = 0  # the number of the first outstanding piece
        self._part = b""  # decoded start of the first outstanding piece, which is arriving in parts
        self._excused = 0  # pieces below this number may be missing, because their answer was cut off …
        self._stale = 0  # … and pieces below this one must no longer arrive

    # The sending end.

    def send(self, rest: bytes, now: float) -> bytes:
        """Return the payload of the next piece, in base64. ``rest`` is its `pattern`."""
        payload = self._head + _NUMBERS[self._sent] + rest
        self._outstanding.append((payload, now))
        self._sent += 1
        return payload

    def forward(self, payload: bytes, now: float) -> None:
        """Record audio of the other direction that is sent back unchanged: one frame, or several joined."""
        if len(payload) == FRAME_CHARACTERS:
            self._outstanding.append((payload, now))
            self._sent += 1
            return
        audio = binascii.a2b_base64(payload)
        for at in range(0, len(audio), FRAME_BYTES):
            self.forward(base64.b64encode(audio[at : at + FRAME_BYTES].ljust(FRAME_BYTES)), now)

    def cut_off(self) -> None:
        """Allow the relay to drop what is on its way."""
        self._excused = self._sent

    # The receiving end.

    def arrived(self, payload: bytes, now: float) -> None:
        """Record a payload that arrived."""
        outstanding = self._outstanding
        if outstanding and outstanding[0][0] == payload and not self._part:
            self._hop.delays.append(now - outstanding.popleft()[1])
            self._first += 1
        else:
            self._look_closely(payload, now)

    def cleared(self) -> None:
        """Record the relay's ``clear``: nothing more of the audio cut off may arrive."""
        self._stale = self._excused
        self._part = b""
        while self._outstanding and self._first < self._excused:
            self._skip()

    def waiting_since(self) -> list[float]:
        """Return the send times of the pieces that must still arrive."""
        return [sent_at for _, sent_at in list(self._outstanding)[max(0, self._excused - self._first) :]]

    @property
    def waiting(self) -> int:
        """The number of pieces on their way."""
        return len(self._outstanding)

    def _skip(self) -> None:
        self._outstanding.popleft()
        self._first += 1

    def _look_closely(self, payload: bytes, now: float) -> None:
        try:
            audio = self._part + binascii.a2b_base64(payload, strict_mode=True)
        except binascii.Error:
            self._hop.corrupt += 1
            return
        call, number = _tag(audio)
        if call != self._call:
            self._hop.crossed += 1
        elif number < self._stale:
            self._hop.stale += 1
        elif not self._outstanding or number < self._next_number():
            self._hop.repeated += 1
        else:
            while self._outstanding and self._next_number() < number:
                self._hop.lost += self._first >= self._excused
                self._skip()
            self._take(audio, now)

    def _next_number(self) -> int:
        return _tag(binascii.a2b_base64(self._outstanding[0][0]))[1]

    def _take(self, audio: bytes, now: float) -> None:
        """Match the start of the audio with the outstanding pieces, one by one, and count them."""
        taken = 0
        self._part = b""
        while audio and self._outstanding:
            payload, sent_at = self._outstanding[0]
            piece = binascii.a2b_base64(payload)
            if len(audio) < len(piece) and piece.startswith(audio):
                self._part, audio = audio, b""
                break
            self._skip()
            if not audio.startswith(piece):
                break
            self._hop.delays.append(now - sent_at)
            audio = audio[len(piece) :]
            taken += 1
        self._hop.corrupt += bool(audio)
        self._hop.joined += max(0, taken - 1)


def _tag(audio: bytes) -> tuple[int, int]:
    """Return the call's number and the piece's."""
    return int.from_bytes(audio[:NUMBER_BYTES], "big"), int.from_bytes(audio[NUMBER_BYTES:TAG_BYTES], "big")
