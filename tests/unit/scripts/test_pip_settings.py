"""scripts/pip_settings.py: the output of `pip config list`, translated for uv."""

from __future__ import annotations

import pytest
from pip_settings import uv_settings


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("global.index-url='https://user:word@index.example/simple'",
         ["UV_DEFAULT_INDEX=https://user:word@index.example/simple"]),
        ("global.extra-index-url='file:///one\\nfile:///two'", []),
        ("global.find-links='\\n/one\\n/two'", ["UV_FIND_LINKS=/one,/two"]),
        ("global.trusted-host='a.example b.example'", ["UV_INSECURE_HOST=a.example b.example"]),
        ("global.cert='/ca.pem'", ["SSL_CERT_FILE=/ca.pem"]),
        ("global.client-cert='/client.pem'", ["SSL_CLIENT_CERT=/client.pem"]),
        (":env:.default-timeout='180'", ["UV_HTTP_TIMEOUT=180"]),
        ("global.proxy='http://proxy.example:3128'",
         ["HTTP_PROXY=http://proxy.example:3128", "HTTPS_PROXY=http://proxy.example:3128"]),
        ("install.no-index='true'", ["--no-index"]),
        ("install.no-index='0'", []),
        ("freeze.timeout='10'", []),
        (":env:.disable-pip-version-check='1'", []),
        ("WARNING: not a setting", []),
        ("", []),
    ],
)  # fmt: skip
def test_each_setting_has_its_counterpart_or_none(line: str, told: list[str]) -> None:
    assert list(uv_settings([line])) == told


def test_the_environment_wins_over_the_command_s_section_and_that_over_the_general_one() -> None:
    general, of_install, environment = (
        f"{section}.index-url='https://{host}.example'"
        for section, host in (("global", "a"), ("install", "b"), (":env:", "c"))
    )
    assert list(uv_settings([environment, general, of_install])) == ["UV_DEFAULT_INDEX=https://c.example"]
    assert list(uv_settings([of_install, general])) == ["UV_DEFAULT_INDEX=https://b.example"]
