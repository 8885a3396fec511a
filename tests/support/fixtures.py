"""Fixtures used in more than one folder of tests. Each conftest.py imports those it needs."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from callgate.config.settings import Config
from callgate.logs.setup import set_up_logging

AUTH_TOKEN = "the-auth-token"


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Return what an operator would read."""
    root = logging.getLogger()
    ours = logging.getLogger("callgate")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    stream = io.StringIO()
    set_up_logging(Config(twilio_auth_tokens=(AUTH_TOKEN,)), stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)
