"""Carries out the calls that are placed over the REST API. Each is a simulated call to the service, with the
requested callbacks, and follows updates while it lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace

from callgate.errors import PhoneError
from callgate.peers.phone.call import PhoneCall, tls_context
from callgate.peers.phone.http import Web
from callgate.peers.phone.options import PhoneOptions
from callgate.peers.phone.orders import Orders
from callgate.peers.phone.simulation.report import CallReport
from callgate.peers.phone.simulation.script import Hold, Step
from callgate.peers.phone.simulation.timeline import Event

from . import FakeTwilioRest
from .calls import OVER, PlacedCall


@dataclass(frozen=True)
class Answers:
    """Who answers, and what follows. ``status`` is ``in-progress``, or how the call ends without an answer.

    ``by`` is Twilio's ``AnsweredBy``, reported once the stream has started; with None, it never is.
    """

    status: str = "in-progress"
    by: str | None = "human"
    script: tuple[Step, ...] = (Hold(),)


class Exchange:
    """The calls of one API. ``options`` are the phone options they share. ``reports`` are those of answered calls
    that are over; ``told`` lists the callbacks made, with path and parameters.
    """

    def __init__(self, api: FakeTwilioRest, options: PhoneOptions, answers: Answers) -> None:
        self.answers = answers
        self.reports: list[CallReport] = []
        self.told: list[tuple[str, str]] = []
        self._api, self._options = api, options
        self._tls = tls_context(options.ca)
        self._orders: dict[str, Orders] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._failed: list[BaseException] = []

    async def __aenter__(self) -> Exchange:
        self._api.dial, self._api.updated = self._dial, self._update
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._api.dial = self._api.updated = None
        for orders in self._orders.values():
            orders.end()
        if self._calls:
            await asyncio.wait(self._calls, timeout=10)
        assert not self._failed, self._failed

    async def over(self) -> None:
        """Return when every placed call is over."""
        async with asyncio.timeout(30):
            while self._calls:
                await asyncio.wait(self._calls)

    def _dial(self, call: PlacedCall) -> None:
        self._orders[call.sid] = Orders()
        task = asyncio.create_task(self._run(call))
        self._calls.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failed.append(failure)

    def _update(self, call_sid: str, form: dict[str, str]) -> None:
        orders = self._orders[call_sid]
        if "Twiml" in form:
            orders.go_on_with(form["Twiml"])
        else:
            orders.end()

    async def _run(self, call: PlacedCall) -> None:
        options = self._options
        async with Web(self._tls, options.auth_token, options.limits, options.connect_to) as web:
            for status in ("initiated", "ringing"):
                if not await self._stands(web, call, status):
                    break
            else:
                if self.answers.status != "in-progress":
                    await self._stands(web, call, self.answers.status)
                elif await self._stands(web, call, "in-progress"):
                    await self._talk(web, call)
                    await self._stands(web, call, "completed", CallDuration="1")
                return
            await self._tell(web, call, call.parameter("StatusCallback"), CallStatus=self._api.live[call.sid])

    async def _talk(self, web: Web, call: PlacedCall) -> None:
        started = asyncio.Event()

        def note(event: Event) -> None:
            if event.kind == "start":
                started.set()

        options = replace(
            self._options,
            to=call.parameter("Url"),
            call_sid=call.sid,
            direction="outbound-api",
            from_number=call.parameter("From"),
            to_number=call.parameter("To"),
            script=self.answers.script,
            orders=self._orders[call.sid],
            on_event=note,
        )
        detecting = asyncio.create_task(self._detect(web, call, started))
        try:
            self.reports.append(await PhoneCall(options, self._tls).run())
        finally:
            detecting.cancel()
            await asyncio.gather(detecting, return_exceptions=True)

    async def _detect(self, web: Web, call: PlacedCall, started: asyncio.Event) -> None:
        await started.wait()
        if self.answers.by is not None and call.parameter("AsyncAmd") == "true":
            await self._tell(web, call, call.parameter("AsyncAmdStatusCallback"), AnsweredBy=self.answers.by)

    async def _stands(self, web: Web, call: PlacedCall, status: str, **more: str) -> bool:
        """Set the call's status and report it, unless the call is over. Return whether it goes on."""
        known = self._api.live[call.sid]
        if known in OVER and status != "completed":
            return False
        self._api.live[call.sid] = status
        await self._tell(web, call, call.parameter("StatusCallback"), CallStatus=status, **more)
        return self._api.live[call.sid] not in OVER

    async def _tell(self, web: Web, call: PlacedCall, url: str, **what: str) -> None:
        form = {
            "AccountSid": self._api.account_sid,
            "CallSid": call.sid,
            "Direction": "outbound-api",
            "From": call.parameter("From"),
            "To": call.parameter("To"),
            **what,
        }
        with contextlib.suppress(PhoneError):  # the service may be down, which Twilio ignores
            await web.ask("POST", url, form)
        self.told.append((url.partition("?")[0].rpartition("/")[2], what.get("CallStatus") or what["AnsweredBy"]))
