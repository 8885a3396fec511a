import asyncio

import pytest
from callgate.core.gate.stream_token import LIFETIME, StreamToken
from callgate.core.turns.commands import End, Outcome
from callgate.errors import RequestRefused
from callgate.switchboard.registry import Registry


class Line:
    """A call that ends when told to."""

    ending: End | None = None

    def __init__(self, registry: Registry, call_sid: str) -> None:
        self.registry, self.call_sid = registry, call_sid

    def shut_down(self) -> None:
        self.end(Outcome.SHUT_DOWN)

    def end(self, outcome: Outcome) -> None:
        self.ending = End(outcome, "")
        self.registry.end(self.call_sid, self, self.ending)


def begin(registry: Registry, call_sid: str) -> Line:
    line = Line(registry, call_sid)
    registry.begin(call_sid, line)
    return line


async def test_one_call_more_than_there_are_lines_is_not_admitted():
    registry = Registry(2)
    assert registry.admit("CA1", 0)
    begin(registry, "CA1")
    assert registry.admit("CA2", 0)
    assert not registry.admit("CA3", 0)


async def test_a_retried_webhook_takes_no_second_place():
    registry = Registry(1)
    assert registry.admit("CA1", 0)
    assert registry.admit("CA1", 1)


async def test_a_webhook_that_is_retried_keeps_the_place_no_longer():
    registry = Registry(1)
    registry.admit("CA1", 0)
    registry.admit("CA1", LIFETIME - 1)
    assert registry.admit("CA2", LIFETIME + 1)


async def test_the_place_of_a_call_that_never_came_is_given_up_with_its_token():
    registry = Registry(1)
    registry.admit("CA1", 0)
    assert not registry.admit("CA2", LIFETIME - 1)
    assert registry.admit("CA2", LIFETIME + 1)


async def test_a_caller_who_hung_up_before_the_stream_leaves_the_place():
    registry = Registry(1)
    registry.admit("CA1", 0)
    registry.give_up("CA1")
    assert registry.admit("CA2", 0)


async def test_a_call_that_ended_leaves_the_place_and_how_it_ended():
    registry = Registry(1)
    line = begin(registry, "CA1")
    assert registry.outcome("CA1") is None
    line.end(Outcome.GOODBYE)
    assert registry.outcome("CA1") is Outcome.GOODBYE
    assert registry.admit("CA2", 0)


async def test_a_call_has_one_stream():
    registry = Registry(2)
    begin(registry, "CA1")
    with pytest.raises(RequestRefused):
        begin(registry, "CA1")


async def test_how_a_call_ended_is_known_while_its_sockets_are_still_being_closed():
    registry = Registry(1)
    begin(registry, "CA1").ending = End(Outcome.GOODBYE, "")
    assert (registry.outcome("CA1"), registry.live) == (Outcome.GOODBYE, 1)
    assert not registry.admit("CA2", 0)


async def test_a_call_is_taken_up_again_before_its_old_stream_is_all_closed_and_that_end_is_not_the_new_ones():
    registry = Registry(1)
    old = begin(registry, "CA1")
    old.ending = End(Outcome.STREAM_LOST, "")
    new = begin(registry, "CA1")
    assert registry.outcome("CA1") is None
    old.end(Outcome.STREAM_LOST)
    assert (registry.outcome("CA1"), registry.live) == (None, 1)
    new.end(Outcome.GOODBYE)
    assert (registry.outcome("CA1"), registry.live) == (Outcome.GOODBYE, 0)


async def test_a_token_is_good_for_one_stream():
    registry = Registry(1)
    registry.redeem(StreamToken("CA1", "n1", 60), 0)
    registry.redeem(StreamToken("CA1", "n2", 60), 0)
    with pytest.raises(RequestRefused, match="used before"):
        registry.redeem(StreamToken("CA1", "n1", 60), 59)


async def test_a_drain_waits_for_calls_to_end_by_themselves_and_admits_nobody():
    registry = Registry(5)
    line = begin(registry, "CA1")
    draining = asyncio.create_task(registry.drain(60))
    await asyncio.sleep(0)
    assert not registry.admit("CA2", 0)
    assert not draining.done()
    line.end(Outcome.CALLER_HUNG_UP)
    await asyncio.wait_for(draining, 5)


async def test_a_drain_whose_time_is_up_ends_the_calls():
    registry = Registry(5)
    begin(registry, "CA1")
    await asyncio.wait_for(registry.drain(0), 5)
    assert registry.outcome("CA1") is Outcome.SHUT_DOWN


async def test_how_a_call_ended_is_forgotten_when_it_goes_on():
    registry = Registry(1)
    begin(registry, "CA1").end(Outcome.TRANSFERRED)
    assert registry.ending("CA1") == End(Outcome.TRANSFERRED, "")
    registry.admit("CA1", 0)
    assert registry.ending("CA1") is None
