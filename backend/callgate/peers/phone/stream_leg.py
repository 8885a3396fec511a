"""The part of a call that ``<Connect><Stream>`` holds on streams."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

from callgate.errors import PhoneError

from .call_log import CallLog
from .callbacks import Callbacks
from .options import PhoneOptions
from .orders import Orders
from .sids import new_sid
from .simulation import twiml, verbs
from .simulation.caller import Caller
from .simulation.line import Line, make_start
from .stream import StreamRun, open_stream


class StreamLeg:
    """The streams of one call, one after the other, all with the same caller."""

    def __init__(
        self,
        call_sid: str,
        options: PhoneOptions,
        tls: ssl.SSLContext,
        log: CallLog,
        caller: Caller,
        orders: Orders,
        callbacks: Callbacks,
    ) -> None:
        self._call_sid, self._options, self._tls, self._log = call_sid, options, tls, log
        self._caller, self._orders, self._callbacks = caller, orders, callbacks

    async def hold(self, stream: verbs.Stream, base: str) -> None:
        """Hold the call on a stream until it ends. If it can't be opened, note an error, and let the TwiML continue."""
        options, faults = self._options, self._options.faults
        stream_sid = new_sid("MZ")
        tell = self._status_callback(stream, base, stream_sid)
        try:
            url = twiml.check_stream_url(faults.stream_url(stream.url) if faults.stream_url else stream.url)
            if "?" in stream.url:
                self._log.note("warning", "Twilio drops the query string of the stream's URL")
            signature = faults.sign_upgrade(options.auth_token, url)
            opened = await open_stream(url, signature, self._tls, options.limits, options.connect_to)
        except PhoneError as exc:
            self._log.error(exc.code, exc.reason)
            tell("stream-error", str(exc))
            if urlsplit(options.to).scheme in ("ws", "wss"):
                self._log.end("the stream was refused")
            return
        parts = {"tcp": opened.tcp_seconds, "tls": opened.tls_seconds, "upgrade": opened.upgrade_seconds}
        shown = ", ".join(
            f"{name.upper() if name != 'upgrade' else name} {s * 1000:.0f} ms" for name, s in parts.items()
        )
        self._log.note("connected", shown, **{f"{name}_seconds": round(s, 4) for name, s in parts.items()})
        parameters = dict(stream.parameters)
        if faults.parameters is not None:
            parameters = dict(faults.parameters(parameters))
        line = Line(
            make_start((stream_sid, options.account_sid, self._call_sid), parameters),
            self._caller,
            self._log.recording,
            self._log.timeline,
        )
        self._log.lines.append(line)
        tell("stream-started")
        run = StreamRun(
            opened.connection, line, faults, options.limits, self._log.now, options.max_seconds, self._orders
        )
        close = await run.run()
        self._log.closes.append(close)
        self._log.errors += line.errors
        self._log.overran = self._log.overran or run.overran
        if line.marks:
            self._log.timeline.add(close.at, "marks", f"{line.marks} acknowledged", marks=line.marks)
        self._log.timeline.add(close.at, "close", f"by {close.by}: {close.reason}", by=close.by, code=close.code)
        tell("stream-stopped")
        if close.by == "caller" and not self._orders.waiting:
            self._log.end("it lasted too long" if run.overran else "the caller hung up")

    def _status_callback(self, stream: verbs.Stream, base: str, stream_sid: str) -> Callable[..., None]:
        """Return a function that sends a StreamEvent and StreamError to the stream's ``statusCallback``, if any."""

        def tell(event: str, error: str = "") -> None:
            if stream.status_callback is None:
                return
            form = {
                "AccountSid": self._options.account_sid,
                "CallSid": self._call_sid,
                "StreamSid": stream_sid,
                "StreamName": stream.name or stream_sid,
                "StreamEvent": event,
                "Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
                **({"StreamError": error} if error else {}),
            }
            self._callbacks.tell(stream.status_callback_method, urljoin(base, stream.status_callback), form)

        return tell
