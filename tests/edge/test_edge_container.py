"""The edge in a container: not root, without capabilities, initially alone, with a health check."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from demo.local_edge import DEPLOY, LOOPBACK, LocalEdge, Program, find_program, free_ports
from support.edge.backends import Backend
from support.edge.pairs import Authority, Pair
from support.edge.probes import ask, handshake, wait_for

ENTRYPOINT = str(DEPLOY / "nginx" / "entrypoint")
NGINX_UID = 101  # as in the official image
AUTHORITY = Authority()


def publish(folder: Path, domain: str, pair: Pair) -> None:
    current = folder / domain / "current"
    pair.write(current)
    (current / "privkey.pem").chmod(0o644)  # nginx's workers have another user ID here, and no common group


class Container:
    """The environment and privileges of ``entrypoint`` in a container."""

    def __init__(self, folder: Path, domain: str = "localhost") -> None:
        self.folder, self.published = folder, folder / "published"
        self.access_log, self.error_log = folder / "access.log", folder / "error.log"
        self.http_port, self.https_port, nobody = free_ports(3)
        (folder / "state").mkdir()
        for path in (self.access_log, self.error_log):
            path.touch()
        if os.geteuid() == 0:
            for path in (folder / "state", self.access_log, self.error_log):
                os.chown(path, NGINX_UID, NGINX_UID)
        self.environ: Mapping[str, str] = {
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
            "DOMAIN": domain,
            "EDGE_BACKEND": f"{LOOPBACK}:{nobody}",
            "EDGE_STATE": str(folder / "state"),
            "EDGE_HTTP_PORT": str(self.http_port),
            "EDGE_HTTPS_PORT": str(self.https_port),
            "EDGE_NGINX": os.environ.get("EDGE_NGINX") or find_program("nginx"),
            "EDGE_USER": "a-user-of-another-machine",
            "CERT_PUBLISHED": str(self.published),
            "ACME_WEBROOT": str(folder / "webroot"),
        }

    def argv(self, *words: str) -> list[str]:
        ids = [f"--reuid={NGINX_UID}", f"--regid={NGINX_UID}", "--clear-groups"] if os.geteuid() == 0 else []
        return ["setpriv", *ids, "--bounding-set=-all", "--no-new-privs", ENTRYPOINT, *words]

    @contextlib.contextmanager
    def started(self) -> Iterator[Program]:
        log = {"stdout": self.access_log, "stderr": self.error_log}
        program = Program("nginx", self.argv(), environ=self.environ, **log)
        try:
            program.wait_until(lambda: self.health().returncode == 0)
            yield program
        finally:
            program.stop()

    def health(self, **environ: str) -> subprocess.CompletedProcess[str]:
        argv = [ENTRYPOINT, "health"]
        return subprocess.run(argv, env={**self.environ, **environ}, capture_output=True, text=True, timeout=20)


@pytest.fixture
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    # pytest's own folders are closed to other users.
    with contextlib.ExitStack() as each:
        edge = each.enter_context(LocalEdge())
        yield Container(edge.state)


def test_edge_starts_without_root_without_a_backend_and_without_a_certificate(container: Container) -> None:
    with container.started() as nginx:
        assert f"\nUid:\t{NGINX_UID if os.geteuid() == 0 else os.geteuid()}\t" in status_of(nginx)
        assert "\nCapEff:\t0000000000000000\n" in status_of(nginx)
        done = container.health()
    assert done.stdout == f"edge: serves localhost on port {container.http_port}; there is no certificate yet\n"
    assert container.error_log.read_text() == ""


def status_of(program: Program) -> str:
    return Path(f"/proc/{program.pid}/status").read_text()


def test_health_asks_for_the_published_certificate_too(container: Container) -> None:
    with container.started():
        publish(container.published, "localhost", AUTHORITY.issue("localhost"))
        done = container.health()
    assert done.stdout == f"edge: serves localhost on ports {container.http_port} and {container.https_port}\n"
    assert done.returncode == 0


@pytest.mark.parametrize("trusted", ["10.0.0.0/8", LOOPBACK])
@pytest.mark.parametrize("protocol", ["on", "off"])
def test_health_is_told_behind_a_proxy_too_and_is_not_logged(container: Container, trusted: str, protocol: str) -> None:
    container.environ = {**container.environ, "TRUSTED_PROXIES": trusted, "EDGE_PROXY_PROTOCOL": protocol}
    with container.started():
        publish(container.published, "localhost", AUTHORITY.issue("localhost"))
        done = container.health()
        assert done.stdout == f"edge: serves localhost on ports {container.http_port} and {container.https_port}\n"
        assert (done.returncode, done.stderr) == (0, "")
        assert container.access_log.read_text() == ""
        if protocol == "on":  # an operator who forgot to tell one of the two
            assert container.health(EDGE_PROXY_PROTOCOL="off").returncode == 1


@pytest.mark.parametrize("extra", ["serve", "redirect"])
def test_health_is_that_of_the_domain_among_several_names(container: Container, extra: str) -> None:
    names = {"EXTRA_DOMAINS": "www.callgate.example, *.wild.example", "EDGE_EXTRA": extra}
    container.environ = {**container.environ, "DOMAIN": "callgate.example", **names}
    with container.started():
        publish(container.published, "callgate.example", AUTHORITY.issue("callgate.example"))
        done = container.health()
    assert done.stdout == f"edge: serves callgate.example on ports {container.http_port} and {container.https_port}\n"


def test_a_pair_that_nginx_can_not_use_is_ill_health(container: Container) -> None:
    good = AUTHORITY.issue("localhost")
    with container.started():
        publish(container.published, "localhost", Pair(good.fullchain, AUTHORITY.issue("localhost").privkey))
        done = container.health()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"edge: https://localhost:{container.https_port}/metrics at {LOOPBACK} does not answer: "
    )
    assert done.stderr.count("\n") == 1


def test_a_certificate_that_nginx_may_not_read_is_ill_health(container: Container) -> None:
    publish(container.published, "localhost", AUTHORITY.issue("localhost"))
    with container.started():
        (container.published / "localhost").chmod(0)
        done = subprocess.run(
            container.argv("health"), env=dict(container.environ), capture_output=True, text=True, timeout=20
        )
        (container.published / "localhost").chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.endswith("can't be entered: publish to the group of nginx's workers (CERT_GROUP)\n")


def test_an_edge_that_does_not_run_or_serves_another_name_is_ill_health(container: Container) -> None:
    done = container.health()
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    with container.started():
        assert container.health(DOMAIN="callgate.example").returncode == 1
        assert container.health(DOMAIN="").returncode == 1


def test_health_is_not_in_the_access_log_but_who_claims_to_ask_for_it_is(container: Container) -> None:
    with container.started():
        assert container.access_log.read_text() == ""
        subprocess.run(
            ["curl", "-s", "-A", "callgate-health/1", "-H", "Host: localhost", f"http://{LOOPBACK}:{container.http_port}/"],
            check=True, capture_output=True, timeout=20,
        )  # fmt: skip
        wait_for(lambda: container.access_log.read_text().count("\n") == 1)


def test_output_that_nginx_can_not_open_is_named_before_it_starts(container: Container) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            container.argv(), env=dict(container.environ), stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=20
        )
    assert done.returncode == 2
    assert done.stderr.startswith("edge: standard output can't be opened by its name")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("domain", ["localhost", LOOPBACK])
def test_client_that_names_no_host_is_served_where_there_is_no_name_to_be_known_by(
    backend: Backend, domain: str
) -> None:
    with LocalEdge(domain) as edge:
        edge.ca_file.write_bytes(AUTHORITY.pem)
        publish(edge.published, domain, AUTHORITY.issue(domain))
        edge.start_nginx(backend.port)
        with handshake(edge, None) as client:
            assert client.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(own_certificate(edge))
        with pytest.raises(ssl.SSLError, match="alert"):
            handshake(edge, "other.example")
        assert ask(edge, "GET", "/").status == 200
        assert ask(edge, "GET", "/a-page", tls=False).headers["location"] == f"https://{domain}/a-page"


def own_certificate(edge: LocalEdge) -> str:
    fullchain = (edge.published / edge.domain / "current" / "fullchain.pem").read_text()
    end = "-----END CERTIFICATE-----\n"
    return fullchain[: fullchain.index(end) + len(end)]


def test_a_name_may_be_required_of_localhost_too(backend: Backend) -> None:
    with LocalEdge("localhost", environ={"EDGE_REQUIRE_SNI": "on"}) as edge:
        edge.start_nginx(backend.port)
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            handshake(edge, None)
