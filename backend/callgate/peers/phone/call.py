"""Calls, from the webhook to the last verb: what programs and the command line use.

`place_call` and `place_calls` never raise for what the other side does: that is in the report, with Twilio's codes.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from callgate.errors import ConfigError, PhoneError

from . import twiml, verbs
from .callbacks import Callbacks
from .caller import Caller, Utterance
from .echo import Echo, compare_echoes
from .http import Web, require_twiml_type
from .line import Line, Recording, make_start
from .options import PhoneOptions
from .orders import Orders
from .promises import Facts, judge
from .report import CallError, CallReport, Spoken, StreamClose
from .script import Interrupt
from .stream import StreamRun, open_stream
from .timeline import Timeline, mask_url

MAX_VERBS: Final = 50  # of one call, so that a loop of redirects ends
API_VERSION: Final = "2010-04-01"


@dataclass(frozen=True, slots=True)
class Document:
    """A request for TwiML that a call goes on with."""

    url: str
    method: str
    form: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Calls:
    """Several calls made together. ``echo`` is there where it was asked for."""

    reports: tuple[CallReport, ...]
    echo: Echo | None

    @property
    def kept(self) -> bool:
        """Whether all promises of all calls were."""
        return all(report.kept for report in self.reports)


async def place_call(options: PhoneOptions) -> CallReport:
    """Make one call. Raises `ConfigError` where the CA file can't be used."""
    return (await place_calls([options])).reports[0]


async def place_calls(calls: Sequence[PhoneOptions], *, stagger: float = 0.0) -> Calls:
    """Make several calls at once, ``stagger`` seconds from one start to the next. Raises as `place_call` does."""
    contexts = {ca: tls_context(ca) for ca in {options.ca for options in calls}}

    async def start(number: int, options: PhoneOptions) -> CallReport:
        await asyncio.sleep(number * stagger)
        return await Call(options, contexts[options.ca]).run()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(start(number, options)) for number, options in enumerate(calls)]
    reports = [task.result() for task in tasks]
    if not any(options.echo for options in calls):
        return Calls(tuple(reports), None)
    expected = [options.echo for options in calls]
    judged, echo = await asyncio.to_thread(compare_echoes, reports, expected)
    return Calls(judged, echo)


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """What Twilio trusts: the system's store, or only ``ca``. Raises `ConfigError`."""
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError([f"{ca} can't be used as a CA file ({exc.strerror or exc}): name a PEM file"]) from exc


def new_sid(prefix: str) -> str:
    """A fresh SID: two letters and 32 hexadecimal digits."""
    return prefix + secrets.token_hex(16)


