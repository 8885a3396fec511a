"""Requests that Twilio once sent, replayed by somebody who saw them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from ..attack import Assault, attack
from ..own_call import OwnCall, frame

A_SECOND = 30.0
A_WHILE = 0.3  # seconds for which the dead call was alive


async def _dead_call(assault: Assault) -> OwnCall:
    """Make a call that is served and then ends."""
    call = OwnCall(assault)
    if await call.comes_in():
        with contextlib.suppress(OSError, EOFError, ValueError, TimeoutError):
            connection = await call.stream()
            await asyncio.sleep(A_WHILE)
            connection.send(frame(call.event("stop", stop={"accountSid": "", "callSid": ""})))
            connection.send(frame((1000).to_bytes(2, "big"), 0x8))
            await asyncio.sleep(A_WHILE)
            connection.abort()
    await call.over()
    return call


async def _again(assault: Assault, requests: Sequence[bytes], a_second: float = A_SECOND) -> None:
    async def do(number: int) -> None:
        await assault.ask(requests[number % len(requests)])

    await assault.paced(a_second, do)


def _replay(name: str, about: str, make: Callable[[Assault], Awaitable[Sequence[bytes]]], **options: int) -> None:
    @attack(name, about, **options)
    async def run(assault: Assault) -> None:
        requests = await make(assault)
        assault.begin()
        await _again(assault, requests)


async def _pair(assault: Assault) -> Sequence[bytes]:
    call = await _dead_call(assault)
    over = call.request("/call-status", CallStatus="completed", CallDuration="1")
    return call.request("/incoming-call"), over


async def _completed(assault: Assault) -> Sequence[bytes]:
    call = await _dead_call(assault)
    call.form["CallStatus"] = "completed"
    return [call.request(path) for path in ("/incoming-call", "/call-interrupted", "/call-transferred")]


async def _after(assault: Assault) -> Sequence[bytes]:
    call = await _dead_call(assault)
    interrupted = call.request("/call-interrupted?resumed=0", CallStatus="in-progress")
    dialled = {"CallStatus": "in-progress", "DialCallStatus": "busy"}
    return interrupted, call.request("/call-transferred?resumed=0&transfers=1", **dialled)


async def _live_interrupted(assault: Assault) -> Sequence[bytes]:
    live = OwnCall(assault, assault.target.live)
    return [live.request(f"/call-interrupted?resumed={resumed}", CallStatus="in-progress") for resumed in range(3)]


async def _live_transferred(assault: Assault) -> Sequence[bytes]:
    live = OwnCall(assault, assault.target.live)
    return [
        live.request(f"/call-transferred?resumed=0&transfers={count}", CallStatus="in-progress", DialCallStatus=status)
        for count in range(1, 3)
        for status in ("busy", "no-answer", "completed")
    ]


async def _live_incoming(assault: Assault) -> Sequence[bytes]:
    return [OwnCall(assault, assault.target.live).request("/incoming-call")]


async def _live_stream_status(assault: Assault) -> Sequence[bytes]:
    live = OwnCall(assault, assault.target.live)
    events = ("stream-started", "stream-stopped")
    return [live.request("/stream-status", StreamSid="MZ" + "0" * 32, StreamEvent=event) for event in events]


async def _amd(assault: Assault) -> Sequence[bytes]:
    call = await _dead_call(assault)
    machine = {"AnsweredBy": "machine_start", "MachineDetectionDuration": "2500"}
    return [call.request("/amd-status", Direction="outbound-api", **machine)]


_replay("replay-dead-call", "The signed /incoming-call and /call-status of a call that is over, 30 a second", _pair)
_replay(
    "replay-completed", "Signed webhooks of a call that is over, with CallStatus=completed, 30 a second", _completed
)
_replay(
    "replay-after", "The signed /call-interrupted and /call-transferred of a call that is over, 30 a second", _after
)
_replay("replay-interrupted", "A signed /call-interrupted of a call that is live, 30 a second", _live_interrupted)
_replay("replay-transferred", "A signed /call-transferred of a call that is live, 30 a second", _live_transferred)
_replay("replay-incoming", "The signed /incoming-call of a call that is live, 30 a second", _live_incoming)
_replay("replay-stream-status", "A signed /stream-status of a call that is live, 30 a second", _live_stream_status)
_replay("replay-amd", "A signed /amd-status that says a machine answered: at most one request to Twilio", _amd, rest=1)


@attack("replay-stream", "A stream's signed upgrade, sent again while the call is live and after it", unit="upgrades")
async def stream_again(assault: Assault) -> None:
    call = OwnCall(assault)
    if not await call.comes_in():
        return
    connection = await call.stream()
    assault.begin()

    async def do(number: int) -> None:
        assault.tried += 1
        try:
            (await call.stream()).abort()
            assault.got["101"] += 1
        except ValueError as error:
            assault.got[str(error).rpartition(" ")[2]] += 1

    try:
        await assault.paced(A_SECOND, do)
    finally:
        connection.abort()
        await call.over()
