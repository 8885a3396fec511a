"""Model sessions whose opening is abandoned at any point: nothing is left of them, and no other session is harmed."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
import uvloop
from callgate.core.agent import Agent
from callgate.models.endpoints import endpoints
from callgate.models.parking import Parking
from callgate.models.upstream import Upstream
from support.fake_openai import FakeOpenAI, Faults, Script
from support.service import config_for

AGENT = Agent(instructions="Be brief.", voice="marin", greeting="Hello.")
TURNS = 60  # of the event loop; opening takes fewer with a server in the same loop
FAULTS = {"answers": Faults(), "hangs in the upgrade": Faults(hang_upgrade=True), "never confirms": Faults(mute=True)}


@pytest.mark.whole
@pytest.mark.parametrize("server", FAULTS)
@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_an_opening_that_is_dropped_at_any_point_leaves_nothing(
    new_loop, server: str, tmp_path: Path, monkeypatch, log
):
    monkeypatch.setattr("callgate.models.upstream.GIVE_UP_DEADLINE", 0.3)
    monkeypatch.setattr("callgate.models.upstream.OPEN_DEADLINE", 1.0)
    monkeypatch.setattr("callgate.models.socket.PING_AFTER", 0.01)
    monkeypatch.setattr("callgate.models.socket.CLOSE_DEADLINE", 0.3)
    unhandled: list[dict[str, Any]] = []

    async def drop_at_each_point() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        async with FakeOpenAI(Script(), FAULTS[server], api_key="sk-test") as fake:
            parking = Parking(Upstream(endpoints(config_for(fake.url, tmp_path), None)), 10 * TURNS)
            for turns in range(TURNS):
                parking.open(f"CA{turns}", AGENT)
                for _ in range(turns):
                    await asyncio.sleep(0)
                parking.drop(f"CA{turns}")
            for count in range(40):  # also by time, which reaches points between iterations
                parking.open(f"CB{count}", AGENT)
                await asyncio.sleep(count * 0.0005)
                parking.drop(f"CB{count}")
            await parking.close()
            if server == "answers":
                model = await parking.take("CC", AGENT, ())
                assert model.lost is None
                await model.close()
        gc.collect()
        await asyncio.sleep(1.1)  # long enough for a left-over timer to fire
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(drop_at_each_point())
    gc.collect()
    assert not unhandled, unhandled
    assert "WARNING" not in log.getvalue(), log.getvalue()
    assert "ERROR" not in log.getvalue(), log.getvalue()


async def test_an_opening_that_is_given_up_in_its_tcp_connection_is_cancelled(tmp_path: Path, monkeypatch):
    """There is nothing to close yet, so nothing is waited for."""

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("callgate.models.upstream.aiohappyeyeballs.start_connection", never)
    monkeypatch.setattr("callgate.models.upstream.GIVE_UP_DEADLINE", 3600.0)
    parking = Parking(Upstream(endpoints(config_for("ws://127.0.0.1:9", tmp_path), None)), 1)
    parking.open("CA", AGENT)
    await asyncio.sleep(0.01)
    await asyncio.wait_for(parking.close(), 10)
