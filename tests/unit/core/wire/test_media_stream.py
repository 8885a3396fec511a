import base64
import contextlib
import json
import math

import pytest
from callgate.core.wire.media_stream import (
    Clear,
    Connected,
    Dtmf,
    Mark,
    Media,
    Start,
    Stop,
    Unknown,
    payload_bytes,
)
from callgate.core.wire.media_stream_json import encode_to_app, encode_to_twilio, parse_from_app, parse_from_twilio
from callgate.errors import MediaStreamError
from hypothesis import given
from hypothesis import strategies as st

# As in https://www.twilio.com/docs/voice/media-streams/websocket-messages, where counters are strings.
START = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "t0ken"},
    },
    "streamSid": "MZ1",
}
MEDIA = {
    "event": "media",
    "sequenceNumber": "3",
    "media": {"track": "inbound", "chunk": "2", "timestamp": "20", "payload": "/w=="},
    "streamSid": "MZ1",
}


def test_twilios_start_is_read():
    start = parse_from_twilio(json.dumps(START))
    assert start == Start("MZ1", "AC1", "CA1", {"token": "t0ken"})


def test_twilios_media_is_read():
    assert parse_from_twilio(json.dumps(MEDIA)) == Media("MZ1", "/w==", "inbound", 2, 20, 3)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ('{"event":"connected","protocol":"Call","version":"1.0.0"}', Connected()),
        ('{"event":"dtmf","streamSid":"MZ1","sequenceNumber":"5","dtmf":{"track":"inbound_track","digit":"#"}}',
         Dtmf("MZ1", "#", 5)),
        ('{"event":"mark","streamSid":"MZ1","sequenceNumber":"4","mark":{"name":"m"}}', Mark("MZ1", "m", 4)),
        ('{"event":"dtmf","streamSid":"MZ1","dtmf":{"digit":"a"}}', Dtmf("MZ1", "A")),
        ('{"event":"dtmf","streamSid":"MZ1","dtmf":{"digit":"D"}}', Dtmf("MZ1", "D")),
        ('{"event":"dtmf","streamSid":"MZ1","dtmf":{"digit":0}}', Dtmf("MZ1", "0")),
        ('{"event":"stop","streamSid":"MZ1","stop":null}', Stop("MZ1")),
        ('{"event":"stop","streamSid":"MZ1","sequenceNumber":"5","stop":{"accountSid":"AC1","callSid":"CA1"}}',
         Stop("MZ1", "AC1", "CA1", 5)),
        ('{"event":"connected"}', Connected()),
        ('{"event":"later","what":1}', Unknown("later")),
    ],
)  # fmt: skip
def test_twilios_other_messages_are_read(frame, message):
    assert parse_from_twilio(frame) == message


def changed(message: dict, **change) -> str:
    return json.dumps({**message, **change})


@pytest.mark.parametrize("odd", [None, "two", "9" * 5000, math.inf, math.nan, [], {}])
def test_numbers_that_nothing_depends_on_may_be_anything(odd):
    frame = changed(MEDIA, sequenceNumber=odd, media={"payload": "/w==", "chunk": odd, "timestamp": odd})
    assert parse_from_twilio(frame) == Media("MZ1", "/w==")


@pytest.mark.parametrize(
    ("odd", "parameters"), [({"customParameters": {"a": 1, "b": "c"}}, {"b": "c"}), ({"customParameters": []}, {})]
)
def test_a_start_is_read_without_what_the_call_can_do_without(odd, parameters):
    start = parse_from_twilio(changed(START, start={**START["start"], "tracks": "inbound", **odd}))
    assert start == Start("MZ1", "AC1", "CA1", parameters, ())


MESSAGES = [
    Connected(), Start("MZ1", "AC1", "CA1", {"a": "b"}), Media("MZ1", "/w==", "inbound", 2, 20, 3),
    Dtmf("MZ1", "5", 2), Mark("MZ1", "m", 3), Stop("MZ1", "AC1", "CA1", 9),
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES)
def test_what_the_phone_writes_the_relay_reads(message):
    assert parse_from_twilio(encode_to_app(message)) == message


