"""TwiML as the simulated Twilio reads and rejects it."""

from __future__ import annotations

import pytest
from callgate.core.wire import twiml as app_twiml
from callgate.errors import PhoneError
from callgate.peers.phone.simulation import verbs
from callgate.peers.phone.simulation.twiml import NotSimulatedError, check_stream_url, parse


def document(inside: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{inside}</Response>'.encode()


def test_the_verbs_are_read_with_their_attributes() -> None:
    inside = """
        <Say voice="alice">Hello,
            caller</Say>
        <Play digits="1w2"/><Play>https://a.example/x.wav</Play>
        <Pause length="3"/>
        <Connect action="/after"><Stream url="wss://a.example/s/token" name="line" statusCallback="/told"
            statusCallbackMethod="GET"><Parameter name="token" value="secret"/></Stream></Connect>
        <Dial action="/dialled" timeout="20">+15550001234</Dial><Dial><Number>+15550009999</Number></Dial>
        <Record action="/recorded" method="GET"/>
        <Redirect method="GET">/again</Redirect>
        <Reject reason="busy"/>
        <Hangup/>
    """
    assert parse(document(inside)) == (
        verbs.Say("Hello, caller"),
        verbs.Play("", "1w2"),
        verbs.Play("https://a.example/x.wav", ""),
        verbs.Pause(3),
        verbs.Connect(
            verbs.Stream("wss://a.example/s/token", "line", (("token", "secret"),), "/told", "GET"), "/after", "POST"
        ),
        verbs.Dial("+15550001234", "/dialled", "POST", 20),
        verbs.Dial("+15550009999", None, "POST"),
        verbs.Record("/recorded", "GET"),
        verbs.Redirect("/again", "GET"),
        verbs.Reject("busy"),
        verbs.Hangup(),
    )


@pytest.mark.parametrize(
    "text",
    [
        app_twiml.connect_stream("https://voice.example.test", "a.token"),
        app_twiml.busy(None),
        app_twiml.busy("+15550001234"),
        app_twiml.hang_up(),
        app_twiml.apologise(None),
        app_twiml.apologise("+15550001234"),
    ],
)
def test_what_callgate_answers_is_valid(text: str) -> None:
    assert parse(text.encode())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", 12100),
        (b"not xml", 12100),
        (b"<Response><Say>", 12100),
        (b"<html></html>", 12100),
        (b"\xff\xfe\x00", 12100),
        (document("<say>x</say>"), 12200),
        (document("<Speak>x</Speak>"), 12200),
        (document('<Say tone="warm">x</Say>'), 12200),
        (document("<Hangup><Say>x</Say></Hangup>"), 12200),
        (document('<Pause length="long"/>'), 12200),
        (document('<Redirect method="PUT">/x</Redirect>'), 12200),
        (document('<Reject reason="tired"/>'), 12200),
        (document("<Dial/>"), 12200),
        (document('<Dial timeout="4">+15550001234</Dial>'), 12200),
        (document('<Dial timeout="soon">+15550001234</Dial>'), 12200),
        (document('<Play digits="1 2"/>'), 12200),
        (document("<Connect/>"), 12200),
        (document("<Connect><Stream/></Connect>"), 12200),
        (document('<Connect><Stream url="wss://a/"/><Stream url="wss://a/"/></Connect>'), 12200),
        (document('<Connect><Stream url="wss://a/"><Parameter name="x"/></Stream></Connect>'), 12200),
        (document('<Connect><Stream url="wss://a/"><Say/></Stream></Connect>'), 12200),
        (document('<Connect><Stream url="wss://a/" track="both_tracks"/></Connect>'), 31941),
    ],
)
def test_bad_twiml_is_refused_with_twilios_code(text: bytes, code: int) -> None:
    with pytest.raises(PhoneError) as caught:
        parse(text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "inside",
    [
        "<Gather/>",
        '<Start><Stream url="wss://a.example/"/></Start>',
        "<Dial><Conference>room</Conference></Dial>",
        '<Connect><ConversationRelay url="wss://a.example/"/></Connect>',
    ],
)
def test_valid_twiml_that_is_not_simulated_says_so(inside: str) -> None:
    with pytest.raises(NotSimulatedError, match="does not simulate"):
        parse(document(inside))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ws://a.example/s", 31922),
        ("https://a.example/s", 31922),
        ("/media-stream", 31922),
        ("", 31922),
        ("wss://a.example:8443/s", 31923),
        ("wss://a.example:80/s", 31923),
        ("wss://a.example:port/s", 31923),
        ("wss:///s", 31923),
        ("wss://a.example/s#part", 31923),
        ("wss://user@a.example/s", 31923),
        ("wss://[::1/s", 31923),
        ("wss://a.example/with a space", 31923),
    ],
)
def test_a_stream_url_that_twilio_does_not_connect_to_is_refused(url: str, code: int) -> None:
    with pytest.raises(PhoneError) as caught:
        check_stream_url(url)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("url", "connected"),
    [
        ("wss://a.example/s/token", "wss://a.example/s/token"),
        ("wss://a.example:443/s", "wss://a.example:443/s"),
        ("wss://a.example/s?token=lost", "wss://a.example/s"),
    ],
)
def test_a_stream_url_is_taken_as_it_stands_but_for_its_query(url: str, connected: str) -> None:
    assert check_stream_url(url) == connected


def test_descriptions_hold_no_token_and_no_number() -> None:
    token = "short"
    inside = (
        f'<Connect><Stream url="wss://a.example/media-stream/{token}"><Parameter name="token" value="{token}"/>'
        "</Stream></Connect><Dial>+15550001234</Dial>"
        "<Redirect>https://a.example/again?secret=1</Redirect>"
    )
    described = " ".join(verbs.describe(verb) for verb in parse(document(inside)))
    assert "wss://a.example/media-stream/***" in described
    for secret in (token, "5550001", "secret"):
        assert secret not in described
