"""Output of certbot and the authority becomes one sentence with advice. The texts are those that certbot 5.8 prints."""

import pytest
from keeper.acme_errors import diagnose

NOW = 1_800_000_000.0


def challenge(kind: str, detail: str) -> str:
    return (
        "Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported "
        f"these problems:\n  Identifier: voice.example.com\n  Type:   {kind}\n  Detail: {detail}\n\nHint: The "
        "Certificate Authority failed to download the temporary challenge files.\n\nSome challenges have failed.\nAsk "
        "for help or search for solutions at https://community.letsencrypt.org."
    )


@pytest.mark.parametrize(
    ("output", "cause", "todo"),
    [
        (challenge("dns", "no valid A records found"), "does not resolve", "set its A record"),
        (challenge("connection", "192.0.2.1: Timeout during connect"), "can't reach it on port 80", "open port 80"),
        (
            challenge("unauthorized", "192.0.2.1: Invalid response: 404"),
            "another server answers",
            "records to this machine",
        ),
        (challenge("caa", "CAA record prevents issuance"), "CAA record forbids", "letsencrypt.org"),
        (challenge("brandNew", "something"), "failed with 'brandNew'", "the authority's message"),
        ("OSError: [Errno 28] No space left on device", "the disk is full", "make room"),
        (
            "PermissionError: [Errno 13] Permission denied: '/var/x'",
            "Permission denied: '/var/x'",
            "give it to the user",
        ),
        ("Another instance of Certbot is already running.", "another certbot", "wait"),
        ("requests.exceptions.ConnectionError: Connection refused", "can't be reached", "letsencrypt.status.io"),
        ("SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED'))", "is not trusted", "ACME_CA_BUNDLE"),
        (
            "Hook ran with error output:\npublish: the key in x is not the certificate's",
            "not published",
            "the key in x",
        ),
        ("An unexpected error occurred:\nnonsense", "nonsense", "letsencrypt.log"),
        ("", "it said nothing", "letsencrypt.log"),
    ],
)
def test_output_is_translated(output: str, cause: str, todo: str):
    diagnosis = diagnose(output, "", NOW)
    assert cause in diagnosis.cause
    assert todo in diagnosis.todo
    assert "\n" not in str(diagnosis)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("badNonce", "refused our nonces"),
        ("serverInternal", "an internal error"),
        ("rejectedIdentifier", "does not issue for this name"),
        ("invalidContact", "e-mail address"),
        ("invalidProfile", "profile"),
        ("fromTheFuture", "answered 'fromTheFuture'"),
    ],
)
def test_problem_type_in_the_log_is_translated(kind: str, cause: str):
    log = f'Received response:\nHTTP 400\n\n{{"type": "urn:ietf:params:acme:error:{kind}", "detail": "x"}}'
    diagnosis = diagnose("An unexpected error occurred:\nx", log, NOW)
    assert cause in diagnosis.cause
    assert diagnosis.is_bad_nonce == (kind == "badNonce")


def limited(header: str) -> str:
    detail = "too many certificates (5) already issued"
    body = f'{{\n  "type": "urn:ietf:params:acme:error:rateLimited",\n  "detail": "{detail}"\n}}'
    return f"Received response:\nHTTP 200\nDate: x\n\n{{}}\nReceived response:\nHTTP 429\nServer: x\n{header}\n\n{body}"


@pytest.mark.parametrize(
    ("header", "wait"),
    [("Retry-After: 3600", 3600.0), ("retry-after: Fri, 15 Jan 2027 09:00:00 GMT", 3600.0), ("X: y", None)],
)
def test_rate_limit_tells_its_retry_after(header: str, wait: float | None):
    diagnosis = diagnose("An unexpected error occurred:\ntoo many", limited(header), NOW)
    assert "rate limit is reached (too many certificates (5) already issued)" in diagnosis.cause
    assert diagnosis.retry_at == (None if wait is None else NOW + wait)


def test_rate_limit_without_a_header_is_read_from_its_text():
    log = limited("X: y").replace("already issued", "already issued, retry after 2027-01-15 09:00:00 UTC")
    assert diagnose("", log, NOW).retry_at == NOW + 3600


def test_trouble_of_the_authority_without_a_problem_document_is_seen_by_its_status():
    diagnosis = diagnose("An unexpected error occurred:\n...", "Received response:\nHTTP 503\n\nbusy", NOW)
    assert "an internal error" in diagnosis.cause