@pytest.mark.parametrize("message", [Media("MZ1", "/w=="), Mark("MZ1", '"quoted"'), Clear("MZ1")])
def test_what_the_relay_writes_the_phone_reads(message):
    assert parse_from_app(encode_to_twilio(message), "MZ1") == message


def test_counts_are_strings_on_the_wire_and_rates_are_numbers():
    media = json.loads(encode_to_app(Media("MZ1", "/w==", chunk=2, timestamp=20, sequence_number=3)))
    assert (media["sequenceNumber"], media["media"]["chunk"], media["media"]["timestamp"]) == ("3", "2", "20")
    assert json.loads(encode_to_app(Start("MZ1", "AC1", "CA1")))["start"]["mediaFormat"]["sampleRate"] == 8000


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x00\x01", 31950),
        ("not json", 31950),
        ("", 31950),
        ("[" * 50_000, 31950),
        ("[]", 31951),
        ("x" * 1_000_000, 31951),
        ("{}", 31951),
        ('{"event":7}', 31951),
        (changed(MEDIA, media={}), 31951),
        (changed(MEDIA, media={**MEDIA["media"], "payload": "not base64!"}), 31951),
        (changed(MEDIA, media={**MEDIA["media"], "payload": "abc"}), 31951),
        (changed(MEDIA, streamSid=None), 31951),
        (changed(START, start={**START["start"], "streamSid": '"}'}), 31951),
        (changed(START, start={**START["start"], "streamSid": "\ud800"}), 31951),
        (changed(START, start={**START["start"], "accountSid": ""}), 31951),
        (changed(START, start={**START["start"], "callSid": "CA" * 33}), 31951),
        (changed(START, start={}), 31951),
        (
            changed(START, start={**START["start"], "mediaFormat": {"encoding": "audio/l16", "sampleRate": 16000}}),
            31951,
        ),
        *(
            (f'{{"event":"dtmf","streamSid":"MZ1","dtmf":{{"digit":{digit}}}}}', 31951)
            for digit in ('"55"', '""', '"E"', "10", "-1", "5.0", "true", "null", '["5"]')
        ),
        ('{"event":"mark","streamSid":"MZ1","mark":{}}', 31951),
    ],
)
def test_what_can_not_be_taken_gets_twilios_code(frame, code):
    with pytest.raises(MediaStreamError) as caught:
        parse_from_twilio(frame)
    assert caught.value.code == code
    assert str(code) in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"x", 31950),
        ("x", 31950),
        ('{"event":"clear","streamSid":"MZ2"}', 31951),
        ('{"event":"clear"}', 31951),
        ('{"event":"dtmf","streamSid":"MZ1"}', 31951),
        ('{"event":"media","streamSid":"MZ1","media":{"payload":"x"}}', 31951),
    ],
)
def test_twilio_refuses_what_an_app_may_not_send(frame, code):
    with pytest.raises(MediaStreamError) as caught:
        parse_from_app(frame, "MZ1")
    assert caught.value.code == code


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["event", "streamSid", "media", "payload", "start", "mark", "name", "dtmf", "digit", "stop", "mediaFormat"]
    ), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.one_of(
    st.binary(max_size=50), st.text(max_size=50), json_values.map(json.dumps),
    st.tuples(st.sampled_from(["media", "start", "mark", "dtmf", "stop"]),
              st.dictionaries(st.sampled_from(["media", "start", "mark", "dtmf", "stop", "streamSid"]), json_values))
    .map(lambda pair: json.dumps({**pair[1], "event": pair[0]})),
))  # fmt: skip
def test_any_frame_is_read_or_refused_and_never_anything_else(frame):
    for parse in (parse_from_twilio, lambda f: parse_from_app(f, "MZ1")):
        with contextlib.suppress(MediaStreamError):
            parse(frame)


@given(st.binary(max_size=400))
def test_payload_bytes_counts_what_was_encoded(audio):
    assert payload_bytes(base64.b64encode(audio).decode()) == len(audio)
