from xml.etree import ElementTree

import pytest
from callgate.core.absences import Absences
from callgate.core.tools.toolbox import Transfer
from callgate.core.wire import twiml


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


def test_keys_are_sent_before_the_stream_and_what_happened_so_far_is_in_the_address():
    document = twiml.connect_stream("https://voice.example.com", "t0ken", 1, Absences(2, 3, back=True), "12w#")
    play, connect, redirect = verbs(document)
    assert (play.tag, play.attrib, connect.tag) == ("Play", {"digits": "12w#"}, "Connect")
    assert redirect.text == "https://voice.example.com/call-interrupted?resumed=1&transfers=2&sendings=3"


@pytest.mark.parametrize(("ring_for", "timeout"), [(20.0, "20"), (7.2, "8"), (1.0, "5"), (9000.0, "600")])
def test_somebody_is_rung_for_as_long_as_dial_can_and_what_came_of_it_is_told(ring_for, timeout):
    desk = Transfer("Front desk", "+15551230009", ring_for=ring_for)
    (dial,) = verbs(twiml.put_through("https://voice.example.com", desk, 0, Absences(1), announced=True))
    action = "https://voice.example.com/call-transferred?resumed=0&transfers=1"
    assert dial.attrib == {"timeout": timeout, "action": action, "method": "POST"}
    assert dial.findtext("./Number") == "+15551230009"


def test_a_caller_who_was_not_told_that_somebody_is_rung_is_told_now():
    desk = Transfer("Front desk", "+15551230009")
    say, dial = verbs(
        twiml.put_through("https://voice.example.com", desk, 0, Absences(1), announced=False, language="en-GB")
    )
    assert (say.text, say.get("language"), dial.tag) == (twiml.PUT_THROUGH, "en-GB", "Dial")


def test_an_apology_rings_the_human_where_there_is_one():
    say, dial = verbs(twiml.apologise("+15551230000"))
    assert say.text
    assert dial[0].text == "+15551230000"


def test_an_apology_without_a_human_ends_the_call():
    assert [verb.tag for verb in verbs(twiml.apologise(None))] == ["Say", "Hangup"]


def test_busy_is_said_and_ends_the_call():
    say, hang_up = verbs(twiml.busy(None))
    assert "busy" in (say.text or "")
    assert hang_up.tag == "Hangup"


def test_where_there_is_a_human_they_are_rung_instead_of_busy():
    say, dial = verbs(twiml.busy("+15551230000"))
    assert (say.text, dial.tag, dial.findtext("./Number")) == (twiml.PUT_THROUGH, "Dial", "+15551230000")


def test_a_message_is_left_in_the_agents_language():
    say, hang_up = verbs(twiml.leave_message("Bitte rufen Sie zurück.", "de-DE"))
    assert (say.attrib, say.text, hang_up.tag) == ({"language": "de-DE"}, "Bitte rufen Sie zurück.", "Hangup")


def test_what_came_of_a_transfer_is_not_lost_while_the_caller_waits():
    document = twiml.wait("https://voice.example.com", 1, Absences(2), twiml.TRANSFERRED, "no-answer")
    address = "https://voice.example.com/call-transferred?resumed=1&transfers=2&dialed=no-answer"
    assert verbs(document)[-1].text == address


def test_each_address_shows_the_edge_its_proof():
    """A stream's proof is part of its path, because Twilio drops a stream's query."""
    base = "https://voice.example.com"
    connect, redirect = verbs(twiml.connect_stream(base, "t0ken", proof="pr00f"))
    assert connect[0].attrib["url"] == "wss://voice.example.com/media-stream/pr00f/t0ken"
    assert redirect.text == f"{base}/call-interrupted?resumed=0&proof=pr00f"
    (dial,) = verbs(twiml.put_through(base, Transfer("x", "+15551230009"), 0, Absences(1), announced=True, proof="p"))
    assert dial.attrib["action"] == f"{base}/call-transferred?resumed=0&transfers=1&proof=p"
    assert verbs(twiml.wait(base, 1, proof="p"))[-1].text == f"{base}/call-interrupted?resumed=1&proof=p"


def test_to_ask_again_is_all_that_is_said():
    document = twiml.repeat("https://voice.example.com", "t0ken", twiml.TRANSFERRED, 1, Absences(2), "busy", "p")
    (redirect,) = verbs(document)
    query = "resumed=1&transfers=2&proof=p&dialed=busy&repeat=t0ken"
    assert redirect.text == f"https://voice.example.com/call-transferred?{query}"
