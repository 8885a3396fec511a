"""One direction of one call's audio: every piece is known, so that each loss, mix-up and delay is seen. Pure.

What is sent carries its call's number and its own in the first six bytes of audio, and a pattern of its call's in the
rest. The receiving end compares with what was sent: nearly always one comparison of two byte strings. Only where that
fails is base64 decoded, to tell what happened: pieces that were joined or split are fine, as audio is a stream.
"""

from __future__ import annotations

import base64
import binascii
from array import array
from collections import deque
from dataclasses import dataclass, field

FRAME_BYTES = 160  # µ-law, 20 ms: what Twilio sends in one media message
FRAME_CHARACTERS = 216  # of it in base64
NUMBER_BYTES = 3  # of a call's number, and of a piece's
TAG_BYTES = 2 * NUMBER_BYTES
LONGEST_CALL = 1 << 18  # pieces: 87 minutes of frames

_NUMBERS = [base64.b64encode(number.to_bytes(NUMBER_BYTES, "big")) for number in range(LONGEST_CALL)]
_CIRCLE = bytes(at * 11 & 0xFF for at in range(256))  # each byte once


def pattern(call: int, size: int) -> bytes:
    """Base64 of the audio behind the tag, for a piece of ``size`` bytes."""
    begin = call * 37 % len(_CIRCLE)
    rounds = -(-(begin + size) // len(_CIRCLE))
    return base64.b64encode((_CIRCLE * rounds)[begin : begin + size - TAG_BYTES])


def silence(size: int) -> bytes:
    """The same for a piece of nothing that can be heard."""
    return base64.b64encode(b"\xff" * (size - TAG_BYTES))


def call_of(payload: bytes) -> int:
    """The number of the call whose audio it is."""
    return int.from_bytes(binascii.a2b_base64(payload[:4]), "big")


@dataclass(slots=True)
class Hop:
    """What was seen of all calls' audio in one direction. ``delays`` in seconds, of the pieces that arrived."""

    delays: array[float] = field(default_factory=lambda: array("d"))
    lost: int = 0
    repeated: int = 0
    crossed: int = 0  # of another call
    corrupt: int = 0  # nothing that was sent
    stale: int = 0  # of an answer that was cut off before
    joined: int = 0  # pieces that arrived together with the one before, as one

    def reset(self) -> None:
        """Begin a new window."""
        self.delays = array("d")
        self.lost = self.repeated = self.crossed = self.corrupt = self.stale = self.joined = 0


class Flow:
    """What is on its way from one end of a call to the other. Times are in seconds of any one clock."""

    __slots__ = ("_call", "_excused", "_first", "_head", "_hop", "_outstanding", "_part", "_sent", "_stale")

    def __init__(self, call: int, hop: Hop) -> None:
        self._call = call
        self._hop = hop
        self._head = _NUMBERS[call]
        self._outstanding: deque[tuple[bytes, float]] = deque()  # payloads on their way, and when each was sent
        self._sent = 0
        self._first = 0  # how many were sent before the first outstanding one
        self._part = b""  # decoded: what has come of the first outstanding one, which arrives in several pieces
        self._excused = 0  # of those sent, the first so many may be missing: their answer was cut off …
        self._stale = 0  # … and the first so many must not come any more

    # The sending end.

    def send(self, rest: bytes, now: float) -> bytes:
        """The payload of the next piece, in base64. ``rest``: its `pattern`."""
        payload = self._head + _NUMBERS[self._sent] + rest
        self._outstanding.append((payload, now))
        self._sent += 1
        return payload

    def forward(self, payload: bytes, now: float) -> None:
        """Frames of the other direction are sent back, as they came: one, or several that were joined."""
        if len(payload) == FRAME_CHARACTERS:
            self._outstanding.append((payload, now))
            self._sent += 1
            return
        audio = binascii.a2b_base64(payload)
        for at in range(0, len(audio), FRAME_BYTES):
            self.forward(base64.b64encode(audio[at : at + FRAME_BYTES].ljust(FRAME_BYTES)), now)

    def cut_off(self) -> None:
        """The relay may drop what is on its way."""
        self._excused = self._sent

    # The receiving end.

    def arrived(self, payload: bytes, now: float) -> None:
        """A payload came out."""
        outstanding = self._outstanding
        if outstanding and outstanding[0][0] == payload and not self._part:
            self._hop.delays.append(now - outstanding.popleft()[1])
            self._first += 1
        else:
            self._look_closely(payload, now)

    def cleared(self) -> None:
        """The relay said that what was cut off is dropped: nothing more of it must come."""
        self._stale = self._excused
        self._part = b""
        while self._outstanding and self._first < self._excused:
            self._skip()

    def waiting_since(self) -> list[float]:
        """When each piece was sent that must still arrive."""
        return [sent_at for _, sent_at in list(self._outstanding)[max(0, self._excused - self._first) :]]

    @property
    def waiting(self) -> int:
        """How many pieces are on their way."""
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
        """Count what begins as it should, piece by piece."""
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
    """The call's number and the piece's."""
    return int.from_bytes(audio[:NUMBER_BYTES], "big"), int.from_bytes(audio[NUMBER_BYTES:TAG_BYTES], "big")
