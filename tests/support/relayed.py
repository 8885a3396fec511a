"""Outcomes of a relayed call, for tests to wait for."""

from __future__ import annotations

import asyncio
from xml.etree import ElementTree


async def meets_the_safety_net(service, log, call) -> None:
    """Check that the caller is told and the call ended, and that the log gives the reason with the call's ID and no
    traceback."""
    await until(lambda: f"[{call.call_sid}]" in log.getvalue())
    _, document = await service.webhook("/call-interrupted", CallSid=call.call_sid)
    assert [verb.tag for verb in ElementTree.fromstring(document)] == ["Say", "Hangup"]
    assert any(
        call.call_sid in line and (" ERROR - " in line or " WARNING - " in line) for line in log.getvalue().splitlines()
    )
    assert "Traceback" not in log.getvalue()
    assert service.services.switchboard.registry.live == 0


async def until(condition) -> None:
    """Poll until a condition holds that nothing signals."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)
