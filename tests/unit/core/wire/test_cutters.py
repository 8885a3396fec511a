"""What is cut out of a frame equals what the full parser finds in it; what can't be cut is left to the parser."""

import base64
import json

import pytest
from callgate.core.protocols import realtime_json
from callgate.core.protocols.realtime import AppendAudio, AudioDelta
from callgate.core.protocols.realtime_fast import DeltaCutter, append_frame
from callgate.core.wire.base64_text import decoded_bytes, is_base64
from callgate.core.wire.media_stream import FROM_TWILIO_LIMIT, Mark, Media, payload_bytes
from callgate.core.wire.media_stream_fast import MediaCutter, MediaWriter, mark_frame
from callgate.core.wire.media_stream_json import encode_to_app, encode_to_twilio, parse_from_twilio
from hypothesis import example, given
from hypothesis import strategies as st

SID = "MZ" + "0" * 32
AUDIO = base64.b64encode(bytes(range(160)))
DELTA = {
    "type": "response.output_audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
    "delta": AUDIO.decode(),
}


def compact(event: dict) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def media() -> bytes:
    return encode_to_app(Media(SID, AUDIO.decode(), "inbound", 2, 20, 3)).encode()


def mark() -> bytes:
    return encode_to_app(Mark(SID, "3:1600", 7)).encode()


@st.composite
def mutated(draw: st.DrawFn, *frames: bytes) -> bytes:
    """Draw one of these frames, perhaps with bytes changed, removed, inserted or doubled."""
    frame = bytearray(draw(st.sampled_from(frames)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(frame)))
        piece = draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b'"', b"=", b"\\", b"\\u0041", b" ", b"}", b"AAA"]))
        )
        frame[at : at + draw(st.integers(0, 5))] = piece
    return bytes(frame)


def agrees_on_media(frame: bytes) -> bool:
    """Check that the frame, if it was cut, on its own or after another, has the same meaning to the parser. Return
    whether it was cut."""
    used = MediaCutter(SID)
    assert used.cut(media()) == AUDIO
    audio = used.cut(frame)
    assert MediaCutter(SID).cut(frame) == audio
    if audio is not None:
        parsed = parse_from_twilio(frame.decode())
        assert isinstance(parsed, Media)
        assert (parsed.stream_sid, parsed.track) == (SID, "inbound")
        assert parsed.payload.encode() == audio != b""
    return audio is not None


def agrees_on_mark(frame: bytes) -> bool:
    mark = MediaCutter(SID).cut_mark(frame)
    if mark is not None:
        parsed = parse_from_twilio(frame.decode())
        assert isinstance(parsed, Mark)
        assert (parsed.stream_sid, parsed.name) == (SID, mark)
    return mark is not None


def agrees_on_delta(frame: bytes) -> bool:
    """Like `agrees_on_media`."""
    fresh, used = DeltaCutter(), DeltaCutter()
    assert used.cut(compact(DELTA)) == AUDIO
    audio = used.cut(frame)
    assert fresh.cut(frame) == audio
    if audio is not None:
        for cutter in (fresh, used):
            said = AudioDelta(cutter.response_id, cutter.item_id, audio.decode(), cutter.content_index)
            assert realtime_json.parse(frame.decode()) == said
        assert decoded_bytes(audio) == payload_bytes(audio.decode())
    return audio is not None


def test_what_twilio_writes_is_cut():
    assert agrees_on_media(media())


@pytest.mark.parametrize("number", [1, 9, 10, 99_999, 10**17, 10**18])
def test_numbers_of_other_lengths_make_no_difference(number):
    frame = encode_to_app(Media(SID, AUDIO.decode(), "inbound", number, 20 * number, number + 1)).encode()
    assert agrees_on_media(frame) == (20 * number < 10**18)


def test_a_mark_as_twilio_writes_it_is_cut():
    assert agrees_on_mark(mark())


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"event_id": "event_22"},
        {"event_id": "event_2_2"},
        {"event_id": "2"},
        {"response_id": "resp_2"},
        {"item_id": "item_22"},
        {"content_index": 1},
        {"output_index": 12, "content_index": 30},
    ],
)
def test_what_openai_writes_is_cut(other):
    assert agrees_on_delta(compact({**DELTA, **other}))


@given(mutated(media(), compact(DELTA), b'{"event":"stop"}'))
@example(media().replace(b'"inbound"', b'"outbound"'))
@example(media().replace(b'"chunk":"2"', b'"chunk":"x"'))
@example(media().replace(b'"payload":"', b'"payload":""}}'))
@example(media().replace(AUDIO, b""))
@example(media().replace(b"MZ0", b"MZ1"))
@example(media().replace(b'"media":{', b'"media": {'))
@example(media()[:-1] + b',"media":{}}')
def test_a_media_frame_is_never_cut_to_something_else_than_it_says(frame):
    agrees_on_media(frame)


@given(mutated(mark(), media()))
@example(mark().replace(b"3:1600", b""))
@example(mark().replace(b"3:1600", b"3\\u003a1600"))
@example(mark().replace(b"MZ0", b"MZ1"))
@example(mark()[:-1] + b',"mark":{}}')
def test_a_mark_is_never_cut_to_another_than_it_is(frame):
    agrees_on_mark(frame)


@given(mutated(compact(DELTA), media(), compact({**DELTA, "type": "response.output_audio.done"})))
@example(compact({**DELTA, "event_id": "event-1"}))
@example(compact({**DELTA, "event_id": 'e","e":"'}))
@example(compact({**DELTA, "type": "response.output_audio_delta"}))
@example(compact({**DELTA, "delta": ""}))
@example(compact({**DELTA, "content_index": 7}))
@example(compact({**DELTA, "content_index": None}))
@example(compact(DELTA).replace(b'"content_index":0', b'"content_index":00'))
@example(compact(DELTA).replace(b'"output_index":0', b'"output_index":01'))
@example(compact({**DELTA, "delta": "A==="}))
@example(compact({**DELTA, "delta": "AA=A"}))
@example(compact(DELTA)[:-1] + b',"delta":"AAAA"}')
def test_a_delta_is_never_cut_to_something_else_than_it_says(frame):
    agrees_on_delta(frame)


@given(st.one_of(st.binary(max_size=24), st.text("ABab01+/=", max_size=12).map(str.encode)))
def test_what_is_taken_for_base64_is_base64(text):
    if is_base64(text):
        assert decoded_bytes(text) == payload_bytes(text.decode()) > 0


@given(st.binary(min_size=1, max_size=30))
def test_base64_is_taken_for_base64(audio):
    text = base64.b64encode(audio)
    assert is_base64(text)
    assert decoded_bytes(text) == len(audio)


def test_the_frames_written_by_template_are_what_the_encoders_write():
    mark = Mark(SID, "3:1600")
    assert mark_frame(SID, "3:1600").decode() == encode_to_twilio(mark)
    sent = Media(SID, AUDIO.decode())
    assert MediaWriter(SID).frame(AUDIO).decode() == encode_to_twilio(sent)
    append = AppendAudio(AUDIO.decode())
    assert append_frame(AUDIO).decode() == realtime_json.encode(append)


def test_a_message_beyond_the_limit_is_left_to_the_parser_which_refuses_it():
    frame = encode_to_app(Media(SID, "AAAA" * FROM_TWILIO_LIMIT)).encode()
    assert MediaCutter(SID).cut(frame) is None
