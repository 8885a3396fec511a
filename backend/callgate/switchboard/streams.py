"""The Media Streams: the TwiML that connects one, the check of who may have one, and serving it to its end."""

from __future__ import annotations

import logging
import time
from functools import partial

from werkzeug.datastructures import Headers

from callgate.agents import Assignment, Parties
from callgate.call.reception import Reception, StreamClosedError
from callgate.call.session import Session
from callgate.core.absences import NEVER_AWAY, Absences
from callgate.core.foreign import name_or_length
from callgate.core.gate.signature import SignatureCheck
from callgate.core.gate.stream_token import StreamToken, StreamTokens
from callgate.core.turns.commands import Outcome
from callgate.core.turns.ending import broken
from callgate.core.turns.transcript import Transcript, Turn
from callgate.core.wire import twiml
from callgate.core.wire.media_stream import Start
from callgate.errors import MediaStreamError, RequestRefused
from callgate.logs.setup import call_sid as call_in_log
from callgate.models.upstream import Upstream
from callgate.tools.runner import RunTool
from callgate.websocket.sockets import Socket

from .calls import Calls

log = logging.getLogger(__name__)

REFUSED = 1008  # RFC 6455 §7.4.1: policy violation
BAD_MESSAGE = 1002  # protocol error
MEMORIES = 1000  # resumed calls whose turns are kept until their streams begin


