"""``callgate ready``, which a container's health check runs."""

from __future__ import annotations

import asyncio

from callgate.config.settings import Config
from callgate.operator.ready import readiness_problems


def of(address: str) -> Config:
    host, port = address.split(":")
    return Config(host=host, port=int(port))


async def test_a_backend_that_would_answer_has_no_problems(service):
    assert await asyncio.to_thread(readiness_problems, of(service.address)) == []


async def test_a_backend_that_would_not_answer_says_why(service):
    service.services.switchboard.registry.draining = True
    assert await asyncio.to_thread(readiness_problems, of(service.address)) == [
        "The service is stopping: it takes no more calls."
    ]


def test_a_backend_that_is_not_there_is_a_problem():
    (problem,) = readiness_problems(Config(host="127.0.0.1", port=9))
    assert "does not answer at http://127.0.0.1:9/readyz" in problem
