from __future__ import annotations

import functools
import io
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from callgate.store import Store
from support.fake_openai import FakeOpenAI
from support.fixtures import log, no_task_is_left  # noqa: F401
from support.outbound_service import Outbound, outbound, twilio_rest
from support.service import Service, config_for, running
from support.stores import PATIENT
from support.twilio_rest import FakeTwilioRest


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(api_key="sk-test") as fake:
        yield fake
        assert fake.violations == []


@pytest.fixture
async def service(fake: FakeOpenAI, tmp_path: Path, log: io.StringIO) -> AsyncIterator[Service]:  # noqa: F811
    async with running(config_for(fake.url, tmp_path)) as service:
        yield service


@pytest.fixture(params=["on", "off"])
def both_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the service once with media streams on the fast path, and once with them on the ordinary one."""
    monkeypatch.setattr("support.service.FAST_LANE", request.param)


@pytest.fixture(autouse=True)
def no_call_is_refused_for_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept calls however late the event loop is: a late service refuses new calls, but here the machine may be the
    cause."""
    monkeypatch.setattr("callgate.switchboard.loop_pulse.LATE", 3600.0)


@pytest.fixture(autouse=True)
def no_store_fails_for_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the store however late it is: a service goes on without a late store, but here the machine may be the
    cause."""
    monkeypatch.setattr("callgate.web.app.Store", functools.partial(Store, times=PATIENT))


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace a lost model at once, as often as allowed."""
    monkeypatch.setattr("callgate.core.turns.recovery.WAITS", (0.01,) * 5)


@pytest.fixture
async def twilio() -> AsyncIterator[FakeTwilioRest]:
    """Serve Twilio's REST API."""
    async with twilio_rest().serving() as twilio:
        yield twilio


@pytest.fixture
def outbound_with(
    fake: FakeOpenAI,
    twilio: FakeTwilioRest,
    tmp_path: Path,
    log: io.StringIO,  # noqa: F811
) -> Callable[..., AbstractAsyncContextManager[Outbound]]:
    """Run a service with these settings that may place calls at the fake Twilio."""
    return lambda **settings: outbound(fake.url, tmp_path, twilio, **settings)
