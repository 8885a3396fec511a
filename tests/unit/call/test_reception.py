"""What may come before ``start``, and what is kept of the messages after it."""

from __future__ import annotations

import json

import pytest
from callgate.call.reception import BEFORE_LIMIT, BEHIND_BYTES_LIMIT, BEHIND_LIMIT, Reception
from callgate.errors import MediaStreamError
from support.recording_transport import Recorder
from support.service import start_frame

CONNECTED = b'{"event":"connected","protocol":"Call","version":"1.0.0"}'
LATER = b'{"event":"later"}'
START = start_frame("CA" + "1" * 32, "MZ" + "1" * 32).encode()


@pytest.mark.parametrize("before", [[], [CONNECTED], [CONNECTED, *[LATER] * (BEFORE_LIMIT - 1)]])
async def test_a_few_messages_may_come_before_the_start(before: list[bytes]):
    reception = Reception()
    for message in [*before, START]:
        reception.text_received(message)
    assert (await reception.start()).stream_sid == "MZ" + "1" * 32


@pytest.mark.parametrize("message", [CONNECTED, LATER])
async def test_many_messages_before_the_start_end_it(message: bytes):
    reception = Reception()
    for _ in range(10 * BEFORE_LIMIT):
        reception.text_received(message)
    reception.text_received(START)
    with pytest.raises(MediaStreamError, match="no start"):
        await reception.start()


@pytest.mark.parametrize(("size", "kept"), [(400, BEHIND_LIMIT), (60_000, BEHIND_BYTES_LIMIT // 60_000)])
async def test_what_comes_behind_the_start_is_kept_within_bounds(size: int, kept: int):
    reception, receiver = Reception(), Recorder()
    reception.text_received(START)
    for _ in range(10 * BEHIND_LIMIT):
        reception.text_received(json.dumps({"event": "later", "body": "x" * size}).encode())
    reception.hand_over(receiver)
    assert len(receiver.messages) == kept
