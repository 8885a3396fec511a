"""``callgate ready``, which a container's health check runs."""

from __future__ import annotations

import asyncio

from callgate.__main__ import main
from callgate.config.settings import Config
from callgate.operator.ready import readiness


def of(address: str) -> Config:
    host, port = address.split(":")
    return Config(host=host, port=int(port))


async def test_a_backend_that_would_answer_has_no_problems(service):
    assert await asyncio.to_thread(readiness, of(service.address)) == ([], [])


async def test_a_backend_that_would_not_answer_says_why(service):
    service.services.switchboard.registry.draining = True
    assert await asyncio.to_thread(readiness, of(service.address)) == (
        ["The service is stopping: it takes no more calls."],
        [],
    )


def test_a_backend_that_is_not_there_is_a_problem():
    ((problem,), _) = readiness(Config(host="127.0.0.1", port=9))
    assert "does not answer at http://127.0.0.1:9/readyz" in problem


async def test_a_backend_that_answers_calls_without_keeping_them_is_ready_and_warns(service, monkeypatch, capsys):
    failing = property(lambda journal: "Calls are not being kept: calls.sqlite3 belongs to user 0.")
    monkeypatch.setattr(type(service.services.store.journal), "failure", failing)
    host, port = service.address.split(":")
    monkeypatch.setenv("HOST", host)
    monkeypatch.setenv("PORT", port)
    assert await asyncio.to_thread(main, ["ready"]) == 0
    assert capsys.readouterr().out == "Warning: Calls are not being kept: calls.sqlite3 belongs to user 0.\n"
