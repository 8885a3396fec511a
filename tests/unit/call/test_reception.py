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
NOT_JSON = b"}{"
MEDIA = b'{"event":"media","streamSid":"MZ1","media":{"payload":"////"}}'
STOP = b'{"event":"stop","streamSid":"MZ1"}'
START = start_frame("CA" + "1" * 32, "MZ" + "1" * 32).encode()


@pytest.mark.parametrize(
    "before",
    [
        [],
        [CONNECTED],
        [CONNECTED, CONNECTED],
        [CONNECTED, NOT_JSON, MEDIA],
        [CONNECTED, *[LATER] * (BEFORE_LIMIT - 1)],
        [NOT_JSON] * BEFORE_LIMIT,
    ],
)
async def test_a_few_messages_may_come_before_the_start(before: list[bytes]):
    reception = Reception()
    for message in [*before, START]:
        reception.text_received(message)
    assert (await reception.start()).stream_sid == "MZ" + "1" * 32


async def test_a_binary_message_may_come_before_the_start_and_the_operator_is_told(caplog: pytest.LogCaptureFixture):
    reception = Reception()
    reception.binary_received(b"\x00" * 160)
    reception.text_received(NOT_JSON)
    reception.text_received(START)
    assert (await reception.start()).stream_sid == "MZ" + "1" * 32
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "Skipped 2 of Twilio's messages before start: binary frame of 160 bytes" in record.getMessage()


@pytest.mark.parametrize(("message", "why"), [(STOP, "stop"), (START.replace(b"x-mulaw", b"l16"), "mediaFormat")])
async def test_what_leaves_no_hope_of_a_start_is_not_waited_for(message: bytes, why: str):
    reception = Reception()
    reception.text_received(message)
    with pytest.raises(MediaStreamError, match=why):
        await reception.start()


@pytest.mark.parametrize("message", [CONNECTED, LATER, NOT_JSON, MEDIA])
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
