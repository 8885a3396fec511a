"""Calls, from the webhook to the last verb: the interface for programs and for the command line.

`place_call` and `place_calls` never raise because of the other side: its errors are in the report, with Twilio's codes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from callgate.errors import ConfigError, PhoneError

from .call_log import CallLog
from .callbacks import Callbacks
from .echo import Echo, compare_echoes
from .http import Web, require_twiml_type
from .options import PhoneOptions
from .orders import Orders
from .sids import new_sid
from .simulation import twiml, verbs
from .simulation.caller import Caller
from .simulation.report import CallReport
from .simulation.timeline import mask_url
from .stream_leg import StreamLeg

MAX_VERBS: Final = 50  # per call, so that a loop of redirects ends
API_VERSION: Final = "2010-04-01"


@dataclass(frozen=True, slots=True)
class Document:
    """A request for the TwiML with which a call continues."""

    url: str
    method: str
    form: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CallReports:
    """Several calls made together. ``echo``: None if no call expected one."""

    reports: tuple[CallReport, ...]
    echo: Echo | None

    @property
    def kept(self) -> bool:
        """Whether all promises of all calls were kept."""
        return all(report.kept for report in self.reports)


async def place_call(options: PhoneOptions) -> CallReport:
    """Make one call. Raises `ConfigError` if the CA file can't be used."""
    return (await place_calls([options])).reports[0]


async def place_calls(calls: Sequence[PhoneOptions], *, stagger: float = 0.0) -> CallReports:
    """Make several calls at once, each ``stagger`` seconds after the one before. Raises as `place_call` does."""
    contexts = {ca: tls_context(ca) for ca in {options.ca for options in calls}}

    async def start(number: int, options: PhoneOptions) -> CallReport:
        await asyncio.sleep(number * stagger)
        return await PhoneCall(options, contexts[options.ca]).run()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(start(number, options)) for number, options in enumerate(calls)]
    reports = [task.result() for task in tasks]
    if not any(options.echo for options in calls):
        return CallReports(tuple(reports), None)
    expected = [options.echo for options in calls]
    judged, echo = await asyncio.to_thread(compare_echoes, reports, expected)
    return CallReports(judged, echo)


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the system's CAs, as Twilio does, or only ``ca``. Raises `ConfigError`."""
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError([f"{ca} can't be used as a CA file ({exc.strerror or exc}): name a PEM file"]) from exc


