"""deploy/nginx/entrypoint refuses what can't work, and renders a configuration that each nginx version understands."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from callgate.core.wire import twiml
from demo.local_edge import DEPLOY, LocalEdge, find_program, free_ports

TREE = DEPLOY / "nginx"
DOMAIN = "callgate.example"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make nginx's workers run as somebody else")


def check(state: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    http_port, https_port = free_ports(2)
    environ = {
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
        "DOMAIN": DOMAIN,
        "EDGE_STATE": str(state),
        "EDGE_HTTP_PORT": str(http_port),
        "EDGE_HTTPS_PORT": str(https_port),
        **environ,
    }
    argv, folder = [str(TREE / "entrypoint"), "check"], state.parent
    return subprocess.run(argv, env=environ, cwd=folder, capture_output=True, text=True, timeout=20)


def stand_in(folder: Path, version: str, openssl: str) -> str:
    """Write a program that claims to be some nginx, and accepts every configuration."""
    program = folder / "nginx"
    program.write_text(
        f"#!/bin/sh\necho 'nginx version: nginx/{version}' >&2\n"
        f"echo 'built with OpenSSL 3.0.2 15 Mar 2022 (running with OpenSSL {openssl} 1 Apr 2026)' >&2\n"
    )
    program.chmod(0o755)
    return str(program)


def rendered(state: Path) -> str:
    return "".join(path.read_text() for path in sorted((state / "etc" / "generated").iterdir()))


def test_configuration_is_good_without_a_word(tmp_path: Path) -> None:
    done = check(tmp_path / "state")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_configuration_has_no_known_weakness(tmp_path: Path) -> None:
    # gixy takes every port with these digits for a TLS port.
    http_port = next(port for port in free_ports(20) if "443" not in str(port))
    assert check(tmp_path / "state", EDGE_HTTP_PORT=str(http_port)).returncode == 0
    gixy = [find_program("gixy"), str(tmp_path / "state" / "etc" / "nginx.conf")]
    done = subprocess.run(gixy, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "No issues found" in done.stdout


def test_check_may_be_run_again_and_keeps_nothing_of_before(tmp_path: Path) -> None:
    check(tmp_path / "state", FALLBACK_DIAL="+15551230000")
    assert "+15551230000" in rendered(tmp_path / "state")
    assert check(tmp_path / "state").returncode == 0
    assert "+15551230000" not in rendered(tmp_path / "state")


def test_a_caller_hears_the_same_sentences_from_nginx_as_from_the_backend(tmp_path: Path) -> None:
    nginx, human = stand_in(tmp_path, "1.30.0", "3.5.0"), "+15551230000"
    assert check(tmp_path / "state", EDGE_NGINX=nginx, FALLBACK_DIAL=human).returncode == 0
    backends = twiml.wait("https://callgate.example", 0) + twiml.apologise(None) + twiml.apologise(human)
    assert spoken(rendered(tmp_path / "state")) == spoken(backends)


def spoken(text: str) -> set[str]:
    return set(re.findall("<Say>(.*?)</Say>", text))


def test_the_tree_is_not_written_to(tmp_path: Path) -> None:
    def tree() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (TREE, *TREE.rglob("*"))}

    before = tree()
    assert check(tmp_path / "state").returncode == 0
    assert tree() == before


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"DOMAIN": ""}, "DOMAIN is not set"),
        ({"DOMAIN": "https://callgate.example"}, "wanted a host name"),
        ({"DOMAIN": "callgate.example/path"}, "wanted a host name"),
        ({"DOMAIN": "callgate.example; return 200"}, "wanted a host name"),
        ({"DOMAIN": "callgate.example\nevil.example"}, "wanted a host name"),
        ({"DOMAIN": "-callgate.example"}, "wanted a host name"),
        ({"FALLBACK_DIAL": "555-1234"}, "as in +15551230000"),
        ({"FALLBACK_DIAL": "+15551230000</Dial>"}, "as in +15551230000"),
        ({"EDGE_BACKEND": "127.0.0.1"}, "wanted HOST:PORT"),
        ({"EDGE_BACKEND": "backend:99999"}, "wanted a port from 1 to 65535"),
        ({"EDGE_BACKEND": "127.0.0.1:8765 127.0.0.1"}, "several separated by spaces"),
        ({"EDGE_BACKEND": "backend:8765; }"}, "wanted HOST:PORT"),
        ({"EDGE_RESOLVER": "1.1.1.1 evil"}, "wanted the address of a DNS server"),
        ({"EDGE_RESOLVER": "fe80::1%eth0"}, "without a zone (%…)"),
        ({"EDGE_RESOLVER": "1.1.1.1:99999"}, "wanted a port from 1 to 65535"),
        ({"EDGE_RESOLVER": "[::1]:0"}, "wanted a port from 1 to 65535"),
        ({"EDGE_BACKEND_IPV6": "no"}, "wanted on or off"),
        ({"EDGE_LISTEN": "everywhere"}, "wanted addresses"),
        ({"EDGE_HTTP_PORT": "http"}, "wanted a port"),
        ({"EDGE_HTTPS_PORT": "0"}, "wanted a port"),
        ({"EDGE_HTTP_PORT": "8080", "EDGE_HTTPS_PORT": "8080"}, "wanted two ports"),
        ({"EDGE_INNER_PORT": "http"}, "EDGE_INNER_PORT is 'http': wanted a port"),
        ({"EDGE_HTTP_PORT": "8080", "EDGE_INNER_PORT": "8080"}, "wanted three ports"),
        (
            {"EXTRA_DOMAINS": "www.callgate.example https://other.example"},
            "has 'https://other.example': wanted host names",
        ),
        ({"EXTRA_DOMAINS": "www.callgate.example:443"}, "wanted host names"),
        ({"EXTRA_DOMAINS": "a.example;b.example"}, "wanted host names"),
        ({"EXTRA_DOMAINS": "*"}, "has '*': wanted host names"),
        ({"EXTRA_DOMAINS": "voice.*.example"}, "wanted host names"),
        ({"EXTRA_DOMAINS": "~^.*$"}, "wanted host names"),
        ({"EXTRA_DOMAINS": "*.*.example.com"}, "wanted host names"),
        ({"EXTRA_DOMAINS": f"{'a' * 64}.example"}, "wanted host names"),
        ({"EXTRA_DOMAINS": "*.com"}, "wanted a domain of your own behind the *"),
        ({"EXTRA_DOMAINS": "*.192.0.2.1"}, "wanted a domain of your own behind the *"),
        ({"DOMAIN": "*.callgate.example"}, "wanted a host name"),
        ({"EDGE_EXTRA": "301"}, "wanted serve or redirect"),
        ({"EDGE_PROXY_PROTOCOL": "v2", "TRUSTED_PROXIES": "10.0.0.1"}, "wanted on or off"),
        ({"EDGE_PROXY_PROTOCOL": "on"}, "TRUSTED_PROXIES is not set"),
        ({"EDGE_PROXY_PROTOCOL": "on", "TRUSTED_PROXIES": " , "}, "TRUSTED_PROXIES is not set"),
        ({"EDGE_REQUIRE_SNI": "yes"}, "wanted on or off"),
        ({"CERTIFICATE_KEYS": "both"}, "CERTIFICATE_KEYS is 'both': wanted ecdsa, rsa, or ecdsa+rsa"),
        ({"CERTIFICATE_KEYS": "rsa+ecdsa"}, "wanted ecdsa, rsa, or ecdsa+rsa"),
        ({"CERT_PUBLISHED": "relative/path"}, "wanted an absolute path"),
        ({"ACME_WEBROOT": '/a"; return 200; "'}, "wanted an absolute path"),
        pytest.param({"EDGE_USER": "no-such-user"}, "there is no such user", marks=AS_ROOT),
        ({"EDGE_NGINX": "/no/such/nginx"}, "does not run"),
    ],
)
def test_bad_value_is_refused_in_one_line(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    done = check(tmp_path / "state", **environ)
    assert done.returncode == 2
    assert done.stderr.startswith("edge: ")
    assert message in done.stderr.replace("\n", " ")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "network",
    [
        *(
            "proxy.example",
            "10.0.0",
            "10.0.0.256",
            "010.0.0.1",
            "10.0.0.1:80",
            "10.0.0.1;",
            "unix:",
            "$remote_addr",
            "-",
        ),
        *("10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8/8", "10.0.0.0/255.0.0.0", "10.0.0.0/-1", "10.0.0.0/+8", "/8"),
        *("[2001:db8::1]", "2001:db8::1::2", "2001:db8", "2001:db8:::1", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8:9"),
        *("fe80::1%eth0", "::192.0.2", "12345::1", "::ffff:10.0.0.1", ":1::2", "2001:db8::/129", "2001:db8::1:"),
    ],
)
def test_what_is_no_network_is_no_proxy(tmp_path: Path, network: str) -> None:
    done = check(tmp_path / "state", TRUSTED_PROXIES=f"10.0.0.1, {network}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"edge: TRUSTED_PROXIES has '{network}': wanted ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "network", ["0.0.0.0/0", "::/0", "10.1.2.3/0", "0.0.0.0/1", "128.0.0.0/1", "2000::/3", "::/00"]
)
def test_a_network_that_strangers_are_in_is_no_proxy(tmp_path: Path, network: str) -> None:
    done = check(tmp_path / "state", TRUSTED_PROXIES=f"10.0.0.1 {network}")
    assert done.returncode == 2
    assert (
        f"'{network}', a network so large that strangers would choose the address they are counted under" in done.stderr
    )


def test_networks_may_be_written_in_any_usual_way(tmp_path: Path) -> None:
    networks = "10.0.0.5,10.0.0.0/8 , 192.0.2.0/24 2001:db8::/32,::1 fc00::/7 2001:DB8:1:2:3:4:5:6, 1::"
    done = check(tmp_path / "state", TRUSTED_PROXIES=networks)
    assert (done.returncode, done.stderr) == (0, "")
    trusted = re.findall("^set_real_ip_from (.*);$", rendered(tmp_path / "state"), re.MULTILINE)
    assert trusted == networks.replace(",", " ").split()


def test_a_star_in_a_name_is_not_taken_for_files(tmp_path: Path) -> None:
    (tmp_path / "any.wild.example").touch()
    assert check(tmp_path / "state", EXTRA_DOMAINS="*.wild.example").returncode == 0
    assert "any.wild.example" not in rendered(tmp_path / "state")
    assert "[.]wild[.]example$" in rendered(tmp_path / "state")


def test_an_nginx_that_can_not_ask_a_proxy_who_the_client_is_is_refused(tmp_path: Path) -> None:
    nginx = stand_in(tmp_path, "1.30.1", "3.5.4")
    assert check(tmp_path / "state", EDGE_NGINX=nginx).returncode == 0
    done = check(tmp_path / "state", EDGE_NGINX=nginx, TRUSTED_PROXIES="10.0.0.1")
    assert done.returncode == 2
    assert "built without the module http_realip" in done.stderr


def test_every_setting_together_is_good_and_has_no_known_weakness(tmp_path: Path) -> None:
    http_port = next(port for port in free_ports(20) if "443" not in str(port))
    settings = {"EXTRA_DOMAINS": "www.callgate.example *.wild.example", "EDGE_EXTRA": "redirect"}
    settings |= {"TRUSTED_PROXIES": "10.0.0.0/8 2001:db8::/32", "EDGE_PROXY_PROTOCOL": "on"}
    settings |= {"EDGE_HTTP_PORT": str(http_port), "EDGE_INNER_PORT": str(free_ports(1)[0])}
    for state, environ in (
        ("one", settings),
        ("other", {**settings, "EDGE_EXTRA": "serve"}),
    ):
        done = check(tmp_path / state, **environ)
        assert (done.returncode, done.stderr) == (0, "")
        gixy = [find_program("gixy"), str(tmp_path / state / "etc" / "nginx.conf")]
        found = subprocess.run(gixy, capture_output=True, text=True, timeout=60)
        assert "No issues found" in found.stdout, found.stdout


@pytest.mark.parametrize("keys", ["ecdsa+rsa", "rsa"])
def test_second_pair_is_served_only_if_it_was_published_whole(tmp_path: Path, keys: str) -> None:
    """A path that is a variable is not looked at before the first handshake, and a missing file fails them all."""
    state, published = tmp_path / "state", tmp_path / "published"
    second = published / f"{DOMAIN}-rsa" / "current"
    second.mkdir(parents=True)
    environ = {"CERT_PUBLISHED": str(published), "CERTIFICATE_KEYS": keys}
    for file, pairs in ((None, 1), ("fullchain.pem", 1), ("privkey.pem", 2)):
        if file:
            (second / file).write_text("there")
        done = check(state, **environ)
        assert (done.returncode, done.stderr) == (0, "")
        conf = (state / "etc" / "generated" / "https-server.conf").read_text()
        assert conf.count("ssl_certificate ") == pairs
    assert check(state, CERT_PUBLISHED=str(published)).returncode == 0
    assert "rsa" not in (state / "etc" / "generated" / "https-server.conf").read_text()


def test_fallback_dial_is_not_repeated_in_a_message(tmp_path: Path) -> None:
    assert "5551234" not in check(tmp_path / "state", FALLBACK_DIAL="5551234").stderr


def test_old_nginx_is_refused(tmp_path: Path) -> None:
    done = check(tmp_path / "state", EDGE_NGINX=stand_in(tmp_path, "1.18.0", "1.1.1"))
    assert done.returncode == 2
    assert "found nginx version: nginx/1.18.0: wanted 1.22 or later" in done.stderr


def test_debians_nginx_gets_what_it_understands(tmp_path: Path) -> None:
    nginx = stand_in(tmp_path, "1.22.1", "3.0.19")
    assert check(tmp_path / "state", EDGE_NGINX=nginx, EDGE_BACKEND="backend:8765").returncode == 0
    conf = rendered(tmp_path / "state")
    assert "server backend:8765 fail_timeout=2s;" in conf
    assert "ssl_ecdh_curve X25519:prime256v1:secp384r1;" in conf
    for newer in ("http2", " resolve", "ssl_certificate_cache"):
        assert newer not in conf


def test_the_images_nginx_gets_what_it_understands(tmp_path: Path) -> None:
    nginx = stand_in(tmp_path, "1.30.1", "3.5.4")
    environ = {"EDGE_NGINX": nginx, "EDGE_BACKEND": "backend:8765", "EDGE_RESOLVER": "127.0.0.11"}
    assert check(tmp_path / "state", **environ).returncode == 0
    conf = rendered(tmp_path / "state")
    assert "http2" not in conf
    assert "server backend:8765 resolve " in conf
    assert "resolver 127.0.0.11 valid=2s ipv6=on;" in conf
    assert "ssl_ecdh_curve X25519MLKEM768:X25519:prime256v1:secp384r1;" in conf
    assert "ssl_certificate_cache" in conf


# The DNS server.

NAMED = {"EDGE_BACKEND": "backend:8765 127.0.0.1:8765"}
UNUSABLE = "nameserver fe80::1%eth0\nnameserver fe80::1\nnameserver 300.1.1.1\nnameserver 1:2\nnameserver\n"


def resolver_of(folder: Path, resolv_conf: str, *, version: str = "1.30.1", **environ: str) -> str | None:
    """Return the DNS server that nginx is told to ask."""
    (folder / "resolv.conf").write_text(resolv_conf)
    environ = {
        "EDGE_NGINX": stand_in(folder, version, "3.5.4"),
        "EDGE_RESOLV_CONF": f"{folder}/resolv.conf",
        **environ,
    }
    done = check(folder / "state", **environ)
    assert done.returncode == 0, done.stderr
    found = set(re.findall("^resolver (.*) valid=2s ipv6=on;$", rendered(folder / "state"), re.MULTILINE))
    assert len(found) <= 1
    return found.pop() if found else None


@pytest.mark.parametrize(
    ("resolv_conf", "asked"),
    [
        ("nameserver 192.0.2.1\n", "192.0.2.1"),
        ("nameserver 192.0.2.1", "192.0.2.1"),
        ("nameserver 192.0.2.1 # the router\n", "192.0.2.1"),
        ("nameserver 192.0.2.1;the router\n", "192.0.2.1"),
        ("nameserver\t192.0.2.1\t\n", "192.0.2.1"),
        ("nameserver 192.0.2.1\r\n", "192.0.2.1"),
        (
            "# nameserver 192.0.2.2\n; nameserver 192.0.2.3\nsearch nameserver 192.0.2.4\nnameserver 192.0.2.1",
            "192.0.2.1",
        ),
        ("nameservers 192.0.2.2\n nameserver 192.0.2.3\nnameserver 192.0.2.1\n", "192.0.2.1"),
        ("options edns0\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n", "192.0.2.1"),
        (f"{UNUSABLE}nameserver 192.0.2.1\n", "192.0.2.1"),
        ("nameserver 2001:db8::1\n", "[2001:db8::1]"),
        ("nameserver ::ffff:192.0.2.1 # the router\n", "[::ffff:192.0.2.1]"),
    ],
)
def test_dns_server_is_found_in_any_usual_resolv_conf(tmp_path: Path, resolv_conf: str, asked: str) -> None:
    assert resolver_of(tmp_path, resolv_conf, **NAMED) == asked


@pytest.mark.parametrize("asked", ["192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:5353"])
def test_dns_server_that_was_named_is_the_one_that_is_asked(tmp_path: Path, asked: str) -> None:
    rendered_as = f"[{asked}]" if asked == "2001:db8::1" else asked
    assert resolver_of(tmp_path, "nameserver 192.0.2.2\n", EDGE_RESOLVER=asked, **NAMED) == rendered_as


@pytest.mark.parametrize("backend", ["127.0.0.1:8765", "[::1]:8765", "127.0.0.1:8765 [::1]:8765", "localhost:8765"])
@pytest.mark.parametrize("resolv_conf", ["nameserver 192.0.2.1\n", UNUSABLE, ""])
def test_no_dns_server_is_wanted_where_nothing_is_looked_up(tmp_path: Path, backend: str, resolv_conf: str) -> None:
    assert resolver_of(tmp_path, resolv_conf, EDGE_BACKEND=backend) is None


def test_a_backend_without_ipv6_is_not_looked_up_for_it(tmp_path: Path) -> None:
    environ = {**NAMED, "EDGE_NGINX": stand_in(tmp_path, "1.30.1", "3.5.4"), "EDGE_RESOLVER": "192.0.2.1"}
    assert check(tmp_path / "state", EDGE_BACKEND_IPV6="off", **environ).returncode == 0
    assert "resolver 192.0.2.1 valid=2s ipv6=off;" in rendered(tmp_path / "state")


def test_an_older_nginx_wants_no_dns_server(tmp_path: Path) -> None:
    assert resolver_of(tmp_path, UNUSABLE, version="1.27.2", **NAMED) is None


@pytest.mark.parametrize("resolv_conf", [None, "", UNUSABLE, "search example.com\n"])
def test_a_machine_without_a_dns_server_is_told_what_to_set(tmp_path: Path, resolv_conf: str | None) -> None:
    file = tmp_path / "resolv.conf"
    if resolv_conf is not None:
        file.write_text(resolv_conf)
    nginx = stand_in(tmp_path, "1.30.1", "3.5.4")
    done = check(tmp_path / "state", EDGE_NGINX=nginx, EDGE_RESOLV_CONF=str(file), **NAMED)
    assert done.returncode == 2
    assert done.stderr == (
        f"edge: EDGE_BACKEND has the name 'backend', and {file} has no DNS server that nginx can ask: "
        "set EDGE_RESOLVER to the address of one\n"
    )
    assert not (tmp_path / "state").exists()


def test_state_folder_may_have_a_space_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folders = {"CERT_PUBLISHED": str(folder / "published"), "ACME_WEBROOT": str(folder / "webroot")}
    done = check(folder, **folders)
    assert done.returncode == 0, done.stderr


def test_phone_number_is_not_for_everybody_on_the_machine(edge: LocalEdge) -> None:
    assert (edge.state / "nginx" / "etc" / "generated").stat().st_mode & 0o077 == 0
