"""A look-up that hangs does not affect look-ups of other names."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from callgate.network import lookups, threads
from callgate.network.lookups import Lookups
from callgate.network.threads import Threads, in_thread

AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Resolver:
    """The system's resolver for these tests: each name has addresses or an error, or hangs."""

    def __init__(self) -> None:
        self.answers: dict[str, str | OSError] = {}
        self.hanging: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.at_once: Counter[str] = Counter()
        self.let_go = threading.Event()
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        if not str(host).endswith(".test"):
            return self._real(host, *args, **kwargs)
        self.asked[host] += 1
        self.at_once[host] += 1
        if host in self.hanging:
            self.let_go.wait()
        self.at_once[host] -= 1
        answer = self.answers.get(host, NO_NAME)
        if isinstance(answer, OSError):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 0))]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    monkeypatch.setattr(lookups, "LATE", 0.02)
    yield resolver
    resolver.let_go.set()
    for thread in threading.enumerate():
        if thread.daemon and thread.name == "look-up":
            thread.join()


def make(**changes: Any) -> Lookups:
    return Lookups(**{"keep_for": 3600.0, "believes_missing": True, **changes})


async def address(names: Lookups, host: str) -> str:
    async with asyncio.timeout(30):
        ((*_, found),) = await names.find(host, 443)
    assert found[1] == 443
    return found[0]


async def hang(resolver: Resolver, names: Lookups, *hosts: str) -> list[asyncio.Task[Any]]:
    """Start look-ups that are never answered."""
    resolver.hanging.update(hosts)
    tasks = [asyncio.create_task(names.find(host, 443)) for host in hosts]
    while not all(resolver.at_once[host] for host in hosts):  # noqa: ASYNC110 (this waits for threads)
        await asyncio.sleep(0)
    return tasks


async def end(resolver: Resolver, tasks: list[asyncio.Task[Any]]) -> None:
    resolver.let_go.set()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_however_many_names_hang_others_are_found_and_the_loops_own_threads_are_free(resolver):
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    tools, models = make(), make()
    tasks = await hang(resolver, tools, *(f"{number}.test" for number in range(40)))
    resolver.answers.update({"tool.test": "192.0.2.1", "model.test": "192.0.2.2"})
    assert await address(tools, "tool.test") == "192.0.2.1"
    assert await address(models, "model.test") == "192.0.2.2"
    async with asyncio.timeout(30):  # a database's driver looks its server up like this
        assert await loop.getaddrinfo("127.0.0.1", 5432)
        assert await asyncio.to_thread(lambda: "free") == "free"
    await end(resolver, tasks)


async def test_who_wants_the_same_name_waits_for_the_same_answer(resolver):
    names = make()
    tasks = await hang(resolver, names, "a.test")
    tasks += [asyncio.create_task(names.find(host, 443)) for host in ("a.test", "A.test", "a.test.")]
    await asyncio.sleep(0)
    resolver.answers["a.test"] = "192.0.2.1"
    resolver.let_go.set()
    assert len({str(await task) for task in tasks}) == 1
    assert resolver.asked.total() == 1


async def test_each_request_has_a_look_up_of_its_own_time(resolver):
    names = make()
    for last in ("192.0.2.1", "192.0.2.2"):
        resolver.answers["a.test"] = last
        assert await address(names, "a.test") == last


async def test_a_name_that_hangs_and_was_never_found_costs_no_more_than_who_asks_waits(resolver):
    names = make()
    tasks = await hang(resolver, names, "a.test")
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await names.find("a.test", 443)
    assert resolver.asked["a.test"] == 1
    await end(resolver, tasks)


async def test_a_name_that_hangs_has_the_addresses_that_it_had_last(resolver, caplog):
    caplog.set_level(logging.INFO)
    names = make()
    resolver.answers["a.test"] = "192.0.2.1"
    await address(names, "a.test")
    resolver.hanging.add("a.test")
    for _ in range(5):
        assert await address(names, "a.test") == "192.0.2.1"
    assert resolver.asked["a.test"] == 2
    resolver.answers["a.test"] = "192.0.2.2"
    resolver.let_go.set()
    while await address(names, "a.test") != "192.0.2.2":  # noqa: ASYNC110 (this waits for a thread)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    failed, again = (record.getMessage() for record in caplog.records)
    assert failed.startswith("The name a.test can't be looked up (no answer within 0 s): its addresses of 0 s ago are")
    assert again == "The name a.test can be looked up again"


