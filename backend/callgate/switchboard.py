"""What is answered to each of Twilio's requests. No web framework here: `callgate.routes` brings requests to it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from werkzeug.datastructures import Headers

from . import twiml
from .config import Config
from .conversation import Agent, End, Outcome
from .errors import MediaStreamError, RequestRefused
from .logs import call_sid as call_in_log
from .logs import mask_number
from .media_stream import Start
from .parking import Parking
from .pulse import Pulse
from .reception import Reception, StreamClosed
from .registry import Registry
from .session import Session
from .signature import SignatureCheck
from .sockets import Socket
from .token import StreamToken, StreamTokens
from .upstream import ModelSocket, Upstream

log = logging.getLogger(__name__)

REFUSED = 1008  # RFC 6455 §7.4.1: policy violation
BAD_MESSAGE = 1002  # protocol error
ENDED_STATUSES = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})


class Switchboard:
    """Decides about calls. ``config`` has at least one auth token (`Config.with_rehearsal_token`)."""

    def __init__(self, config: Config, upstream: Upstream) -> None:
        self.config = config
        self.upstream = upstream
        self.registry = Registry(config.max_calls)
        self.pulse = Pulse()
        self.signature = SignatureCheck(
            config.twilio_auth_tokens, config.base_url, account_sid=config.twilio_account_sid
        )
        self._tokens = StreamTokens(config.twilio_auth_tokens)
        self._agent = Agent(config.instructions, config.openai_voice, config.greeting)
        self.parking = Parking(upstream, self._agent, config.max_calls)

    async def __aenter__(self) -> Switchboard:
        self.pulse.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.pulse.stop()
        await self.parking.close()

    # Webhooks. Each gets the parameters of a request that is known to be Twilio's, and returns TwiML.

    def incoming_call(self, params: Mapping[str, str]) -> str:
        """A call comes in, or one that we placed was answered."""
        call_sid, now = params["CallSid"], time.time()
        log.info("Call from %s to %s", mask_number(params.get("From", "")), mask_number(params.get("To", "")))
        if self.pulse.is_late:
            log.warning("The caller is told that all lines are busy: this process carries no further call")
            return twiml.busy()
        if not self.registry.admit(call_sid, now):
            log.warning("All %d lines are busy: the caller is told so (MAX_CALLS)", self.config.max_calls)
            return twiml.busy()
        document = twiml.connect_stream(self.config.base_url, self._tokens.issue(call_sid, now))
        self.parking.open(call_sid)
        log.info("Creating Media Stream with URL: %s%s", self.signature.wss_url, twiml.STREAM)
        return document

    def call_interrupted(self, params: Mapping[str, str]) -> str:
        """The stream of a call ended and the caller is still on the line."""
        outcome = self.registry.outcome(params["CallSid"])
        if outcome in (Outcome.GOODBYE, Outcome.CALLER_HUNG_UP):
            return twiml.hang_up()
        log.warning(
            "The caller is told that we have difficulties, and %s: %s",
            "is put through to FALLBACK_DIAL"
            if self.config.fallback_dial
            else "to call again (FALLBACK_DIAL is not set)",
            outcome.value if outcome else "this process knows nothing of the call's stream",
        )
        return twiml.apologise(self.config.fallback_dial)

    def call_status(self, params: Mapping[str, str]) -> None:
        """Twilio tells how a call stands."""
        status = params.get("CallStatus", "")
        log.info("Call status: %s, after %s s", status, params.get("CallDuration", "0"))
        if status in ENDED_STATUSES:
            self.registry.give_up(params["CallSid"])
            self.parking.drop(params["CallSid"])

    def stream_status(self, params: Mapping[str, str]) -> None:
        """Twilio tells how a stream stands, and what it did not like about it."""
        event = params.get("StreamEvent", "")
        if event == "stream-error":
            log.error("Twilio reports an error of the stream: %s", params.get("StreamError", "(it does not say which)"))
        else:
            log.info("Stream status: %s", event)

    # Streams.

    def check_upgrade(self, target: str, headers: Headers, token: str | None) -> StreamToken | None:
        """Decide about an upgrade to WebSocket, before it is accepted. Returns what its path's token says, if any.

        ``target``: path and raw query, as they were requested. Raises `RequestRefused`.
        """
        self.signature.check_upgrade(target, headers)
        if token is None:
            return None
        claim = self._tokens.read(token, time.time())
        self.registry.redeem(claim, time.time())
        return claim

    async def serve_stream(self, socket: Socket, reception: Reception, claim: StreamToken | None) -> None:
        """Serve an accepted stream to its end. ``reception``: who receives it as yet. ``claim``: its path's token;
        without one, ``start`` must bring it."""
        if claim is not None:
            call_in_log.set(claim.call_sid)
        try:
            start = await reception.start()
            call_in_log.set(start.call_sid)
            self._check_start(start, claim)
            session = Session(start, socket, lambda: self._open_model(start.call_sid), self._agent)
            self.registry.begin(start.call_sid, session)
        except StreamClosed as exc:
            log.warning("The media stream was closed before it started: %s", exc)
        except MediaStreamError as exc:
            log.warning("The media stream is closed: %s", exc)
            socket.close(BAD_MESSAGE, "protocol error")
        except RequestRefused as exc:
            log.warning("The media stream is refused: %s", exc)
            socket.close(REFUSED, "refused")
        else:
            socket.receiver = session
            reception.hand_over(session)
            await self._run(start, session)
        await socket.wait_closed()

    async def _open_model(self, call_sid: str) -> tuple[ModelSocket, bool]:
        """The session that waits for the call; a new one where none does. True: it has been configured."""
        if (model := await self.parking.take(call_sid)) is not None:
            return model, True
        return await self.upstream.open(), False

    def _check_start(self, start: Start, claim: StreamToken | None) -> None:
        self.signature.check_account(start.account_sid)
        if claim is None:
            claim = self._tokens.read(start.custom_parameters.get("token", ""), time.time())
            self.registry.redeem(claim, time.time())
        if claim.call_sid != start.call_sid:
            raise RequestRefused(f"the stream token is another call's than {start.call_sid}")

    async def _run(self, start: Start, session: Session) -> None:
        log.info("Stream started: %s, Call: %s", start.stream_sid, start.call_sid)
        end = End(Outcome.FAILED, "the session broke off")
        try:
            end = await session.run()
        finally:
            self.registry.end(start.call_sid, end.outcome)
            level = logging.ERROR if end.outcome is Outcome.FAILED else logging.INFO
            log.log(level, "Stream ended: %s: %s", end.outcome.value, end.reason)
