"""Calls through one relay: open them, keep them up, measure them, and hang up."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
import time
import xml.etree.ElementTree as ElementTree
from array import array
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from callgate.core.units import SECONDS
from callgate.peers.phone.simulation.signing import sign_upgrade, sign_webhook
from picows import WSError, ws_connect

from . import wire
from .contenders import AUTH_TOKEN, BASE_URL, DOMAIN, Door, Relay
from .errors import CallRefused
from .flow import FRAME_BYTES, Flow, Hop, pattern, silence
from .generator import Caller, Pacer, Tally
from .model import Load, Model
from .window import OVERDUE, Spread, Window

OPEN_TIMEOUT = 15 * SECONDS
CLOSE_TIMEOUT = 5 * SECONDS
CALM_TIMEOUT = 5 * SECONDS
CATCH_UP = 0.2 * SECONDS
GIVEN_UP = 1 * SECONDS  # a piece that has not arrived by then is lost
AT_ONCE = 8  # calls opened concurrently


class Rig:
    """The generator and the model around a relay, while the context lasts. It does not run the relay. ``source`` is
    the address that calls come from."""

    def __init__(self, load: Load, *, model_tls: ssl.SSLContext | None = None, source: str | None = None) -> None:
        self.source = source
        self.callers: dict[int, Caller] = {}
        self.model = Model(load, self.callers.get, model_tls)
        self.tally = Tally()
        self.troubled = False  # whether a window saw a call end, or a similar problem
        self._to_model, self._to_caller = Hop(), Hop()
        self._numbers = 0

    async def __aenter__(self) -> Self:
        await self.model.start()
        self._pacer = Pacer()
        connector = aiohttp.TCPConnector(local_addr=self._local_addr)
        self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=OPEN_TIMEOUT))
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pacer.stop()
        async with contextlib.AsyncExitStack() as each:  # whatever one of them raises, the rest are closed too
            each.push_async_callback(self.model.stop)
            each.push_async_callback(self._http.close)
            await self.hang_up(list(self.callers))

    # Calls.

    async def set_calls(self, relay: Relay, count: int, door: Door | None = None) -> None:
        """Open calls, or hang some up, until there are ``count``. Raises `CallRefused`."""
        await self.hang_up(list(self.callers)[count:])
        gate = asyncio.Semaphore(AT_ONCE)

        async def open_one() -> None:
            async with gate:
                await self.open_call(relay, door)

        opening = [asyncio.ensure_future(open_one()) for _ in range(count - len(self.callers))]
        if not opening:
            return
        try:
            await asyncio.gather(*opening)
        finally:
            for task in opening:
                task.cancel()
            await asyncio.wait(opening)

    async def open_call(self, relay: Relay, door: Door | None = None) -> Caller:
        """Open one more call. Raises `CallRefused`."""
        door = door or relay.door
        number, self._numbers = self._numbers, self._numbers + 1
        call_sid = wire.new_sid("CA")
        url = await self.webhook(door, call_sid) if relay.contender.webhooks else f"wss://{DOMAIN}/media-stream"
        token = url.rpartition("/")[2]
        flows = Flow(number, self._to_model), Flow(number, self._to_caller)
        words = silence(FRAME_BYTES) if self.model.load is Load.SILENT else pattern(number, FRAME_BYTES)
        caller = self.callers[number] = Caller(number, *flows, self.tally, call_sid, token, words)
        signature = sign_upgrade(AUTH_TOKEN, url) or ""
        try:
            _, listener = await ws_connect(
                lambda: caller,
                door.stream_url + urlsplit(url).path,
                ssl_context=door.tls,
                extra_headers={"Host": DOMAIN, "x-twilio-signature": signature},
                websocket_handshake_timeout=OPEN_TIMEOUT,
                use_aiofastnet=False,
                local_addr=self._local_addr,
                server_hostname=DOMAIN if door.tls else None,
            )
            if listener is None:  # picows's way to report it
                raise OSError("it closed the connection during the upgrade")
        except BaseException as error:  # including a cancellation
            del self.callers[number]
            if isinstance(error, WSError | OSError | TimeoutError):
                raise CallRefused(f"{relay.contender.name} did not take a stream: {error}") from error
            raise
        self._pacer.add(caller)
        return caller

    async def webhook(self, door: Door, call_sid: str) -> str:
        """Send the webhook of a new call, and return the stream's URL from the TwiML. Raises `CallRefused`."""
        form = {
            "AccountSid": wire.ACCOUNT_SID,
            "CallSid": call_sid,
            "From": "+15550001111",
            "To": "+15550002222",
            "CallStatus": "ringing",
        }
        signature = sign_webhook(AUTH_TOKEN, f"{BASE_URL}/incoming-call", form)
        headers = {"Host": DOMAIN, "X-Twilio-Signature": signature}
        began = time.perf_counter()
        try:
            async with self._http.post(
                door.webhook_url, data=form, headers=headers, ssl=door.tls or True, server_hostname=DOMAIN
            ) as answer:
                document = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CallRefused(f"the webhook was not answered: {error or type(error).__name__}") from error
        self.tally.webhooks.append(time.perf_counter() - began)
        stream = ElementTree.fromstring(document).find("Connect/Stream") if answer.ok else None
        if stream is None:
            raise CallRefused(f"the webhook was answered with {answer.status}: {document[:200]!r}")
        return stream.attrib["url"]

    async def hang_up(self, numbers: Sequence[int]) -> None:
        """End these calls as Twilio does."""
        ending = [self.callers.pop(number) for number in numbers]
        if not ending:
            return
        for caller in ending:
            self._pacer.remove(caller)
            caller.hang_up()
        _, unclosed = await asyncio.wait([caller.closed for caller in ending], timeout=CLOSE_TIMEOUT)
        if unclosed:
            self.tally.problems.append(f"{len(unclosed)} calls were not closed within {CLOSE_TIMEOUT:.0f} s")

    @property
    def _local_addr(self) -> tuple[str, int] | None:
        return None if self.source is None else (self.source, 0)

    # Measuring.

    async def window(
        self,
        relay: Relay,
        seconds: float,
        beside: Callable[[], float] | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> Window:
        """Measure the calls for ``seconds``. ``beside`` returns the CPU seconds of anything else to count; ``begun``
        is called when measuring begins."""
        gc.collect()
        gc.disable()
        try:
            await asyncio.sleep(CATCH_UP)  # frames delayed by the collection must not count
            self._reset()
            begun()
            clocks = (time.perf_counter, relay.cpu_seconds, time.process_time, beside or (lambda: 0.0))
            before = [clock() for clock in clocks]
            await asyncio.sleep(seconds)
            took, relay_cpu, own_cpu, beside_cpu = (
                clock() - began for clock, began in zip(clocks, before, strict=True)
            )
            self._count_overdue(time.perf_counter())
        finally:
            gc.enable()
        problems = (*self.tally.problems, *self.model.problems)
        self.troubled = self.troubled or bool(problems)
        call_ms = 1e3 / (took * max(1, len(self.callers)))
        hops = (self._to_model, self._to_caller)
        return Window(
            calls=len(self.callers),
            seconds=took,
            cpu=relay_cpu * call_ms,
            cpu_beside=beside_cpu * call_ms,
            busy=relay_cpu / took,
            to_model=Spread.of(self._to_model.delays),
            to_caller=Spread.of(self._to_caller.delays),
            clear=Spread.of(self.tally.clear_delays),
            lost=sum(hop.lost for hop in hops),
            repeated=sum(hop.repeated for hop in hops),
            crossed=sum(hop.crossed for hop in hops),
            corrupt=sum(hop.corrupt for hop in hops),
            stale=sum(hop.stale for hop in hops),
            joined=sum(hop.joined for hop in hops),
            problems=problems,
            generator_busy=own_cpu / took,
            generator_late=Spread.of(self._pacer.late).p99,
        )

    async def calm(self, within: float = CALM_TIMEOUT) -> bool:
        """Wait until no audio is overdue. Return False if that takes longer than ``within`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._overdue(time.perf_counter()):  # noqa: ASYNC110 (time alone makes it overdue, so no event tells)
                    await asyncio.sleep(OVERDUE)
                return True
        return False

    def faults(self) -> int:
        """Return the faults since the last window began: pieces of audio that were lost, repeated, misdirected or
        corrupted, and those on their way for more than a second."""
        hops = (self._to_model, self._to_caller)
        amiss = sum(hop.lost + hop.repeated + hop.crossed + hop.corrupt + hop.stale for hop in hops)
        return amiss + len(self._older_than(GIVEN_UP, time.perf_counter()))

    def _reset(self) -> None:
        for part in (self._to_model, self._to_caller, self.tally):
            part.reset()
        self.model.problems.clear()
        self._pacer.late = array("d")

    def _count_overdue(self, now: float) -> None:
        """Record the age of each overdue piece as its delay so far."""
        for caller in self.callers.values():
            for flow, hop in ((caller.to_model, self._to_model), (caller.to_caller, self._to_caller)):
                hop.delays.extend(now - at for at in flow.waiting_since() if now - at > OVERDUE)

    def _overdue(self, now: float) -> bool:
        return bool(self._older_than(OVERDUE, now))

    def _older_than(self, age: float, now: float) -> list[float]:
        flows = (flow for caller in self.callers.values() for flow in (caller.to_model, caller.to_caller))
        return [at for flow in flows for at in flow.waiting_since() if now - at > age]
