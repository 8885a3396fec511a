from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from support.conformance.echo_service import Service, running

# How a Media Stream may be served. What the product runs on is uvloop; asyncio's own loop has other transports.
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
    """In the echo service's own thread and loop, not here: see `running`. Here: nothing was reported as an error."""
    with caplog.at_level(logging.WARNING):
        yield
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert not errors, errors
