import asyncio

import pytest
from callgate.outbox import Outbox


async def written(outbox: Outbox, frames: int) -> list[str]:
    """The first frames that the outbox writes."""
    taken: list[str] = []
    enough = asyncio.Event()

    async def send(frame: str) -> None:
        taken.append(frame)
        if len(taken) >= frames:
            enough.set()

    writing = asyncio.create_task(outbox.write(send, 5.0))
    await asyncio.wait_for(enough.wait(), 5.0)
    writing.cancel()
    return taken


async def test_frames_are_written_in_order():
    outbox = Outbox(100)
    for frame in ("a", "b", "c"):
        outbox.put(frame)
    assert await written(outbox, 3) == ["a", "b", "c"]


async def test_beyond_the_limit_the_oldest_droppable_frame_is_dropped_and_counted():
    outbox = Outbox(100, 2)
    outbox.put("a long one that stays")
    outbox.put("1", droppable=True)
    outbox.put("2", droppable=True)
    outbox.put("3", droppable=True)
    assert outbox.dropped == 1
    assert not outbox.full
    assert await written(outbox, 3) == ["a long one that stays", "2", "3"]


async def test_without_droppable_frames_it_is_full_and_drops_nothing():
    outbox = Outbox(1)
    outbox.put("a")
    outbox.put("b")
    assert outbox.full
    assert await written(outbox, 2) == ["a", "b"]


async def test_what_is_cleared_is_not_written():
    outbox = Outbox(10)
    outbox.put("a")
    outbox.clear()
    outbox.put("b")
    assert await written(outbox, 1) == ["b"]


async def test_a_socket_that_takes_nothing_is_noticed():
    outbox = Outbox(10)
    outbox.put("a")

    async def stuck(frame: str) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await outbox.write(stuck, 0.01)


async def test_what_was_written_no_longer_counts():
    outbox = Outbox(2, 1)
    for frame in "abcdef":
        outbox.put(frame, droppable=True)
        assert await written(outbox, 1) == [frame]
    assert (outbox.full, outbox.dropped) == (False, 0)
