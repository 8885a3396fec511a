"""Runs those tools of a call that have an effect outside it: on the owner's server, or in the store.

None outlasts its deadline, and its result, or why there is none, is returned as text that a model may read. When the
call ends, requests are cancelled; a message that a caller left is still stored.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from callgate.core.masking import mask_number
from callgate.core.tools.toolbox import HttpTool, Message
from callgate.core.turns.commands import CallTool, TakeMessage
from callgate.core.turns.tool_desk import OK, failure
from callgate.core.units import SECONDS
from callgate.errors import StoreError, ToolError

log = logging.getLogger(__name__)

KEEP_DEADLINE: Final = 3 * SECONDS  # for the store to save a message
GRACE: Final = 1 * SECONDS  # for a tool to enforce its own deadline, and report it
MOST_OUTPUT: Final = 8 * 1024  # bytes of a tool's result that the model is told

# Calls the owner's server, within the tool's deadline. Raises `ToolError`, whose text the model may read.
RunTool = Callable[[HttpTool, Mapping[str, Any]], Awaitable[str]]
# Stores a message; the first argument identifies it. Raises `StoreError`.
KeepMessage = Callable[[str, Message], Awaitable[None]]


async def no_tool(tool: HttpTool, arguments: Mapping[str, Any]) -> str:
    """Stand in for running tools where that is not possible. Raises `ToolError`."""
    raise ToolError("this tool can't be used now")


async def no_store(call_id: str, message: Message) -> None:
    """Stand in for the store where there is none. Raises `StoreError`."""
    raise StoreError("nothing is kept of calls")


class ToolRunner:
    """The running tools of one call. ``done``: called with the id of the request and the tool's result."""

    def __init__(self, run_tool: RunTool, keep_message: KeepMessage, done: Callable[[str, str], None]) -> None:
        self._run_tool = run_tool
        self._keep_message = keep_message
        self._done = done
        self._asking: set[asyncio.Task[None]] = set()
        self._keeping: set[asyncio.Task[None]] = set()

    def start(self, command: CallTool | TakeMessage, context: contextvars.Context) -> None:
        """Start a tool. ``context``: names the call in the log."""
        if isinstance(command, CallTool):
            work, tasks = self._ask(command.tool, command.arguments), self._asking
        else:
            work, tasks = self._keep(command.call_id, command.message), self._keeping
        task = asyncio.create_task(self._run(command.call_id, work), context=context)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def close(self) -> None:
        """The call is over: end all tasks."""
        for task in self._asking:
            task.cancel()
        while tasks := self._asking | self._keeping:
            await asyncio.wait(tasks)

    async def _run(self, call_id: str, work: Awaitable[str]) -> None:
        self._done(call_id, await work)

    async def _ask(self, tool: HttpTool, arguments: Mapping[str, Any]) -> str:
        try:
            async with asyncio.timeout(tool.timeout + GRACE):
                return cut(await self._run_tool(tool, arguments))
        except TimeoutError:
            log.error("The tool %s exceeded its deadline, and was cancelled", tool.name)
            return failure(f"it gave no answer within {tool.timeout:g} s")
        except ToolError as exc:
            return failure(str(exc))
        except Exception:
            log.exception("Unexpected error in the tool %s", tool.name)
            return failure("it failed, by a fault of ours")

    async def _keep(self, call_id: str, message: Message) -> str:
        try:
            async with asyncio.timeout(KEEP_DEADLINE):
                await self._keep_message(call_id, message)
        except (StoreError, TimeoutError) as exc:
            log.error("A message from the caller could not be stored: %s", exc or f"not within {KEEP_DEADLINE:.0f} s")
            return failure("the message could not be kept: tell the caller so")
        call_back = f", who wants to be called back at {mask_number(message.callback)}" if message.callback else ""
        log.info("Took a message of %d characters from the caller%s", len(message.text), call_back)
        return OK


def cut(output: str) -> str:
    """Return a tool's result, cut to what the model is told."""
    data = output.encode(errors="replace")
    if len(data) <= MOST_OUTPUT:
        return output
    return data[:MOST_OUTPUT].decode(errors="ignore") + f" [cut off: {len(data) - MOST_OUTPUT} bytes more]"
