"""Tools that run during a call, and the results that the model is told."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Mapping
from typing import Any

import pytest
from callgate.core.tools.toolbox import HttpTool, Message
from callgate.core.turns.commands import CallTool, TakeMessage
from callgate.errors import StoreError, ToolError
from callgate.tools import runner as tool_runner
from callgate.tools.runner import MOST_OUTPUT, ToolRunner

TOOL = HttpTool("get_weather", "The weather.", {"type": "object"}, "https://api.example.com/weather")
MESSAGE = Message("Call me back.", "Ada", "+15551230001")


class Place:
    """A runner, and the results it reports."""

    def __init__(self, run_tool=tool_runner.no_tool, keep_message=tool_runner.no_store) -> None:
        self.gave: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.runner = ToolRunner(run_tool, keep_message, lambda call_id, text: self.gave.put_nowait((call_id, text)))

    def start(self, command: CallTool | TakeMessage) -> None:
        self.runner.start(command, contextvars.copy_context())

    async def gives(self, command: CallTool | TakeMessage) -> Any:
        """Run a tool and return its result, decoded from JSON."""
        self.start(command)
        call_id, text = await asyncio.wait_for(self.gave.get(), 10)
        assert call_id == command.call_id
        return json.loads(text)


async def hangs(tool: HttpTool, arguments: Mapping[str, Any]) -> str:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def test_what_the_owners_server_gave_is_told():
    async def run(tool, arguments):
        return json.dumps({"tool": tool.name, "city": arguments["city"]})

    gave = await Place(run).gives(CallTool("call_1", TOOL, {"city": "Bonn"}))
    assert gave == {"tool": "get_weather", "city": "Bonn"}


async def test_what_is_long_is_cut_and_says_so():
    async def run(tool, arguments):
        return "ä" * MOST_OUTPUT

    place = Place(run)
    place.start(CallTool("call_1", TOOL, {}))
    _, text = await asyncio.wait_for(place.gave.get(), 10)
    assert text == "ä" * (MOST_OUTPUT // 2) + f" [cut off: {MOST_OUTPUT} bytes more]"


async def test_why_a_tool_failed_is_told():
    async def run(tool, arguments):
        raise ToolError("its server did not answer")

    assert await Place(run).gives(CallTool("call_1", TOOL, {})) == {"error": "its server did not answer"}


async def test_a_fault_of_ours_is_in_the_log_and_its_text_is_not_told(log):
    async def run(tool, arguments):
        raise RuntimeError("what nobody should read")

    gave = await Place(run).gives(CallTool("call_1", TOOL, {}))
    assert "RuntimeError" in log.getvalue()
    assert "nobody" not in gave["error"]


async def test_a_tool_that_does_not_hold_its_deadline_is_given_up(monkeypatch):
    monkeypatch.setattr(tool_runner, "GRACE", 0.0)
    tool = HttpTool("slow", "", {}, "https://api.example.com/", timeout=0.01)
    assert "no answer" in (await Place(hangs).gives(CallTool("call_1", tool, {})))["error"]


async def test_a_message_is_kept_and_the_log_shows_neither_its_words_nor_the_number(log):
    kept = []

    async def keep(call_id, message):
        kept.append((call_id, message))

    assert await Place(keep_message=keep).gives(TakeMessage("call_1", MESSAGE)) == {"ok": True}
    assert kept == [("call_1", MESSAGE)]
    assert "+*********01" in log.getvalue()
    assert not [words for words in ("Call me", "Ada", "+15551230001") if words in log.getvalue()]


@pytest.mark.parametrize("kept", ["refused", "late"])
async def test_a_message_that_can_not_be_kept_is_not_said_to_be(log, monkeypatch, kept):
    async def keep(call_id, message):
        if kept == "refused":
            raise StoreError("the disk is full")
        await asyncio.Event().wait()

    monkeypatch.setattr(tool_runner, "KEEP_DEADLINE", 0.01)
    gave = await Place(keep_message=keep).gives(TakeMessage("call_1", MESSAGE))
    assert "could not be kept" in gave["error"]
    assert "could not be stored" in log.getvalue()


async def test_when_the_call_ends_requests_are_given_up_and_messages_are_still_kept():
    given_up, kept, may_keep = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(tool, arguments):
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    async def keep(call_id, message):
        await may_keep.wait()
        kept.set()

    place = Place(run, keep)
    place.start(CallTool("call_1", TOOL, {}))
    place.start(TakeMessage("call_2", MESSAGE))
    await asyncio.sleep(0)
    closing = asyncio.create_task(place.runner.close())
    await asyncio.wait_for(given_up.wait(), 10)
    assert not closing.done()
    may_keep.set()
    await asyncio.wait_for(closing, 10)
    assert kept.is_set()
