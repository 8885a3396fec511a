"""Several servers of model sessions, of which one or all fail."""

from __future__ import annotations

import itertools
import logging
import socket
import threading

import pytest
from callgate.core.agent import Agent
from callgate.core.turns.briefing import opening
from callgate.errors import UpstreamError, UpstreamRefused
from callgate.models.endpoints import Endpoint
from callgate.models.upstream import Upstream
from support.fake_openai import FakeOpenAI, Faults

OPENING = (opening(Agent("Be brief.", "marin", "Hello!")),)
NAMES = ("the first", "the second")


def upstream_of(fake: FakeOpenAI) -> Upstream:
    return Upstream([Endpoint(name, f"{fake.url}?model=m", {"Authorization": "Bearer sk-test"}) for name in NAMES])


@pytest.mark.parametrize("first_fails_before", [False, True])
@pytest.mark.parametrize("statuses", list(itertools.product((401, 503), repeat=2)))
async def test_why_each_server_gave_no_session_is_told_once(fake, caplog, statuses, first_fails_before):
    """The reason is in the log, or in the error that the caller then logs."""
    upstream = upstream_of(fake)
    fake.faults = [Faults(refuse=status) for status in statuses]
    if first_fails_before:  # so it is tried last
        fake.faults = [Faults(refuse=503), Faults(), *fake.faults]
        await (await upstream.open(OPENING)).close()
    caplog.clear()
    with caplog.at_level(logging.WARNING), pytest.raises(UpstreamError) as caught:
        await upstream.open(OPENING)
    told = [*(record.getMessage() for record in caplog.records), str(caught.value)]
    assert sorted(line.partition(" refused")[0] for line in told) == list(NAMES)
    assert isinstance(caught.value, UpstreamRefused) == (statuses == (401, 401))  # another try may help


@pytest.mark.parametrize("fault", [socket.EAI_AGAIN, socket.EAI_NONAME, None])
async def test_a_session_is_opened_while_its_name_can_not_be_looked_up(fake, monkeypatch, fault):
    """``fault`` is how the resolver fails, or None if it never returns."""
    url = fake.url.replace("127.0.0.1", "localhost")
    upstream = Upstream([Endpoint("the model", f"{url}?model=m", {"Authorization": "Bearer sk-test"})])
    await (await upstream.open(OPENING)).close()
    let_go, real = threading.Event(), socket.getaddrinfo

    def fail(host: str, *args: object, **kwargs: object) -> object:
        if host != "localhost":
            return real(host, *args, **kwargs)
        if fault is None:
            let_go.wait()
        raise socket.gaierror(fault or socket.EAI_AGAIN, "the resolver is away")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    try:
        for _ in range(3):
            await (await upstream.open(OPENING)).close()
    finally:
        let_go.set()
    assert upstream.failure is None


async def test_a_name_that_never_was_found_is_given_up_in_time(monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: let_go.wait())
    monkeypatch.setattr("callgate.models.upstream.OPEN_DEADLINE", 0.1)
    upstream = Upstream([Endpoint("the model", "ws://model.example.test/", {})])
    try:
        with pytest.raises(UpstreamError, match="the model did not answer within 0 s"):
            await upstream.open(OPENING)
    finally:
        let_go.set()


async def test_a_name_that_is_not_there_is_told(monkeypatch):
    upstream = Upstream([Endpoint("the model", "ws://no-such-name.invalid/", {})])
    with pytest.raises(UpstreamError, match="the model can't be reached: "):
        await upstream.open(OPENING)
