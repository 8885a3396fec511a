"""No secret of an address reaches what is said."""

from __future__ import annotations

import pytest
from keeper.acme.redaction import redacted, secrets_in


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:pa55word@127.0.0.1:3128",
        "http://user:pa55word@127.0.0.1:99999",
        "http://user:pa55/w#rd@proxy.example:3128",
        "http://user:pa55@word@proxy.example:3128",
        "user:pa55word@proxy.example:3128",
    ],
)
def test_user_and_password_of_a_proxy_are_not_shown_however_wrong_its_address(proxy: str) -> None:
    secrets = secrets_in({"HTTPS_PROXY": proxy, "PATH": "/usr/bin"})
    text = redacted(f"InvalidURL: Failed to parse: {proxy} (also {proxy.partition('://')[2] or proxy})", secrets)
    assert "pa55" not in text
    assert "user" not in text
    assert "InvalidURL" in text


def test_tokens_in_addresses_are_not_shown_but_the_page_of_a_paused_name_is() -> None:
    said = "GET https://api.dns.example/zones?token=s3cret failed; see https://portal.example/sfe/v1/unpause?jwt=abc"
    assert redacted(said, []) == (
        "GET https://api.dns.example/zones?… failed; see https://portal.example/sfe/v1/unpause?jwt=abc"
    )
