from xml.etree import ElementTree

from callgate import twiml


def verbs(document: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(document))


def test_the_stream_is_wss_and_carries_its_token_twice():
    connect, _ = verbs(twiml.connect_stream("https://voice.example.com", "t0ken"))
    (stream,) = connect
    assert stream.attrib["url"] == "wss://voice.example.com/media-stream/t0ken"
    assert stream.attrib["statusCallback"] == "https://voice.example.com/stream-status"
    (parameter,) = stream
    assert parameter.attrib == {"name": "token", "value": "t0ken"}


def test_a_stream_that_ends_leads_into_the_safety_net():
    _, redirect = verbs(twiml.connect_stream("https://voice.example.com", "t0ken"))
    assert (redirect.tag, redirect.text) == ("Redirect", "https://voice.example.com/call-interrupted?resumed=0")


def test_an_apology_rings_the_human_where_there_is_one():
    say, dial = verbs(twiml.apologise("+15551230000"))
    assert say.text
    assert dial[0].text == "+15551230000"


def test_an_apology_without_a_human_ends_the_call():
    assert [verb.tag for verb in verbs(twiml.apologise(None))] == ["Say", "Hangup"]


def test_busy_is_said_and_ends_the_call():
    say, hang_up = verbs(twiml.busy())
    assert "busy" in (say.text or "")
    assert hang_up.tag == "Hangup"
