"""The reader of a client's frames on its own; `tests/unit/websocket` compares it with another library's."""

import itertools

import pytest
from callgate.core.wire.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INVALID_TEXT,
    PING,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    BrokenFrameError,
    FrameReader,
    TextWriter,
    close_payload,
    head,
    read_close,
)
from hypothesis import given
from hypothesis import strategies as st
from support.websocket_probe import frame

STREAM = b"".join(
    [
        frame(TEXT, "grüße".encode()),
        frame(BINARY, b"x" * 200, fin=False),
        frame(PING, b"p"),
        frame(CONTINUATION, b"y" * 100),
        frame(CLOSE, close_payload(1000, "bye")),
    ]
)
FRAMES = [
    (TEXT, "grüße".encode()),
    (CONTINUATION, b""),
    (PING, b"p"),
    (BINARY, b"x" * 200 + b"y" * 100),
    (CLOSE, b"\x03\xe8bye"),
]


def read(reader: FrameReader, data: bytes) -> list[tuple[int, bytes]]:
    found = []
    if reader.put(data):
        while (payload := reader.next()) is not None:
            found.append((reader.opcode, payload))
        reader.keep_rest()
    return found


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_frames_are_the_same_wherever_they_are_cut(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]
    reader = FrameReader(1000)
    found = [each for begin, end in itertools.pairwise(edges) for each in read(reader, STREAM[begin:end])]
    assert found == FRAMES


def test_a_reader_that_is_left_in_between_goes_on_with_what_came_meanwhile():
    reader = FrameReader(1000)
    assert reader.put(STREAM[:-3])
    assert (reader.next(), reader.opcode, reader.has_more) == (FRAMES[0][1], TEXT, True)
    assert reader.keep_rest()
    reader.keep(STREAM[-3:])
    assert read(reader, b"") == FRAMES[1:]
    assert not reader.has_more


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"\xff"), INVALID_TEXT),
        (frame(TEXT, b"x" * 101), TOO_BIG),
        (frame(CONTINUATION, b"x"), PROTOCOL_ERROR),
        (b"\x81\x01x", PROTOCOL_ERROR),
    ],
    ids=["not UTF-8", "too big", "continues nothing", "not masked"],
)
def test_what_breaks_the_protocol_is_said_with_its_code(data, code):
    with pytest.raises(BrokenFrameError) as broken:
        read(FrameReader(100), data)
    assert broken.value.code == code


def test_text_is_judged_before_its_frame_has_ended():
    reader = FrameReader(1000)
    whole = frame(TEXT, b"ok\xff" + b"x" * 50)
    assert not read(reader, whole[:8])
    reader.judge()
    assert not read(reader, whole[8:12])
    with pytest.raises(BrokenFrameError):
        reader.judge()


@given(st.lists(st.binary(max_size=200)))
def test_a_text_has_its_own_header_whatever_came_before(messages):
    writer = TextWriter()
    for message in messages:
        assert writer.frame(message) == head(TEXT, len(message)) + message


@given(st.sampled_from([1000, 1001, 1011, 3000, 4999]), st.text(max_size=30))
def test_a_close_is_read_as_it_is_written(code, reason):
    assert read_close(close_payload(code, reason)) == (code, reason)