async def test_a_name_that_fails_for_now_has_the_addresses_that_it_had_last(resolver, caplog):
    names = make()
    resolver.answers["a.test"] = "192.0.2.1"
    await address(names, "a.test")
    resolver.answers["a.test"] = AGAIN
    for _ in range(3):
        assert await address(names, "a.test") == "192.0.2.1"
    (failed,) = (record.getMessage() for record in caplog.records)
    assert "(" + str(AGAIN) + ")" in failed


async def test_one_that_failed_before_is_not_waited_for_again(resolver, monkeypatch):
    monkeypatch.setattr(lookups, "LATE", 1000.0)
    names = make()
    for answer in ("192.0.2.1", AGAIN):
        resolver.answers["a.test"] = answer
        await address(names, "a.test")
    resolver.hanging.add("a.test")
    for _ in range(3):
        assert await address(names, "a.test") == "192.0.2.1"
    assert resolver.asked["a.test"] == 3


async def test_addresses_that_are_too_old_are_not_used(resolver):
    names = make(keep_for=0.0)
    resolver.answers["a.test"] = "192.0.2.1"
    await address(names, "a.test")
    resolver.answers["a.test"] = AGAIN
    with pytest.raises(socket.gaierror):
        await address(names, "a.test")


async def test_whether_no_such_name_is_an_answer_or_a_failure_is_said_by_who_looks_up(resolver):
    tools, models = make(), make(believes_missing=False)
    resolver.answers["a.test"] = "192.0.2.1"
    for names in (tools, models):
        await address(names, "a.test")
    resolver.answers["a.test"] = NO_NAME
    assert await address(models, "a.test") == "192.0.2.1"
    with pytest.raises(socket.gaierror):
        await address(tools, "a.test")
    resolver.answers["a.test"] = AGAIN
    with pytest.raises(socket.gaierror):  # the earlier result has been forgotten
        await address(tools, "a.test")


async def test_a_look_up_that_never_comes_back_is_followed_by_one_more_and_no_others(resolver, monkeypatch):
    monkeypatch.setattr(lookups, "HANGS", 0.0)
    names = make()
    tasks = await hang(resolver, names, "a.test")
    for _ in range(10):
        tasks.append(asyncio.create_task(names.find("a.test", 443)))
        await asyncio.sleep(0.005)
    assert resolver.asked["a.test"] == 2
    resolver.hanging.clear()
    await end(resolver, tasks)
    resolver.answers["a.test"] = "192.0.2.1"
    assert await address(names, "a.test") == "192.0.2.1"


async def test_what_is_kept_of_names_has_a_bound(resolver, monkeypatch):
    monkeypatch.setattr(lookups, "MOST_KEPT", 3)
    names = make()
    for number in range(20):
        resolver.answers[f"{number}.test"] = "192.0.2.1"
        await address(names, f"{number}.test")
    for number in range(20):
        resolver.answers[f"{number}.test"] = AGAIN
    assert await address(names, "19.test") == "192.0.2.1"
    with pytest.raises(socket.gaierror):
        await address(names, "0.test")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_is_not_looked_up(monkeypatch, host):
    monkeypatch.setattr(lookups, "in_thread", None)
    assert await address(make(), host) == host


@pytest.mark.parametrize("host", ["a..test", "a" * 64 + ".test", "no-such-name.invalid"])
async def test_what_can_be_no_name_is_not_found(host):
    with pytest.raises(OSError):  # noqa: PT011 (which one depends on the system)
        await address(make(), host)


class TestThreads:
    async def test_no_more_than_so_many_are_at_work_at_once_and_one_who_leaves_keeps_the_place_taken(self):
        let_go, started = threading.Event(), Counter[str]()
        work = Threads("work", 2)

        def block() -> None:
            started["block"] += 1
            let_go.wait()

        tasks = [asyncio.create_task(work.run(block)) for _ in range(5)]
        while started["block"] < 2:  # noqa: ASYNC110 (this waits for threads)
            await asyncio.sleep(0)
        for task in tasks[:2]:
            task.cancel()
        await asyncio.sleep(0.01)
        assert started["block"] == 2
        let_go.set()
        await asyncio.gather(*tasks[2:])
        assert started["block"] == 5

    async def test_an_error_is_told_to_who_waits(self):
        with pytest.raises(ZeroDivisionError):
            await Threads("work", 1).run(lambda: 1 / 0)

    async def test_where_there_is_no_thread_that_is_an_error_like_others(self, monkeypatch):
        def refuse(*_: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threads.threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="no thread"):
            await in_thread("work", lambda: 1)
