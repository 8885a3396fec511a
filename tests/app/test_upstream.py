"""Several servers of model sessions, of which one or all fail."""

from __future__ import annotations

import itertools
import logging

import pytest
from callgate.agent import Agent, opening
from callgate.errors import UpstreamError, UpstreamRefused
from callgate.providers import Endpoint
from callgate.upstream import Upstream
from fake_openai import FakeOpenAI, Faults

OPENING = (opening(Agent("Be brief.", "marin", "Hello!")),)
NAMES = ("the first", "the second")


def upstream_of(fake: FakeOpenAI) -> Upstream:
    return Upstream([Endpoint(name, f"{fake.url}?model=m", {"Authorization": "Bearer sk-test"}) for name in NAMES])


@pytest.mark.parametrize("first_fails_before", [False, True])
@pytest.mark.parametrize("statuses", list(itertools.product((401, 503), repeat=2)))
async def test_why_each_server_gave_no_session_is_told_once(fake, caplog, statuses, first_fails_before):
    """By the log, or by the error that whoever asked then logs."""
    upstream = upstream_of(fake)
    fake._faults = [Faults(refuse=status) for status in statuses]
    if first_fails_before:  # so it is tried last
        fake._faults = [Faults(refuse=503), Faults(), *fake._faults]
        await (await upstream.open(OPENING)).close()
    caplog.clear()
    with caplog.at_level(logging.WARNING), pytest.raises(UpstreamError) as caught:
        await upstream.open(OPENING)
    told = [*(record.getMessage() for record in caplog.records), str(caught.value)]
    assert sorted(line.partition(" refused")[0] for line in told) == list(NAMES)
    assert isinstance(caught.value, UpstreamRefused) == (statuses == (401, 401))  # another try may help
