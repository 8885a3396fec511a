"""Output of certbot and the authority becomes one sentence with advice. The texts are those that certbot 5.8 prints."""

import pytest
from keeper.acme.diagnosis import diagnose
from keeper.acme.problems import PROBLEMS, Start

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
        (challenge("connection", 'could not resolve URL "http://x"'), "does not resolve", "set its A record"),
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
        ("externalAccountRequired", "external account binding"),
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


def problem(kind: str, detail: str) -> str:
    body = f'{{\n  "type": "urn:ietf:params:acme:error:{kind}",\n  "detail": "{detail}",\n  "status": 403\n}}'
    return f"Received response:\nHTTP 200\n\n{{}}\nReceived response:\nHTTP 403\nServer: x\n\n{body}"


# The wordings of Boulder and Pebble, as far as they are known: of today, and older ones.
@pytest.mark.parametrize(
    ("kind", "detail", "cause", "heals"),
    [
        ("accountDoesNotExist", "No account exists with the provided key", "know our account", Start.AFRESH),
        ("accountDoesNotExist", 'Account \\"https://ca.example/acct/1\\" not found', "know our account", Start.AFRESH),
        ("unauthorized", 'Account is not valid, has status \\"deactivated\\"', "accept our account", Start.AFRESH),
        ("unauthorized", "An account with the provided public key exists but is deactivated", "account", Start.AFRESH),
        ("malformed", "JWS verification error", "accept our account", Start.AFRESH),
        ("malformed", "Unable to validate JWS :: No Key ID in JWS header", "accept our account", Start.AFRESH),
        ("malformed", "the account's registration was lost", "accept our account", Start.AFRESH),
        ("badPublicKey", "unknown key type", "account's key", Start.AFRESH),
        ("alreadyReplaced", "cannot indicate an order replaces it", "has replaced", Start.WITHOUT_CERTIFICATE),
        ("malformed", "path of the replaces field is not a CertID", "refuses to replace", Start.WITHOUT_CERTIFICATE),
        ("conflict", "cert was already replaced by another order", "refuses to replace", Start.WITHOUT_CERTIFICATE),
        ("unauthorized", "Error finalizing order :: authorizations have expired", "challenges in time", None),
        ("orderNotReady", "Order's status is not acceptable for finalization", "challenges in time", None),
        ("unauthorized", "the external account binding's MAC is wrong", "external account binding", None),
        ("malformed", "the provided EAB key identifier is not known", "external account binding", None),
        ("externalAccountRequired", "An external account binding is required", "external account binding", None),
        ("malformed", "Domain name is an ICANN TLD", "does not accept this name", None),
        ("rejectedIdentifier", "The ACME server refuses to issue for this name", "does not issue for this name", None),
        ("userActionRequired", "You must agree to the new terms", "agree to something", None),
        ("serverInternal", "Service busy; retry later.", "internal error", None),
    ],
)
def test_problems_with_the_account_or_the_order_are_not_taken_for_the_names(
    kind: str, detail: str, cause: str, heals: Start | None
):
    diagnosis = diagnose("An unexpected error occurred:\nx", problem(kind, detail), NOW)
    assert cause in diagnosis.cause
    assert "port 80" not in str(diagnosis)
    assert detail.replace('\\"', '"')[:30] in diagnosis.cause, "what the authority said is passed on"
    assert diagnosis.heals == heals


@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_type_of_problem_has_a_cause_and_something_to_do(kind: str):
    diagnosis = diagnose("An unexpected error occurred:\nx", problem(kind, "y"), NOW)
    assert diagnosis.cause.endswith("(y)")
    assert diagnosis.todo


def test_a_name_that_is_paused_leads_to_the_authoritys_page():
    link = "https://portal.letsencrypt.org/sfe/v1/unpause?jwt=abc"
    diagnosis = diagnose("x", problem("rateLimited", f"Your account is temporarily prevented: visit {link}"), NOW)
    assert link in diagnosis.todo


def test_a_failure_of_certbots_own_can_be_what_it_remembers():
    assert diagnose("An unexpected error occurred:\nJSONDecodeError: x", "", NOW).heals is Start.AFRESH
    assert diagnose("OSError: [Errno 28] No space left on device", "", NOW).heals is None


@pytest.mark.parametrize(
    ("output", "cause", "not_said"),
    [
        (
            challenge("dns", "DNS problem: SERVFAIL looking up CAA for example.com"),
            "DNS servers fail when they are asked for CAA",
            "add a CAA record",
        ),
        (
            challenge("unauthorized", "192.0.2.1: Invalid response: Permission denied"),
            "another server answers",
            "can't be read or written",
        ),
        (
            "Error adding TXT record: HTTP 403 Permission denied on resource project x",
            "the DNS provider did not take the record",
            "can't be read or written",
        ),
        (
            "Input the path to your RFC 2136 credentials INI file:",
            "the DNS plugin has no credentials",
            "letsencrypt.log",
        ),
    ],
)
def test_words_in_a_message_do_not_mislead(output: str, cause: str, not_said: str):
    diagnosis = diagnose(output, "", NOW, by_dns="DNS" in cause)
    assert cause in diagnosis.cause
    assert not_said not in str(diagnosis)


@pytest.mark.parametrize("name", ["accounts.example.com", "mac.example.com", "binding.example.com", "jws.example.com"])
def test_words_in_a_name_say_nothing_about_the_problem(name: str):
    diagnosis = diagnose("x", problem("malformed", f"Domain name {name} is an ICANN TLD"), NOW)
    assert "does not accept this name" in diagnosis.cause
    assert diagnosis.heals is None


def test_the_authoritys_own_trouble_is_told_from_that_of_the_names():
    assert diagnose("requests.exceptions.ConnectionError: Connection refused", "", NOW).is_servers
    assert diagnose("x", limited("X: y"), NOW).is_servers
    assert diagnose("x", problem("serverInternal", "y"), NOW).is_servers
    assert not diagnose(challenge("dns", "no valid A records found"), "", NOW).is_servers
