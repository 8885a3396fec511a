from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from callgate.config import Config
from callgate.logs import set_up_logging
from fake_openai import FakeOpenAI
from service import AUTH_TOKEN, Service, config_for, running


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What an operator would read."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    set_up_logging(Config(twilio_auth_tokens=(AUTH_TOKEN,)), stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(api_key="sk-test") as fake:
        yield fake
        assert fake.violations == []


@pytest.fixture
async def service(fake: FakeOpenAI, tmp_path: Path, log: io.StringIO) -> AsyncIterator[Service]:
    async with running(config_for(fake.url, tmp_path)) as service:
        yield service


@pytest.fixture(params=["on", "off"])
def both_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is run with media streams on the fast path, and again with them on the ordinary one."""
    monkeypatch.setattr("service.FAST_LANE", request.param)