class Streams:
    """The streams of this process's calls, each from the TwiML that has Twilio connect it to its end."""

    def __init__(self, calls: Calls, signature: SignatureCheck, upstream: Upstream, run_tool: RunTool) -> None:
        self._calls, self._signature, self._upstream, self._run_tool = calls, signature, upstream, run_tool
        self._tokens = StreamTokens(calls.config.twilio_auth_tokens)
        self._memories: dict[str, tuple[Turn, ...]] = {}  # CallSid -> the turns of a call that is about to be resumed

    def connect(
        self,
        call_sid: str,
        resumed: int = 0,
        absences: Absences = NEVER_AWAY,
        digits: str = "",
        consent: str = "",
    ) -> str:
        """Return TwiML that connects the call to a new stream. ``digits``: keys to send into the line first;
        ``consent``: the sentence to say first."""
        assigned = self._calls.assigned.known(call_sid)
        parameters = assigned.parameters if assigned else {}
        language = assigned.agent.language if assigned else None
        token = self._tokens.issue(call_sid, time.time(), resumed, absences)
        log.info("Creating Media Stream with URL: %s%s", self._signature.wss_url, twiml.STREAM)
        return twiml.connect_stream(
            self._calls.config.base_url,
            token,
            resumed,
            absences,
            digits,
            parameters=parameters,
            consent=consent,
            language=language,
            proof=self._calls.config.edge_proof,
        )

    def go_on(self, call_sid: str, memory: tuple[Turn, ...], resumed: int, absences: Absences, digits: str = "") -> str:
        """Return the TwiML for a call that is resumed. ``memory``: the turns so far, which the agent is told."""
        self._memories[call_sid] = memory
        while len(self._memories) > MEMORIES:
            del self._memories[next(iter(self._memories))]
        if (assigned := self._calls.assigned.known(call_sid)) is not None:
            self._calls.parking.open(call_sid, assigned.agent, Transcript(memory).history())
        return self.connect(call_sid, resumed, absences, digits)

    def reconnect(self, call_sid: str) -> str:
        """Return TwiML that reconnects a call whose process is gone."""
        self._calls.ledger.call_resumed(call_sid)
        return self.connect(call_sid, 1)

    def check_upgrade(self, target: str, headers: Headers, token: str | None) -> StreamToken | None:
        """Check a WebSocket upgrade before it is accepted. Return the token in its path, if any, once verified.

        ``target``: path and raw query as they were requested. Raises `RequestRefused`.
        """
        self._signature.check_upgrade(target, headers)
        if token is None:
            return None
        claim = self._tokens.read(token, time.time())
        self._calls.registry.redeem(claim, time.time())
        return claim

    async def serve(self, socket: Socket, reception: Reception, claim: StreamToken | None) -> None:
        """Serve an accepted stream to its end. ``reception``: what receives its messages until ``start``. ``claim``:
        the token of its path; if there is none, ``start`` must bring it."""
        if claim is not None:
            call_in_log.set(claim.call_sid)
        try:
            start = await reception.start()
            call_in_log.set(start.call_sid)
            claim = self._check_start(start, claim)
            memory = await self._memory(start.call_sid) if claim.goes_on else None
            assigned = await self._assignment(start, claim)
            agent = assigned.agent
            session = Session(
                start,
                socket,
                partial(self._calls.parking.take, start.call_sid, agent),
                agent,
                record=self._calls.ledger.recorder(start.call_sid, memory),
                at_end=partial(self._calls.ledger.call_ended, start.call_sid),
                at_failure=self._upstream.failed,
                run_tool=self._run_tool,
                keep_message=self._calls.ledger.keeper(start.call_sid),
                memory=memory,
                resumes=claim.resumed,
                absences=claim.absences,
                lasted=self._calls.assigned.lasted(assigned) if claim.goes_on else 0.0,
            )
            self._calls.registry.begin(start.call_sid, session, claim.generation)
        except StreamClosedError as exc:
            log.warning("The media stream was closed before it started: %s", exc)
        except MediaStreamError as exc:
            log.warning("The media stream is closed: %s", exc)
            socket.close(BAD_MESSAGE, "protocol error")
        except RequestRefused as exc:
            log.warning("The media stream is refused: %s", exc)
            socket.close(REFUSED, "refused")
        else:
            socket.serve(session.receiver)
            reception.hand_over(session.receiver)
            await self._run(start, session)
        await socket.wait_closed()

    async def _memory(self, call_sid: str) -> tuple[Turn, ...]:
        """Return the turns before the call was cut off, as the webhook found them if this process answered it."""
        if (memory := self._memories.pop(call_sid, None)) is not None:
            return memory
        return (await self._calls.ledger.memory(call_sid)).turns

    async def _assignment(self, start: Start, claim: StreamToken) -> Assignment:
        """Return the agent assigned to a stream's call. If another process answered its webhook, choose it again, from
        the stream's parameters or the record."""
        if (known := self._calls.assigned.known(start.call_sid)) is not None:
            return known
        parties = Parties.of_parameters(start.custom_parameters)
        if parties is not None and not claim.goes_on:
            return self._calls.assigned.call_goes_on(start.call_sid, parties)
        if (call := (await self._calls.ledger.memory(start.call_sid)).call) is None:
            return self._calls.assigned.call_goes_on(start.call_sid, parties)
        parties = parties or Parties.of(call.direction, call.from_number, call.to_number)
        return self._calls.assigned.call_goes_on(start.call_sid, parties, call.started_at)

    def _check_start(self, start: Start, claim: StreamToken | None) -> StreamToken:
        self._signature.check_account(start.account_sid)
        if claim is None:
            claim = self._tokens.read(start.custom_parameters.get("token", ""), time.time())
            self._calls.registry.redeem(claim, time.time())
        if claim.call_sid != start.call_sid:
            raise RequestRefused(f"the stream token does not belong to call {name_or_length(start.call_sid)}")
        return claim

    async def _run(self, start: Start, session: Session) -> None:
        log.info("Stream started: %s, Call: %s", start.stream_sid, start.call_sid)
        try:
            receipt = await session.run()
            level = logging.ERROR if receipt.ended is Outcome.FAILED else logging.INFO
            log.log(level, "Stream ended: %s: %s", receipt.ended.value, receipt.reason)
            log.info("%s", receipt.line())
        finally:
            ending = session.ending or broken()
            self._calls.registry.end(start.call_sid, session, ending)
