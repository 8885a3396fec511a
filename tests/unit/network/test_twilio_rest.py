"""How every way in which Twilio's client reports a failure is handled."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from callgate.network.twilio_rest import TwilioRefused, TwilioRest, TwilioUnreachableError, asking
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client
from urllib3.exceptions import MaxRetryError, NewConnectionError

SID = "AC" + 32 * "1"
REFUSAL = json.dumps({"code": 20003, "message": "Authenticate", "status": 401})


class Answering(HttpClient):
    """An HTTP client that gives the same answer to everything."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(None, False)  # type: ignore[arg-type]
        self._answer = Response(status, body)

    def request(self, *args: Any, **kwargs: Any) -> Response:
        return self._answer


def asked_of(status: int, body: str) -> Client:
    return Client(SID, "the-token", http_client=Answering(status, body))


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.api.v2010.accounts(SID).fetch(),
        lambda client: client.calls("CA1").update(status="completed"),
        lambda client: client.incoming_phone_numbers.list(limit=1),
        lambda client: client.monitor.v1.fetch("GET", "/Alerts"),
    ],
)
def test_a_refusal_is_the_same_whatever_was_asked_for(ask):
    with pytest.raises(TwilioRefused) as refused, asking():
        ask(asked_of(401, REFUSAL))
    exc = refused.value
    assert (exc.status, exc.code, exc.message, exc.in_doubt) == (401, 20003, "Authenticate", False)
    assert str(exc) == "status 401, error 20003: Authenticate"


@pytest.mark.parametrize("body", ["<html>Bad Gateway</html>", "[]", "{}"])
def test_what_stands_before_twilio_has_no_code_and_leaves_it_in_doubt(body):
    with pytest.raises(TwilioRefused) as refused, asking():
        asked_of(502, body).calls("CA1").fetch()
    assert (refused.value.status, refused.value.code, refused.value.in_doubt) == (502, 0, True)


def test_its_words_are_cleaned_before_anybody_is_shown_them():
    with pytest.raises(TwilioRefused) as refused, asking():
        raise TwilioRestException(400, "/", "The number +15551230042 is\x1b[2J none", 21211)
    assert refused.value.message == "The number +*********42 is\ufffd[2J none"


def test_an_answer_that_is_not_twilios_is_none():
    with pytest.raises(TwilioUnreachableError, match="not JSON"), asking():
        asked_of(200, "<html>Please log in</html>").calls("CA1").fetch()


@pytest.mark.parametrize(
    ("raised", "in_doubt"),
    [
        (requests.ConnectTimeout(), False),
        (requests.exceptions.SSLError(), False),
        (requests.ConnectionError(MaxRetryError(None, "/", NewConnectionError(None, "refused"))), False),  # type: ignore[arg-type]
        (requests.ReadTimeout(), True),
        (requests.ConnectionError("reset"), True),
        (TwilioException("Credentials are required"), True),
    ],
)
def test_who_is_not_heard_may_have_done_it_if_the_request_was_sent(raised, in_doubt):
    with pytest.raises(TwilioUnreachableError) as unreachable, asking():
        raise raised
    assert unreachable.value.in_doubt is in_doubt


async def test_a_request_for_which_there_is_no_thread_was_never_sent(monkeypatch):
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    with pytest.raises(TwilioUnreachableError, match="no thread") as unreachable:
        await TwilioRest(asked_of(200, "{}"), 1).ask(lambda client: client.calls("CA1").fetch())
    assert unreachable.value.in_doubt is False


def test_an_error_whose_status_is_no_number_leaves_it_in_doubt():
    class OddError(TwilioException):
        status = "503"

    with pytest.raises(TwilioUnreachableError) as unreachable, asking():
        raise OddError("odd")
    assert unreachable.value.in_doubt
