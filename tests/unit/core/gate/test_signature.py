import pytest
from callgate.core.gate.signature import SignatureCheck
from callgate.errors import RequestRefused
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import Headers, MultiDict

BASE = "https://voice.example.com"
FORM = MultiDict([("CallSid", "CA1"), ("From", "+15551230000"), ("Tag", "b"), ("Tag", "a"), ("Empty", "")])


def headers(url: str, form: object = None, token: str = "token", **more: str) -> Headers:
    return Headers({"X-Twilio-Signature": RequestValidator(token).compute_signature(url, form or {}), **more})


@pytest.fixture
def check() -> SignatureCheck:
    return SignatureCheck(["token", "older"], BASE, account_sid="AC1")


def test_a_webhook_signed_over_the_public_url_is_taken(check):
    check.check_webhook("/incoming-call", FORM, headers(f"{BASE}/incoming-call", FORM))


def test_a_webhook_by_get_is_signed_over_its_query(check):
    check.check_webhook("/incoming-call?CallSid=CA1", MultiDict(), headers(f"{BASE}/incoming-call?CallSid=CA1"))


def test_a_webhook_signed_with_the_token_being_replaced_is_taken(check):
    check.check_webhook("/incoming-call", FORM, headers(f"{BASE}/incoming-call", FORM, token="older"))


def test_a_webhook_signed_with_a_shared_key_is_taken(check):
    signature = RequestValidator("token").compute_signature(f"{BASE}/x", FORM, "HMAC_SHA256")
    settings = {"X-Twilio-Webhooks-Signature-Settings": "key=k1,algorithm=HMAC_SHA256"}
    check.check_webhook("/x", FORM, Headers({"X-Twilio-Signature": signature, **settings}))


@pytest.mark.parametrize(
    "wrong",
    [
        Headers(),
        Headers({"X-Twilio-Signature": ""}),
        Headers({"X-Twilio-Signature": "é"}),
        headers(f"{BASE}/incoming-call", FORM, token="stranger"),
        headers(f"{BASE}/incoming-call", {"CallSid": "CA2"}),
        headers(f"{BASE}/other", FORM),
        headers("http://127.0.0.1:8765/incoming-call", FORM),
        headers(f"{BASE}/incoming-call", FORM, **{"X-Twilio-Webhooks-Signature-Settings": "algorithm=MD5"}),
    ],
)
def test_a_webhook_that_is_not_twilios_is_refused(check, wrong):
    with pytest.raises(RequestRefused):
        check.check_webhook("/incoming-call", FORM, wrong)


def test_an_upgrade_is_signed_over_its_wss_url(check):
    signed = Headers({"x-twilio-signature": headers("wss://voice.example.com/media-stream/t")["X-Twilio-Signature"]})
    check.check_upgrade("/media-stream/t", signed)


@pytest.mark.parametrize("url", [f"{BASE}/media-stream/t", "wss://voice.example.com/media-stream/other"])
def test_an_upgrade_signed_over_another_url_is_refused(check, url):
    with pytest.raises(RequestRefused):
        check.check_upgrade("/media-stream/t", headers(url))


def test_another_account_is_refused(check):
    check.check_account("AC1")
    with pytest.raises(RequestRefused, match="AC2"):
        check.check_account("AC2")


def test_any_account_is_taken_where_none_is_set():
    SignatureCheck(["token"], BASE).check_account("AC2")
