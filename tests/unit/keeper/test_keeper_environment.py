"""What the keeper takes from its environment and its machine: names as they are written, the way out, DNS servers."""

import re
from pathlib import Path

import pytest
from keeper.domains import host_name
from keeper.errors import UsageError
from keeper.look.names import Names, configured
from keeper.settings import PASSED_ON, Settings
from support.project import ROOT

# Names in other letters than those of DNS.


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("voice.例え.example", "voice.xn--r8jz45g.example"),
        ("straße.example", "xn--strae-oqa.example"),
    ],
)
def test_name_in_other_letters_is_answered_with_its_form_in_dns(written: str, meant: str):
    with pytest.raises(UsageError) as refused:
        host_name("DOMAIN", written)
    assert str(refused.value) == f"DOMAIN is '{written}': write it as it is in DNS, {meant}"
    assert host_name("DOMAIN", meant) == meant


@pytest.mark.parametrize("written", ["https://bücher.example", "bücher example", "ü" * 80 + ".example"])
def test_name_in_other_letters_that_is_no_name_is_refused_like_any_other(written: str):
    with pytest.raises(UsageError, match="wanted a host name without https://"):
        host_name("DOMAIN", written)


# The way out.


def test_what_certbot_gets_is_what_the_directory_is_asked_with():
    given = {name: f"the value of {name}" for name in PASSED_ON}
    assert Settings.parse({**given, "TWILIO_AUTH_TOKEN": "x"}).passed_on == given
    assert {"https_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "RES_OPTIONS"} <= given.keys()


def test_bundle_passes_the_way_out_on_to_certbot():
    services = (ROOT / "docker-compose.prod.yml").read_text()
    certbot = services.partition("\n  certbot:\n")[2].partition("\n  backend:\n")[0]
    passed = set(re.findall(r"^      (\w+): \$\{\1:-", certbot, re.MULTILINE))
    assert {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} <= passed & set(PASSED_ON)


# The machine's DNS servers.


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 192.0.2.1\nnameserver 2001:db8::1\n", ["192.0.2.1", "2001:db8::1"]),
        ("nameserver fe80::1%eth0\n", ["fe80::1%eth0"]),
        ("# nameserver 192.0.2.2\n; nameserver 192.0.2.3\nnameserver 192.0.2.1 # ours\n", ["192.0.2.1"]),
        ("nameserver 192.0.2.1#53\nnameserver dns.example\nnameserver 192.0.2.1\n", ["192.0.2.1"]),
        ("search a..b\noptions timeout:0 ndots:x\nnameserver\tnonsense\nnameserver 192.0.2.1\n", ["192.0.2.1"]),
        ("nameserver\n", ["127.0.0.1"]),
        ("search example.com\n", ["127.0.0.1"]),
        ("", ["127.0.0.1"]),
    ],
)
def test_servers_are_read_whatever_else_is_in_the_file(tmp_path: Path, text: str, servers: list[str]):
    (tmp_path / "resolv.conf").write_text(text)
    found = configured(tmp_path / "resolv.conf")
    assert found == servers
    Names(found, control="ca.example")  # which the library accepts


def test_file_that_is_no_text_names_its_servers_nevertheless(tmp_path: Path):
    (tmp_path / "resolv.conf").write_bytes(b"# \xff\xfe B\xfcro\nnameserver 192.0.2.1\n")
    assert configured(tmp_path / "resolv.conf") == ["192.0.2.1"]


def test_file_that_can_not_be_read_is_none(tmp_path: Path):
    assert configured(tmp_path / "nowhere") == ["127.0.0.1"]
    assert configured(tmp_path) == ["127.0.0.1"]  # a folder
