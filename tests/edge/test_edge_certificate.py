"""A certificate is issued, published and renewed without live calls being affected."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from cryptography import x509
from demo.local_edge import LocalEdge
from support.edge.backends import Backend
from support.edge.probes import FirstStart, assert_echoes, handshake, open_stream, wait_for, workers


def test_edge_without_a_certificate_answers_the_challenge(first_start: FirstStart) -> None:
    assert first_start.challenge.status == 200
    assert first_start.challenge.body == b"a-key-authorization"


def test_edge_without_a_certificate_refuses_the_handshake(first_start: FirstStart) -> None:
    assert "alert" in first_start.handshake


def test_edge_serves_the_issued_certificate_without_a_reload(first_start: FirstStart, edge: LocalEdge) -> None:
    certificate = edge.served_certificate()

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [edge.domain]
    assert edge.issuer.startswith("CN=Pebble Intermediate CA")
    assert workers(edge) == first_start.workers


def test_issue_again_keeps_the_certificate(edge: LocalEdge) -> None:
    before = edge.served_certificate()
    edge.issue()
    assert edge.served_certificate() == before


def test_renewal_is_served_without_a_reload_and_the_open_socket_lives(edge: LocalEdge) -> None:
    before, workers_before = edge.served_certificate(), workers(edge)
    with open_stream(edge) as stream:
        stream.recv()
        edge.renew("--force-renewal")
        # Since nginx 1.27.4, the old one may be served for two more seconds.
        wait_for(lambda: edge.served_certificate().serial_number != before.serial_number)
        assert_echoes(stream, "still there")

    published = edge.published / edge.domain
    current = f"{edge.served_certificate().serial_number:X}"
    assert (published / "current").readlink().name.lstrip("0") == current
    assert len([folder for folder in published.iterdir() if not folder.is_symlink()]) == 2
    assert workers(edge) == workers_before


def test_renewal_of_what_is_not_due_changes_nothing(edge: LocalEdge) -> None:
    before = edge.served_certificate()
    edge.renew()
    assert edge.served_certificate() == before


def test_issue_publishes_what_was_issued_but_not_published(edge: LocalEdge) -> None:
    before = edge.served_certificate()
    (edge.published / edge.domain / "current").unlink()
    edge.issue()
    assert edge.served_certificate() == before


def test_reload_leaves_the_open_socket_alive(
    beside: Callable[..., AbstractContextManager[LocalEdge]], backend: Backend
) -> None:
    with beside(backend.port) as edge, open_stream(edge) as stream:
        stream.recv()
        before = workers(edge)
        assert edge.nginx is not None
        edge.nginx.send(signal.SIGHUP)
        wait_for(lambda: all(is_leaving(worker) for worker in before) and bool(workers(edge) - before))
        assert_echoes(stream, "still there")


def is_leaving(worker: int) -> bool:
    """Whether a worker from before the reload accepts no more connections, or has ended because it had none."""
    try:
        return b"shutting down" in Path(f"/proc/{worker}/cmdline").read_bytes()
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_edge_speaks_tls(edge: LocalEdge, version: ssl.TLSVersion) -> None:
    with handshake(edge, edge.domain, version) as client:
        assert client.version() == version.name.replace("_", ".")
