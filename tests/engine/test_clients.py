"""Who the client is: over IPv6 (EDGE_IPV6), and behind a load balancer (EDGE_PROXY_PROTOCOL), in the bundle."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support.engine.bundle import COMPOSE_FILE, Bundle

SETTINGS = "DOMAIN=voice.callgate.test\n"


def test_the_network_has_ipv6_only_if_it_is_asked_for(new_bundle, images):
    with new_bundle() as bundle:
        for value, has in (("", False), ("EDGE_IPV6=false\n", False), ("EDGE_IPV6=true\n", True)):
            (bundle.folder / ".env").write_text(SETTINGS + value)
            done = bundle.run("docker", "compose", "-f", COMPOSE_FILE, "config", "--format", "json")
            assert json.loads(done.stdout)["networks"]["default"]["enable_ipv6"] is has


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another machine, as far as addresses go: a network namespace, joined to this one by a cable."""

    namespace: str
    ours: str  # this machine's address on the cable
    theirs: str

    def get(self, port: int) -> str:
        """Ask nginx for a page, and return the status."""
        url = f"http://[{self.ours}]:{port}/"
        options = ["--silent", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}"]
        return ip("netns", "exec", self.namespace, "curl", *options, "--header", "Host: voice.callgate.test", url)


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr}")
    return done.stdout


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("only root can make a network namespace, with the program ip")
    tag = secrets.token_hex(3)
    namespace, here, there = f"callgate-{tag}", f"cg{tag}a", f"cg{tag}b"
    network = f"fd77:{tag[:4]}:{secrets.token_hex(2)}:1"
    ip("netns", "add", namespace)
    try:
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", namespace)
        for where, device, address in (([], here, f"{network}::1"), (["-n", namespace], there, f"{network}::2")):
            ip(*where, "-6", "address", "add", f"{address}/64", "dev", device, "nodad")
            ip(*where, "link", "set", device, "up")
        yield Neighbour(namespace, f"{network}::1", f"{network}::2")
    finally:
        ip("netns", "delete", namespace)  # and the cable with it


def clients(bundle: Bundle) -> list[str]:
    """Return the addresses in nginx's access log."""
    lines = bundle.logs("nginx").splitlines()
    return [json.loads(line)["client"] for line in lines if line.startswith("{")]


def test_a_client_over_ipv6_keeps_its_address(new_bundle, images, neighbour):
    with new_bundle(TEST_PUBLISH=f"[{neighbour.ours}]") as bundle:
        (bundle.folder / ".env").write_text(f"{SETTINGS}EDGE_IPV6=true\n")
        bundle.up("nginx")
        assert neighbour.get(bundle.port("nginx", 8080)) == "301"
        assert clients(bundle) == [neighbour.theirs]
        # The backend listens on IPv4 alone, and an address where nobody listens would count as a backend that fails.
        conf = bundle.exec("nginx", "cat", "/run/edge/etc/generated/http.conf").stdout
        assert "server backend:8765 resolve " in conf
        assert "ipv6=off;" in conf


def test_the_containers_reach_nginx_behind_a_load_balancer_and_over_ipv6_too(new_bundle, images):
    """The keeper's and the rehearsal call's connections begin without the PROXY protocol; nobody else's may."""
    with new_bundle() as bundle:
        settings = "TRUSTED_PROXIES=10.0.0.5 2001:db8::/64\nEDGE_PROXY_PROTOCOL=on\nEDGE_IPV6=true\n"
        (bundle.folder / ".env").write_text(settings)
        bundle.up()  # all are healthy, so the keeper has seen its certificate served
        done = bundle.exec("backend", "callgate", "phone", "--expect-echo", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        answered = [
            "curl",
            "-s",
            "-k",
            "--max-time",
            "10",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "https://localhost:8443/",
        ]
        assert bundle.exec("nginx", *answered, check=False).stdout == "000"
        assert bundle.exec("nginx", *answered, "--haproxy-protocol").stdout == "200"