class PhoneCall:
    """One call."""

    def __init__(self, options: PhoneOptions, tls: ssl.SSLContext) -> None:
        self.sid = options.call_sid or new_sid("CA")
        self._options = options
        self._tls = tls
        self._log = CallLog(options.on_event)
        self._caller = Caller(
            options.script,
            self._log.timeline,
            greeted=options.greeting,
            quiet_seconds=options.quiet_seconds,
            wait_clip=options.wait_clip,
            reply_within=options.reply_within,
        )
        self._orders = options.orders or Orders()
        self._status = "ringing"

    async def run(self) -> CallReport:
        """Make the call, and return the report when it is over."""
        self._log.begin()
        options = self._options
        async with (
            Web(self._tls, options.auth_token, options.limits, options.connect_to) as web,
            Callbacks(web, self._log.error) as callbacks,
        ):
            self._web = web
            self._streams = StreamLeg(self.sid, options, self._tls, self._log, self._caller, self._orders, callbacks)
            await self._execute()
            seconds = self._log.now()
            self._log.timeline.add(seconds, "ended", self._log.ended)
            if options.status_callback is not None:
                over = {"CallStatus": "completed", "CallDuration": str(round(seconds)), "Timestamp": formatdate()}
                callbacks.tell("POST", options.status_callback, {**self._form(), **over})
        return self._log.report(self.sid, options, self._caller, seconds)

    # TwiML

    async def _execute(self) -> None:
        options = self._options
        try:
            if urlsplit(options.to).scheme in ("ws", "wss"):
                stream = verbs.Stream(options.to, "", tuple(options.parameters.items()), None, "POST")
                await self._run_verbs((verbs.Connect(stream, None, "POST"),), options.to)
                return
            document: Document | None = Document(options.to, options.method, {})
            while document is not None and self._may_go_on():
                url = document.url
                document = await self._run_verbs(*await self._fetch(document))
                while (ordered := self._orders.take()) is not None and self._may_go_on():
                    document = await self._run_verbs(ordered, url)
        except PhoneError as exc:
            self._log.error(exc.code, exc.reason)
            self._log.end("there was no valid TwiML")
        except twiml.NotSimulatedError as exc:
            self._log.error(0, str(exc))
            self._log.end("the phone does not simulate this TwiML")

    async def _fetch(self, document: Document) -> tuple[tuple[verbs.Verb, ...], str]:
        answer = await self._web.ask(document.method, document.url, {**self._form(), **document.form})
        self._status = "in-progress"
        self._log.note(
            "webhook",
            f"{document.method} {mask_url(document.url)}: {answer.status} in {answer.seconds * 1000:.0f} ms "
            f"(connect {answer.connect_seconds * 1000:.0f} ms)",
            status=answer.status,
            seconds=round(answer.seconds, 4),
            connect_seconds=round(answer.connect_seconds, 4),
        )
        require_twiml_type(answer)
        found = twiml.parse(answer.body)
        self._log.documents.append(answer.body.decode("utf-8", "replace"))
        names = ", ".join(type(verb).__name__ for verb in found) or "no verbs"
        self._log.note("twiml", names, verbs=names)
        return found, answer.url

    async def _run_verbs(self, program: Sequence[verbs.Verb], base: str) -> Document | None:
        """Execute a document. Returns the next one to request, or None if there is none."""
        for verb in program:
            if not self._may_go_on() or self._orders.waiting:
                return None
            self._log.verbs.append(verb)
            name, continued = type(verb).__name__, bool(self._log.closes)
            text = verbs.describe(verb) + (" (TwiML continued)" if continued else "")
            self._log.note("verb", text, verb=name, continued=continued)
            match verb:
                case verbs.Connect():
                    await self._streams.hold(verb.stream, base)
                    if self._log.ended or self._orders.waiting:
                        return None
                    if verb.action is not None:
                        return Document(urljoin(base, verb.action), verb.method, {})
                case verbs.Pause():
                    await self._pass(verb.seconds)
                case verbs.Redirect():
                    return Document(urljoin(base, verb.url), verb.method, {})
                case verbs.Play(digits=str() as digits) if digits:
                    self._log.digits.append(digits)
                    await self._pass(verb.seconds)
                case verbs.Dial():
                    dialled = await self._dial(verb)
                    if verb.action is not None:
                        return Document(urljoin(base, verb.action), verb.method, dialled)
                case verbs.Record():
                    recorded = {"RecordingSid": new_sid("RE"), "RecordingDuration": "0", "Digits": "hangup"}
                    return Document(urljoin(base, verb.action or ""), verb.method, recorded)
                case verbs.Hangup():
                    self._log.end("the app hung up")
                    return None
                case verbs.Reject():
                    self._log.end("the app rejected the call")
                    return None
        if self._orders.waiting:
            return None
        self._log.end("dialled" if program and isinstance(program[-1], verbs.Dial) else "the TwiML has ended")
        return None

    async def _dial(self, dial: verbs.Dial) -> dict[str, str]:
        """Ring somebody. Returns what Twilio reports about it: https://www.twilio.com/docs/voice/twiml/dial#action."""
        outcomes = self._options.dials
        outcome = outcomes[len(self._log.dialled)] if len(self._log.dialled) < len(outcomes) else "answered"
        self._log.dialled.append(dial.number)
        if outcome == "no-answer":
            await self._pass(min(dial.timeout, self._options.ring_seconds))
        self._log.note("dialled", outcome, outcome=outcome)
        sid = {"DialCallSid": new_sid("CA")}
        if outcome == "answered":
            return {**sid, "DialCallStatus": "completed", "DialCallDuration": "0", "DialBridged": "true"}
        return {**sid, "DialCallStatus": outcome, "DialBridged": "false"}

    async def _pass(self, seconds: float) -> None:
        """Let time pass, but not beyond the call's time limit."""
        await self._orders.wait(max(0.0, min(seconds, self._options.max_seconds - self._log.now())))

    def _may_go_on(self) -> bool:
        if len(self._log.verbs) >= MAX_VERBS or len(self._log.documents) >= MAX_VERBS:
            raise PhoneError(11200, f"the TwiML did not end within {MAX_VERBS} verbs: it redirects in a loop")
        if self._log.now() >= self._options.max_seconds:
            self._log.overran = True
            self._log.end("it lasted too long")
        return not self._log.ended

    def _form(self) -> dict[str, str]:
        options = self._options
        return {
            "AccountSid": options.account_sid,
            "ApiVersion": API_VERSION,
            "CallSid": self.sid,
            "CallStatus": self._status,
            "Called": options.to_number,
            "Caller": options.from_number,
            "Direction": options.direction,
            "From": options.from_number,
            "To": options.to_number,
        }
