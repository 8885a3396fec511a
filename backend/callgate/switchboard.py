"""What is answered to each of Twilio's requests. No web framework here: `callgate.routes` brings requests to it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import partial

from werkzeug.datastructures import Headers

from . import twiml
from .agent import Agent
from .clips import one_moment
from .commands import Outcome
from .config import Config
from .errors import MediaStreamError, RequestRefused
from .ledger import Ledger, Memory
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
from .transcript import Transcript, Turn
from .upstream import Upstream

log = logging.getLogger(__name__)

REFUSED = 1008  # RFC 6455 §7.4.1: policy violation
BAD_MESSAGE = 1002  # protocol error
MOST_RESUMES = 3  # of one call, before its caller is told that we have difficulties
MEMORIES = 1000  # of calls whose streams are awaited
ENDED_STATUSES = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})


class Switchboard:
    """Decides about calls. ``config`` has at least one auth token (`Config.with_rehearsal_token`)."""

    def __init__(self, config: Config, upstream: Upstream, ledger: Ledger) -> None:
        self.config = config
        self.upstream = upstream
        self.ledger = ledger
        self.registry = Registry(config.max_calls)
        self.pulse = Pulse()
        self._memories: dict[str, tuple[Turn, ...]] = {}  # by CallSid: of calls that are about to be taken up again
        self.signature = SignatureCheck(
            config.twilio_auth_tokens, config.base_url, account_sid=config.twilio_account_sid
        )
        self._tokens = StreamTokens(config.twilio_auth_tokens)
        self._agent = Agent(
            config.instructions,
            config.openai_voice,
            config.greeting,
            transcription=config.transcription_model,
            one_moment=one_moment(),
            idle=config.idle_seconds,
            longest=config.max_call_seconds,
            has_second_model=len(upstream.endpoints) > 1,
        )
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
        document = self._connect(call_sid)
        self.parking.open(call_sid)
        self.ledger.call_came(params)
        return document

    async def call_interrupted(self, params: Mapping[str, str], resumed: int) -> str:
        """The stream of a call ended and the caller is still on the line. ``resumed``: how often that has led back to
        the agent before."""
        call_sid = params["CallSid"]
        memory = Memory()
        if (outcome := self.registry.outcome(call_sid)) in (None, Outcome.STREAM_LOST, Outcome.SHUT_DOWN):
            memory = await self.ledger.memory(call_sid)
            if outcome is None or memory.elsewhere:  # another process has served it, or served it since
                outcome = memory.outcome or outcome
        if outcome in (Outcome.GOODBYE, Outcome.CALLER_HUNG_UP):
            return twiml.hang_up()
        why = outcome.value if outcome else "this process knows nothing of the call's stream"
        if outcome is Outcome.FAILED:
            return self._apologise(why)
        if resumed >= MOST_RESUMES:
            return self._apologise(f"it was interrupted {resumed + 1} times")
        if self.registry.draining:
            log.info("The caller is to wait for another process: this one is stopping")
            return twiml.wait(self.config.base_url, resumed)
        if not self.registry.admit(call_sid, time.time()):
            return self._apologise("all lines are busy")
        log.warning("The call was interrupted (%s) and is taken up again", why)
        return self._resume(call_sid, resumed + 1, memory.turns)

    def reconnect(self, call_sid: str) -> str:
        """What connects a call anew whose process is gone."""
        self.ledger.call_resumed(call_sid)
        return self._connect(call_sid, 1)

    def _resume(self, call_sid: str, resumed: int, memory: tuple[Turn, ...]) -> str:
        self._memories[call_sid] = memory
        while len(self._memories) > MEMORIES:
            del self._memories[next(iter(self._memories))]
        self.ledger.call_resumed(call_sid)
        self.parking.open(call_sid, Transcript(memory).history())
        return self._connect(call_sid, resumed)

    def _connect(self, call_sid: str, resumed: int = 0) -> str:
        token = self._tokens.issue(call_sid, time.time(), resumed)
        log.info("Creating Media Stream with URL: %s%s", self.signature.wss_url, twiml.STREAM)
        return twiml.connect_stream(self.config.base_url, token, resumed)

    def _apologise(self, why: str) -> str:
        log.warning(
            "The caller is told that we have difficulties, and %s: %s",
            "is put through to FALLBACK_DIAL"
            if self.config.fallback_dial
            else "to call again (FALLBACK_DIAL is not set)",
            why,
        )
        return twiml.apologise(self.config.fallback_dial)

    def call_status(self, params: Mapping[str, str]) -> None:
        """Twilio tells how a call stands."""
        status = params.get("CallStatus", "")
        log.info("Call status: %s, after %s s", status, params.get("CallDuration", "0"))
        if status in ENDED_STATUSES:
            self.registry.give_up(params["CallSid"])
            self.parking.drop(params["CallSid"])
            if self.registry.outcome(params["CallSid"]) is None:
                self.ledger.call_over(params["CallSid"], status)

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
            claim = self._check_start(start, claim)
            memory = await self._memory(start.call_sid) if claim.resumed else None
            session = Session(
                start,
                socket,
                partial(self.parking.take, start.call_sid),
                self._agent,
                record=self.ledger.recorder(start.call_sid, memory),
                at_end=partial(self.ledger.call_ended, start.call_sid),
                at_failure=self.upstream.failed,
                memory=memory,
                resumes=claim.resumed,
            )
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

    async def _memory(self, call_sid: str) -> tuple[Turn, ...]:
        """What was said before the call was cut off: as it was found at the webhook, where this process answered
        that."""
        if (memory := self._memories.pop(call_sid, None)) is not None:
            return memory
        return (await self.ledger.memory(call_sid)).turns

    def _check_start(self, start: Start, claim: StreamToken | None) -> StreamToken:
        self.signature.check_account(start.account_sid)
        if claim is None:
            claim = self._tokens.read(start.custom_parameters.get("token", ""), time.time())
            self.registry.redeem(claim, time.time())
        if claim.call_sid != start.call_sid:
            raise RequestRefused(f"the stream token is another call's than {start.call_sid}")
        return claim

    async def _run(self, start: Start, session: Session) -> None:
        log.info("Stream started: %s, Call: %s", start.stream_sid, start.call_sid)
        try:
            receipt = await session.run()
            level = logging.ERROR if receipt.ended is Outcome.FAILED else logging.INFO
            log.log(level, "Stream ended: %s: %s", receipt.ended.value, receipt.reason)
            log.info("%s", receipt.line())
        finally:
            self.registry.end(start.call_sid, session, session.outcome or Outcome.FAILED)
