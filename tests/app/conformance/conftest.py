from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from support.conformance.echo_service import Service, running

# The ways to serve a Media Stream. The product runs on uvloop; asyncio's own loop has different transports.
PATHS = ("fast", "fast-asyncio", "ordinary")


@pytest.fixture(scope="module", params=PATHS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def service(kind: str) -> Iterator[Service]:
    with running(kind) as service:
        yield service


@pytest.fixture(autouse=True)
def no_task_is_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that no error was reported. Tasks are not checked here, because the echo service has its own thread and
    loop: see `running`."""
    with caplog.at_level(logging.WARNING):
        yield
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert not errors, errors
