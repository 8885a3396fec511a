"""One edge for all tests here, with a certificate that certbot got from Pebble; and further edges that start
quickly."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from demo.local_edge import LOOPBACK, LocalEdge, free_ports
from support.edge.backends import Backend
from support.edge.probes import FirstStart, ask, handshake, workers

CHALLENGE = "/.well-known/acme-challenge/a-challenge"


@pytest.fixture(scope="session")
def backend() -> Iterator[Backend]:
    with contextlib.closing(Backend()) as backend:
        yield backend


@pytest.fixture
def nobody() -> int:
    """Return a port where nothing listens."""
    return free_ports(1)[0]


@pytest.fixture
def silent() -> Iterator[int]:
    """Yield the port of a backend that accepts connections and never sends anything."""
    with socket.create_server((LOOPBACK, 0), backlog=2000) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="session")
def first_start(backend: Backend) -> Iterator[FirstStart]:
    with LocalEdge() as edge:
        edge.start_nginx(backend.port)
        challenge = edge.webroot / CHALLENGE.removeprefix("/")
        challenge.parent.mkdir(parents=True)
        challenge.write_text("a-key-authorization")
        with pytest.raises(ssl.SSLError) as refused:
            handshake(edge, edge.domain)
        yield FirstStart(edge, workers(edge), ask(edge, "GET", CHALLENGE, tls=False), str(refused.value))


@pytest.fixture(scope="session")
def edge(first_start: FirstStart) -> LocalEdge:
    first_start.edge.start_acme()
    first_start.edge.issue()
    return first_start.edge


@pytest.fixture
def beside(edge: LocalEdge) -> Callable[..., AbstractContextManager[LocalEdge]]:
    """Start another nginx with the first one's certificate: ``beside(backend_port, NAME=value, …)``."""

    @contextlib.contextmanager
    def start(backend_port: int, **environ: str) -> Iterator[LocalEdge]:
        with LocalEdge(edge.domain, published=edge.published, environ=environ) as other:
            shutil.copy(edge.ca_file, other.ca_file)
            other.start_nginx(backend_port)
            yield other

    return start
