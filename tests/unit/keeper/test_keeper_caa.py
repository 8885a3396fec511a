"""Which CAA records let an authority issue."""

import pytest
from keeper.look.caa import Caa, permits

LETS_ENCRYPT = frozenset({"letsencrypt.org"})


@pytest.mark.parametrize(
    ("records", "allowed"),
    [
        ([], True),
        ([("iodef", "mailto:x@example.com")], True),
        ([("issue", "letsencrypt.org")], True),
        ([("issue", "LetsEncrypt.org; accounturi=x")], True),
        ([("issue", "other.example"), ("issue", "letsencrypt.org")], True),
        ([("issue", "letsencrypt.org; validationmethods=http-01,dns-01")], True),
        ([("issue", "letsencrypt.org; validationmethods=dns-01, http-01")], True),
        ([("issue", "letsencrypt.org; ValidationMethods=dns-01")], False),
        ([("issue", "letsencrypt.org;validationmethods=dns-01")], False),
        ([("issue", "other.example")], False),
        ([("issue", ";")], False),
        ([("issue", "")], False),
        ([("issuewild", ";")], True),
        # RFC 8659, section 4.1: who does not understand a critical record must not issue.
        ([("issue", "letsencrypt.org"), ("iodef", "mailto:x@example.com", 128)], True),
        ([("issue", "letsencrypt.org"), ("tbs", "unknown", 0)], True),
        ([("issue", "letsencrypt.org"), ("tbs", "unknown", 128)], False),
    ],
)
def test_caa_records_permit_or_forbid(records: list[tuple[str, str]], allowed: bool):
    assert permits([Caa(*record) for record in records], LETS_ENCRYPT) == allowed


@pytest.mark.parametrize(
    ("records", "allowed"),
    [
        ([], True),
        ([("issue", "letsencrypt.org")], True),
        ([("issue", ";")], False),
        ([("issue", ";"), ("issuewild", "letsencrypt.org")], True),
        ([("issue", "letsencrypt.org"), ("issuewild", ";")], False),
    ],
)
def test_wildcard_has_its_own_records_or_else_those_of_all(records: list[tuple[str, str]], allowed: bool):
    assert permits([Caa(*record) for record in records], LETS_ENCRYPT, wildcard=True, challenge="dns-01") == allowed


@pytest.mark.parametrize(("challenge", "allowed"), [("dns-01", True), ("http-01", False)])
def test_methods_are_those_of_the_challenge(challenge: str, allowed: bool):
    records = [Caa("issue", "letsencrypt.org; validationmethods=dns-01")]
    assert permits(records, LETS_ENCRYPT, challenge=challenge) == allowed