class Call:
    """One call."""

    def __init__(self, options: PhoneOptions, tls: ssl.SSLContext) -> None:
        self.sid = options.call_sid or new_sid("CA")
        self.timeline = Timeline(options.on_event)
        self._options = options
        self._tls = tls
        self._caller = Caller(
            options.script,
            self.timeline,
            greeted=options.greeting,
            quiet_seconds=options.quiet_seconds,
            reply_within=options.reply_within,
        )
        self._recording = Recording()
        self._errors: list[CallError] = []
        self._orders = options.orders or Orders()
        self._documents: list[str] = []
        self._verbs: list[verbs.Verb] = []
        self._dialled: list[str] = []
        self._digits: list[str] = []
        self._lines: list[Line] = []
        self._closes: list[StreamClose] = []
        self._status = "ringing"
        self._ended = ""
        self._overran = False

    async def run(self) -> CallReport:
        """Make the call, to its end."""
        loop = asyncio.get_running_loop()
        self._zero = loop.time()
        options = self._options
        async with (
            Web(self._tls, options.auth_token, options.limits, options.connect_to) as web,
            Callbacks(web, self._error) as callbacks,
        ):
            self._web = web
            self._callbacks = callbacks
            await self._execute()
            seconds = self._clock()
            self.timeline.add(seconds, "ended", self._ended)
            if options.status_callback is not None:
                over = {"CallStatus": "completed", "CallDuration": str(round(seconds)), "Timestamp": formatdate()}
                callbacks.tell("POST", options.status_callback, {**self._form(), **over})
        return self._report(seconds)

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
            self._error(exc.code, exc.reason)
            self._end("the TwiML could not be had")
        except twiml.NotSimulated as exc:
            self._error(0, str(exc))
            self._end("the phone can't act out the TwiML")

    async def _fetch(self, document: Document) -> tuple[tuple[verbs.Verb, ...], str]:
        answer = await self._web.ask(document.method, document.url, {**self._form(), **document.form})
        self._status = "in-progress"
        self.timeline.add(
            self._clock(),
            "webhook",
            f"{document.method} {mask_url(document.url)}: {answer.status} in {answer.seconds * 1000:.0f} ms "
            f"(connect {answer.connect_seconds * 1000:.0f} ms)",
            status=answer.status,
            seconds=round(answer.seconds, 4),
            connect_seconds=round(answer.connect_seconds, 4),
        )
        require_twiml_type(answer)
        found = twiml.parse(answer.body)
        self._documents.append(answer.body.decode("utf-8", "replace"))
        names = ", ".join(type(verb).__name__ for verb in found) or "no verbs"
        self.timeline.add(self._clock(), "twiml", names, verbs=names)
        return found, answer.url

    async def _run_verbs(self, program: Sequence[verbs.Verb], base: str) -> Document | None:
        """Execute a document. Returns the one to go on with, or None when the call is over."""
        for verb in program:
            if not self._may_go_on() or self._orders.waiting:
                return None
            self._verbs.append(verb)
            name, continued = type(verb).__name__, bool(self._closes)
            text = verbs.describe(verb) + (" (TwiML continued)" if continued else "")
            self.timeline.add(self._clock(), "verb", text, verb=name, continued=continued)
            match verb:
                case verbs.Connect():
                    await self._connect(verb.stream, base)
                    if self._ended or self._orders.waiting:
                        return None
                    if verb.action is not None:
                        return Document(urljoin(base, verb.action), verb.method, {})
                case verbs.Pause():
                    await self._pass(verb.seconds)
                case verbs.Redirect():
                    return Document(urljoin(base, verb.url), verb.method, {})
                case verbs.Play(digits=str() as digits) if digits:
                    self._digits.append(digits)
                    await self._pass(verb.seconds)
                case verbs.Dial():
                    dialled = await self._dial(verb)
                    if verb.action is not None:
                        return Document(urljoin(base, verb.action), verb.method, dialled)
                case verbs.Record():
                    recorded = {"RecordingSid": new_sid("RE"), "RecordingDuration": "0", "Digits": "hangup"}
                    return Document(urljoin(base, verb.action or ""), verb.method, recorded)
                case verbs.Hangup():
                    self._end("the app hung up")
                    return None
                case verbs.Reject():
                    self._end("the app rejected the call")
                    return None
        if self._orders.waiting:
            return None
        self._end("dialled" if program and isinstance(program[-1], verbs.Dial) else "the TwiML has ended")
        return None

    async def _dial(self, dial: verbs.Dial) -> dict[str, str]:
        """Ring somebody. Returns what Twilio tells of it: https://www.twilio.com/docs/voice/twiml/dial#action."""
        outcomes = self._options.dials
        outcome = outcomes[len(self._dialled)] if len(self._dialled) < len(outcomes) else "answered"
        self._dialled.append(dial.number)
        if outcome == "no-answer":
            await self._pass(min(dial.timeout, self._options.ring_seconds))
        self.timeline.add(self._clock(), "dialled", outcome, outcome=outcome)
        sid = {"DialCallSid": new_sid("CA")}
        if outcome == "answered":
            return {**sid, "DialCallStatus": "completed", "DialCallDuration": "0", "DialBridged": "true"}
        return {**sid, "DialCallStatus": outcome, "DialBridged": "false"}

    async def _pass(self, seconds: float) -> None:
        """Let time pass, but not more than the call has."""
        await self._orders.wait(max(0.0, min(seconds, self._options.max_seconds - self._clock())))

    def _may_go_on(self) -> bool:
        if len(self._verbs) >= MAX_VERBS or len(self._documents) >= MAX_VERBS:
            raise PhoneError(11200, f"the TwiML has gone on for {MAX_VERBS} verbs: it redirects in a loop")
        if self._clock() >= self._options.max_seconds:
            self._overran = True
            self._end("it lasted too long")
        return not self._ended

    # The stream

    async def _connect(self, stream: verbs.Stream, base: str) -> None:
        """Hold the call on a stream. One that can't be opened is an error, and TwiML continues."""
        options, faults = self._options, self._options.faults
        stream_sid = new_sid("MZ")
        tell = self._stream_callback(stream, base, stream_sid)
        try:
            url = twiml.check_stream_url(faults.stream_url(stream.url) if faults.stream_url else stream.url)
            if "?" in stream.url:
                self.timeline.add(self._clock(), "warning", "Twilio drops the query string of the stream's URL")
            signature = faults.sign_upgrade(options.auth_token, url)
            opened = await open_stream(url, signature, self._tls, options.limits, options.connect_to)
        except PhoneError as exc:
            self._error(exc.code, exc.reason)
            tell("stream-error", str(exc))
            if urlsplit(options.to).scheme in ("ws", "wss"):
                self._end("the stream was refused")
            return
        parts = {"tcp": opened.tcp_seconds, "tls": opened.tls_seconds, "upgrade": opened.upgrade_seconds}
        shown = ", ".join(
            f"{name.upper() if name != 'upgrade' else name} {s * 1000:.0f} ms" for name, s in parts.items()
        )
        self.timeline.add(
            self._clock(), "connected", shown, **{f"{name}_seconds": round(s, 4) for name, s in parts.items()}
        )
        parameters = dict(stream.parameters)
        if faults.parameters is not None:
            parameters = dict(faults.parameters(parameters))
        line = Line(
            make_start((stream_sid, options.account_sid, self.sid), parameters),
            self._caller,
            self._recording,
            self.timeline,
        )
        self._lines.append(line)
        tell("stream-started")
        run = StreamRun(opened.connection, line, faults, options.limits, self._clock, options.max_seconds, self._orders)
        close = await run.run()
        self._closes.append(close)
        self._errors += line.errors
        self._overran = self._overran or run.overran
        if line.marks:
            self.timeline.add(close.at, "marks", f"{line.marks} acknowledged", marks=line.marks)
        self.timeline.add(close.at, "close", f"by {close.by}: {close.reason}", by=close.by, code=close.code)
        tell("stream-stopped")
        if close.by == "caller" and not self._orders.waiting:
            self._end("it lasted too long" if run.overran else "the caller hung up")

    def _stream_callback(self, stream: verbs.Stream, base: str, stream_sid: str) -> Callable[..., None]:
        """What tells the stream's ``statusCallback``, where it has one, of a StreamEvent and a StreamError."""

        def tell(event: str, error: str = "") -> None:
            if stream.status_callback is None:
                return
            form = {
                "AccountSid": self._options.account_sid,
                "CallSid": self.sid,
                "StreamSid": stream_sid,
                "StreamName": stream.name or stream_sid,
                "StreamEvent": event,
                "Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
                **({"StreamError": error} if error else {}),
            }
            self._callbacks.tell(stream.status_callback_method, urljoin(base, stream.status_callback), form)

        return tell

    # What is said about it

    def _clock(self) -> float:
        return asyncio.get_running_loop().time() - self._zero

    def _end(self, why: str) -> None:
        self._ended = self._ended or why

    def _error(self, code: int, reason: str) -> None:
        now = self._clock()
        self._errors.append(CallError(code, reason, now))
        self.timeline.add(now, "error", f"{reason} (Twilio error {code})" if code else reason, code=code)

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

    def _report(self, seconds: float) -> CallReport:
        executed = [verbs.describe(verb) for verb in self._verbs]
        errors = tuple(sorted(self._errors, key=lambda error: error.at))
        facts = Facts(errors, len(self._lines), executed, self._ended, self._overran)
        return CallReport(
            call_sid=self.sid,
            ended=self._ended,
            seconds=seconds,
            events=tuple(self.timeline.events),
            promises=judge(self._options, self._caller, facts),
            errors=errors,
            twiml_documents=tuple(self._documents),
            verbs=tuple(type(verb).__name__ for verb in self._verbs),
            dialled=tuple(self._dialled),
            digits=tuple(self._digits),
            stream_sids=tuple(line.start.stream_sid for line in self._lines),
            closes=tuple(self._closes),
            said=bytes(self._recording.said),
            heard=bytes(self._recording.heard),
            audio_began=self._recording.began or 0.0,
            utterances=tuple(_spoken(utterance) for utterance in self._caller.utterances),
            first_audio=self._lines[0].first_audio if self._lines else None,
            marks=sum(line.marks for line in self._lines),
            clears=sum(line.clears for line in self._lines),
        )


def _spoken(utterance: Utterance) -> Spoken:
    cleared = utterance.cleared
    return Spoken(
        name=utterance.words.name,
        audio=utterance.words.audio,
        began=utterance.began,
        speech_ended=utterance.speech_ended,
        at_byte=utterance.began_at_byte,
        latency=utterance.latency,
        interrupts=isinstance(utterance.words, Interrupt),
        cleared_after=None if cleared is None else cleared - utterance.began,
        spoken_over=utterance.spoken_over,
    )
