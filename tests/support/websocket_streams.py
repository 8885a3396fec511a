"""What a client may send, right and wrong: random streams, and the chunks in which a network delivers them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

from support.websocket_probe import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame, shortest

BIG: Final = 100_000  # bytes of the longest messages, except those that are one byte longer

# Code points of one to four bytes in UTF-8, including the edges of each length.
_ALPHABET: Final = 'abc {}":\x00\x7f\x80\u00e9\u07ff\u0800\u4e2d\ud7ff\ue000\uffff\U00010000\U0001f600\U0010ffff'
_WORDS: Final = "".join(random.Random(6455).choices(_ALPHABET, k=40_000))


def messages(rng: random.Random) -> list[bytes]:
    """Return the frames of a few messages, whole or fragmented, mixed with control frames and perhaps ended by a
    close."""
    frames: list[bytes] = []
    for _ in range(rng.randint(1, 12)):
        opcode = rng.choice((TEXT, BINARY))
        payload = data(rng, opcode)
        cuts = sorted(rng.randrange(len(payload) + 1) for _ in range(rng.choice((0, 0, 1, 2, 5))))
        parts = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for number, part in enumerate(parts):
            if rng.random() < 0.15:
                frames.append(frame(rng.choice((PING, PONG)), rng.randbytes(rng.choice((0, 5, 125)))))
            opcode_here = CONTINUATION if number else opcode
            frames.append(frame(opcode_here, part, fin=number == len(parts) - 1, mask=rng.randbytes(4)))
    if rng.random() < 0.3:
        code = rng.choice((1000, 1001, 3000, 4999, rng.randrange(2**16)))
        frames.append(frame(CLOSE, rng.choice((b"", close_payload(code), close_payload(code, data(rng, TEXT)[:100])))))
    return frames


def data(rng: random.Random, opcode: int) -> bytes:
    """Return a payload whose length is often at the edge of an encoding."""
    length = rng.choice((0, 1, 125, 126, *(rng.randrange(200) for _ in range(4)), rng.randrange(2000)))
    if rng.random() < 0.003:
        length = rng.choice((65535, 65536, BIG, BIG + 1))
    if opcode == BINARY:
        return rng.randbytes(length)
    at = rng.randrange(len(_WORDS))
    text = (_WORDS[at:] + _WORDS)[: length // 2].encode()[:length]
    return text.decode(errors="ignore").encode().ljust(length, b".")


def valid(rng: random.Random) -> bytes:
    return b"".join(messages(rng))


def joined(rng: random.Random) -> bytes:
    """Return frames of two streams, some lost, some repeated, in another order."""
    frames = messages(rng) + messages(rng)
    return b"".join(rng.choices(frames, k=rng.randint(1, 2 * len(frames))))


def mutated(rng: random.Random) -> bytes:
    """Return a valid stream with bits flipped, and bytes lost, repeated or inserted."""
    stream = bytearray(valid(rng))
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(stream) + 1)
        span = rng.choice((1, 2, rng.randrange(50)))
        match rng.randrange(4):
            case 0 if at < len(stream):
                stream[at] ^= 1 << rng.randrange(8)
            case 1:
                del stream[at : at + span]
            case 2:
                stream[at:at] = stream[at : at + span]
            case _:
                stream[at:at] = rng.randbytes(span)
    return bytes(stream)


def odd_frames(rng: random.Random) -> bytes:
    """Return frames with random heads and payloads of the stated length; most are nearly right."""
    stream = b""
    for _ in range(rng.randint(1, 10)):
        opcode = rng.choice((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG, rng.randrange(16)))
        payload = rng.choice((b"", b"\x03\xe8", data(rng, TEXT)[:125], data(rng, TEXT)))
        bits = shortest(len(payload)) if rng.random() < 0.95 else 64
        mask = rng.randbytes(4) if rng.random() < 0.97 else None
        rsv = rng.randrange(8) if rng.random() < 0.05 else 0
        stream += frame(opcode, payload, fin=rng.random() < 0.7, rsv=rsv, mask=mask, bits=bits)
    return stream


def noise(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(1, 2000))


KINDS: Final[tuple[Callable[[random.Random], bytes], ...]] = (valid, joined, mutated, mutated, odd_frames, noise)


def chunked(rng: random.Random, stream: bytes) -> Iterator[bytes]:
    """Yield the stream in chunks as a network might deliver it."""
    largest = rng.choice((1, 7, 200, 1500, 65536)) if len(stream) < 10_000 else rng.choice((1500, 65536))
    at = 0
    while at < len(stream):
        size = rng.randint(1, largest)
        yield stream[at : at + size]
        at += size
