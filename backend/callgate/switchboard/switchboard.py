"""What is answered to each of Twilio's requests. No web framework here: `callgate.web.routes` brings requests to it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from callgate.agents import AgentBook, Assigned, Assignment, Closed, Parties
from callgate.call.reception import Reception, StreamClosed
from callgate.call.session import Session
from callgate.config.settings import Config
from callgate.core.foreign import foreign, name_or_length
from callgate.core.gate.signature import SignatureCheck
from callgate.core.gate.stream_token import RepeatTokens, StreamToken, StreamTokens, generation
from callgate.core.masking import mask_number
from callgate.core.tools.toolbox import NEVER_AWAY, Absences
from callgate.core.turns.commands import End, NextStep, Outcome, PutThrough, SendDigits
from callgate.core.turns.tool_desk import MOST_SENDINGS, MOST_TRANSFERS
from callgate.core.turns.transcript import Role, Transcript, Turn
from callgate.core.wire import twiml
from callgate.core.wire.media_stream import Start
from callgate.errors import MediaStreamError, RequestRefused
from callgate.logs.setup import call_sid as call_in_log
from callgate.models.parking import Parking
from callgate.models.upstream import Upstream
from callgate.tools.runner import RunTool, no_tool
from callgate.websocket.sockets import Socket

from .ledger import Ledger, Memory
from .pulse import Pulse
from .registry import Registry

log = logging.getLogger(__name__)

REFUSED = 1008  # RFC 6455 §7.4.1: policy violation
BAD_MESSAGE = 1002  # protocol error
MOST_RESUMES = 3  # of one call, before its caller is told that we have difficulties
MEMORIES = 1000  # of calls whose streams are awaited
FINAL = (Outcome.GOODBYE, Outcome.CALLER_HUNG_UP, Outcome.FAILED)
UNANSWERED = {  # a DialCallStatus, as the agent is told of it
    "busy": "the line was busy",
    "no-answer": "nobody answered",
    "failed": "no connection could be made",
    "canceled": "it was given up",
}
ENDED_STATUSES = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})


@dataclass(frozen=True, slots=True)
class _LastStream:
    """How a call's last stream ended, and what Twilio was to do then, as far as that is known here or on record."""

    outcome: Outcome | None
    then: NextStep | None
    memory: Memory = field(default_factory=Memory)  # of the call
    here: bool = False  # this process saw it end, and no other has had the call since

    @property
    def was(self) -> bool:
        """Whether there was one, as far as is known."""
        return self.outcome is not None or bool(self.memory.turns)


class Switchboard:
    """Decides about calls. ``config`` has at least one auth token (`Config.with_rehearsal_token`)."""

    def __init__(
        self, config: Config, agents: AgentBook, upstream: Upstream, ledger: Ledger, run_tool: RunTool = no_tool
    ) -> None:
        self.config = config
        self._run_tool = run_tool
        self.upstream = upstream
        self.ledger = ledger
        self.registry = Registry(config.max_calls)
        self.pulse = Pulse()
        self._memories: dict[str, tuple[Turn, ...]] = {}  # by CallSid: of calls that are about to be taken up again
        self.signature = SignatureCheck(
            config.twilio_auth_tokens, config.base_url, account_sid=config.twilio_account_sid
        )
        self._proof = config.edge_proof
        self._tokens = StreamTokens(config.twilio_auth_tokens)
        self._repeats = RepeatTokens(config.twilio_auth_tokens)
        self.assigned = Assigned(agents, has_second_model=len(upstream.endpoints) > 1)
        self.parking = Parking(upstream, config.max_calls)

    async def __aenter__(self) -> Switchboard:
        self.pulse.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.pulse.stop()
        await self.parking.close()

    # Webhooks. Each gets the parameters of a request that is known to be Twilio's, and returns TwiML.
    #
    # Twilio has signed it, which does not say when: whoever captured a request can send it again. So what was said of
    # a call that is over changes nothing, and where a webhook does not fit what is known of its call, Twilio is asked
    # to repeat it, at an address that nobody else can sign (``repeat``: the token in it). That costs a caller of whom
    # we know too little one round trip, unheard, and whoever captured a request gets nothing for it.

    async def incoming_call(self, params: Mapping[str, str], repeat: str = "") -> str:
        """A call comes in, or one that we placed was answered."""
        call_sid, now = params["CallSid"], time.time()
        if self._is_over(params):
            return twiml.hang_up()
        if await self._came_before(call_sid) and not self._is_repeated(call_sid, repeat):
            return self._ask_again(call_sid, twiml.INCOMING)
        log.info("Call from %s to %s", mask_number(params.get("From", "")), mask_number(params.get("To", "")))
        if self.pulse.is_late:
            log.warning("The caller is told that all lines are busy: this process carries no further call")
            return twiml.busy()
        assigned = self.assigned.call_comes(params)
        if isinstance(assigned, Closed):
            log.info("It is out of hours: the caller is told so")
            return twiml.closed(assigned.sentence, assigned.language)
        if not self.registry.admit(call_sid, now):
            log.warning("All %d lines are busy: the caller is told so (MAX_CALLS)", self.config.max_calls)
            return twiml.busy()
        document = self._connect(call_sid, consent=assigned.agent.consent or "")
        self.parking.open(call_sid, assigned.agent)
        self.ledger.call_came(params)
        return document

    def expect(self, params: Mapping[str, str], ended: str | None = None) -> None:
        """We placed a call: keep its place, and have the model's session ready when it is answered. ``ended``: the
        status that it has ended with by now, if it has: then it is only recorded."""
        self.ledger.call_came(params)
        if ended is not None:
            self.ledger.call_over(params["CallSid"], ended)
            return
        assigned = self.assigned.call_comes(params)
        if isinstance(assigned, Closed) or self.registry.holds(params["CallSid"]):
            return
        if self.registry.admit(params["CallSid"], time.time()):
            self.parking.open(params["CallSid"], assigned.agent)

    async def call_interrupted(
        self, params: Mapping[str, str], resumed: int, absences: Absences = NEVER_AWAY, repeat: str = ""
    ) -> str:
        """The stream of a call ended and the caller is still on the line. ``resumed``: how often that has led back to
        the agent before; ``absences``: how often the agent had left by intent.

        It is the number's fallback URL too, which Twilio asks when it could not have or carry out another's answer. It
        says in ``ErrorUrl`` which that was; see https://www.twilio.com/docs/usage/security/availability-reliability.
        """
        call_sid, failed = params["CallSid"], urlsplit(params.get("ErrorUrl", "")).path
        if failed == twiml.TRANSFERRED or "DialCallStatus" in params:
            return await self.call_transferred(params, resumed, absences, repeat)
        if self._is_over(params):
            return twiml.hang_up()
        number, is_repeated = generation(resumed, absences), self._is_repeated(call_sid, repeat)
        if is_repeated:
            await self.registry.let_go(call_sid)
        stream = await self._last_stream(call_sid)
        had_stream = stream.was or self.registry.generation(call_sid) is not None
        fits = not had_stream if failed == twiml.INCOMING else stream.here and self._is_last(call_sid, number)
        if not fits and not is_repeated:
            return self._ask_again(call_sid, twiml.INTERRUPTED, resumed, absences)
        then = None if _is_over_its_limit(stream.then, absences) else stream.then
        if stream.outcome in (Outcome.GOODBYE, Outcome.CALLER_HUNG_UP):
            return twiml.hang_up()
        if isinstance(then, PutThrough):
            assigned = self.assigned.call_goes_on(call_sid, Parties.of_webhook(params), stream.memory.came_at)
            return self._put_through(then, resumed, absences, assigned.agent.language)
        why = stream.outcome.value if stream.outcome else "this process knows nothing of the call's stream"
        if stream.outcome is Outcome.FAILED:
            return self._apologise(why)
        if resumed >= MOST_RESUMES and then is None:
            return self._apologise(f"it was interrupted {resumed + 1} times")
        if self.registry.draining:
            log.info("The caller is to wait for another process: this one is stopping")
            return twiml.wait(self.config.base_url, resumed, absences, proof=self._proof)
        if not had_stream and not resumed and absences == NEVER_AWAY:
            is_known = stream.memory.call is not None or self.assigned.known(call_sid) is not None
            if failed == twiml.INCOMING or not is_known:
                log.warning("The call is answered here: Twilio got no answer to its first request")
                return await self.incoming_call(params, repeat)
        if not self.registry.take_up(call_sid, f"{twiml.INTERRUPTED} {number}") and not is_repeated:
            return self._ask_again(call_sid, twiml.INTERRUPTED, resumed, absences)
        if not self.registry.admit(call_sid, time.time()):
            return self._apologise("all lines are busy")
        self.assigned.call_goes_on(call_sid, Parties.of_webhook(params), stream.memory.came_at)
        if isinstance(then, SendDigits):
            return self._send_digits(call_sid, then, resumed, absences, stream.memory.turns)
        log.warning("The call was interrupted (%s) and is taken up again", why)
        self.ledger.call_resumed(call_sid)
        return self._go_on(call_sid, stream.memory.turns, resumed + 1, replace(absences, back=False))

    async def _last_stream(self, call_sid: str) -> _LastStream:
        ending = self.registry.ending(call_sid)
        if ending is not None and ending.outcome in FINAL:  # whatever another process may know
            return _LastStream(ending.outcome, ending.then, here=True)
        memory = await self.ledger.memory(call_sid)
        if ending is None or memory.elsewhere:  # another process has served it since
            return _LastStream(memory.outcome, memory.then, memory)
        return _LastStream(ending.outcome, ending.then, memory, here=True)

    async def call_transferred(
        self, params: Mapping[str, str], resumed: int, absences: Absences, repeat: str = ""
    ) -> str:
        """Whoever a call was put through to has hung up, or never answered."""
        call_sid, status = params["CallSid"], params.get("DialCallStatus", "")
        if status in ("completed", "answered"):
            log.info("The call was put through, and is over")
            return twiml.hang_up()
        if self._is_over(params):
            return twiml.hang_up()
        if self.registry.draining:
            log.info("The caller is to wait for another process: this one is stopping")
            return twiml.wait(self.config.base_url, resumed, absences, twiml.TRANSFERRED, status, self._proof)
        number, is_repeated = generation(resumed, absences), self._is_repeated(call_sid, repeat)
        if is_repeated:
            await self.registry.let_go(call_sid)
        memory = await self.ledger.memory(call_sid)
        has_left = self.registry.ending(call_sid) is not None and not memory.elsewhere
        fits = has_left and self._is_last(call_sid, number - 1)
        is_first = fits and self.registry.take_up(call_sid, f"{twiml.TRANSFERRED} {number}")
        if not is_first and not is_repeated:
            return self._ask_again(call_sid, twiml.TRANSFERRED, resumed, absences, status)
        then = ending.then if (ending := self.registry.ending(call_sid)) else memory.then
        if not self.registry.admit(call_sid, time.time()):
            return self._apologise("all lines are busy")
        self.assigned.call_goes_on(call_sid, Parties.of_webhook(params), memory.came_at)
        whom = f" to {then.transfer.name}" if isinstance(then, PutThrough) else ""
        what = UNANSWERED.get(status, "it is not known whether anybody answered")
        log.info("The call was put through%s, and %s: the agent goes on", whom, what)
        note = f"[The call was put through{whom}, and {what}. The caller is back with you.]"
        return self._return(call_sid, memory.turns, note, resumed, replace(absences, back=True))

    # What a webhook says, and what is known of its call.

    def _is_over(self, params: Mapping[str, str]) -> bool:
        """Whether Twilio has said, here or now, that the call is over."""
        is_over = params.get("CallStatus") in ENDED_STATUSES or self.registry.is_over(params["CallSid"])
        if is_over:
            log.info("The call is over: a webhook of it changes nothing")
        return is_over

    async def _came_before(self, call_sid: str) -> bool:
        """Whether the first webhook of the call was answered before. Not where that answer may have got lost: its
        stream is still awaited. Where there is no record to look at, every call may have been, once half of the places
        are taken."""
        if self.registry.generation(call_sid) is not None:
            return True
        if self.registry.holds(call_sid):
            return False
        if self.registry.came(call_sid):
            return True
        is_known = await self.ledger.knows(call_sid)
        return self.registry.is_half_full if is_known is None else is_known

    def _is_last(self, call_sid: str, number: int) -> bool:
        """Whether the call's last stream that began here had so many before it."""
        return self.registry.generation(call_sid) == number

    def _ask_again(
        self,
        call_sid: str,
        path: str,
        resumed: int = 0,
        absences: Absences = NEVER_AWAY,
        dialed: str = "",
    ) -> str:
        log.info("The webhook does not fit what is known of the call: Twilio is asked to repeat it")
        token = self._repeats.issue(call_sid, time.time())
        return twiml.repeat(self.config.base_url, token, path, resumed, absences, dialed, self._proof)

    def _is_repeated(self, call_sid: str, repeat: str) -> bool:
        """Whether Twilio comes from where `_ask_again` sent it, just now and for the first time."""
        if not repeat:
            return False
        try:
            token = self._repeats.read(repeat, time.time())
            if token.call_sid == call_sid:
                self.registry.redeem(token, time.time())
        except RequestRefused as exc:
            log.info("A webhook was repeated that can't be: %s", exc)
            return False
        return token.call_sid == call_sid

    def _put_through(self, then: PutThrough, resumed: int, absences: Absences, language: str | None) -> str:
        log.info("The call is put through to %s at %s", then.transfer.name, mask_number(then.transfer.number))
        absences = replace(absences, transfers=absences.transfers + 1, back=False)
        return twiml.put_through(
            self.config.base_url,
            then.transfer,
            resumed,
            absences,
            announced=then.announced,
            language=language,
            proof=self._proof,
        )

    def _send_digits(
        self, call_sid: str, then: SendDigits, resumed: int, absences: Absences, turns: tuple[Turn, ...]
    ) -> str:
        log.info("%d keys are sent into the line", len(then.digits))
        absences = replace(absences, sendings=absences.sendings + 1, back=True)
        note = f"[These keys were sent into the line: {then.digits}]"
        return self._return(call_sid, turns, note, resumed, absences, then.digits)

    def _return(
        self, call_sid: str, turns: tuple[Turn, ...], text: str, resumed: int, absences: Absences, digits: str = ""
    ) -> str:
        """The agent is back in a call that it had left, and is told ``text``."""
        note = Turn(f"{call_sid}_back_{absences.transfers}_{absences.sendings}", Role.NOTE, text)
        self.ledger.agent_returned(call_sid, turns, note)
        return self._go_on(call_sid, (*turns, note), resumed, absences, digits)

    def reconnect(self, call_sid: str) -> str:
        """What connects a call anew whose process is gone."""
        self.ledger.call_resumed(call_sid)
        return self._connect(call_sid, 1)

    def _go_on(
        self, call_sid: str, memory: tuple[Turn, ...], resumed: int, absences: Absences, digits: str = ""
    ) -> str:
        self._memories[call_sid] = memory
        while len(self._memories) > MEMORIES:
            del self._memories[next(iter(self._memories))]
        if (assigned := self.assigned.known(call_sid)) is not None:
            self.parking.open(call_sid, assigned.agent, Transcript(memory).history())
        return self._connect(call_sid, resumed, absences, digits)

    def _connect(
        self,
        call_sid: str,
        resumed: int = 0,
        absences: Absences = NEVER_AWAY,
        digits: str = "",
        consent: str = "",
    ) -> str:
        assigned = self.assigned.known(call_sid)
        parameters = assigned.parameters if assigned else {}
        language = assigned.agent.language if assigned else None
        token = self._tokens.issue(call_sid, time.time(), resumed, absences)
        log.info("Creating Media Stream with URL: %s%s", self.signature.wss_url, twiml.STREAM)
        return twiml.connect_stream(
            self.config.base_url,
            token,
            resumed,
            absences,
            digits,
            parameters=parameters,
            consent=consent,
            language=language,
            proof=self._proof,
        )

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
        log.info("Call status: %s, after %s s", foreign(status), foreign(params.get("CallDuration", "0")))
        if status in ENDED_STATUSES:
            self.registry.over(params["CallSid"])
            self.parking.drop(params["CallSid"])
            self.assigned.call_ended(params["CallSid"])
            if self.registry.outcome(params["CallSid"]) is None:
                self.ledger.call_over(params["CallSid"], status)

    def stream_status(self, params: Mapping[str, str]) -> None:
        """Twilio tells how a stream stands, and what it did not like about it."""
        event = params.get("StreamEvent", "")
        if event == "stream-error":
            which = foreign(params.get("StreamError", "(it does not say which)"))
            log.error("Twilio reports an error of the stream: %s", which)
        else:
            log.info("Stream status: %s", foreign(event))

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
            memory = await self._memory(start.call_sid) if claim.goes_on else None
            assigned = await self._assignment(start, claim)
            agent = assigned.agent
            session = Session(
                start,
                socket,
                partial(self.parking.take, start.call_sid, agent),
                agent,
                record=self.ledger.recorder(start.call_sid, memory),
                at_end=partial(self.ledger.call_ended, start.call_sid),
                at_failure=self.upstream.failed,
                run_tool=self._run_tool,
                keep_message=self.ledger.keeper(start.call_sid),
                memory=memory,
                resumes=claim.resumed,
                absences=claim.absences,
                lasted=self.assigned.lasted(assigned) if claim.goes_on else 0.0,
            )
            self.registry.begin(start.call_sid, session, claim.generation)
        except StreamClosed as exc:
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
        """What was said before the call was cut off: as it was found at the webhook, where this process answered
        that."""
        if (memory := self._memories.pop(call_sid, None)) is not None:
            return memory
        return (await self.ledger.memory(call_sid)).turns

    async def _assignment(self, start: Start, claim: StreamToken) -> Assignment:
        """The agent of a stream's call. Where another process answered its webhook, it is chosen again: by what the
        stream's parameters say, or the record."""
        if (known := self.assigned.known(start.call_sid)) is not None:
            return known
        parties = Parties.of_parameters(start.custom_parameters)
        if parties is not None and not claim.goes_on:
            return self.assigned.call_goes_on(start.call_sid, parties)
        if (call := (await self.ledger.memory(start.call_sid)).call) is None:
            return self.assigned.call_goes_on(start.call_sid, parties)
        parties = parties or Parties.of(call.direction, call.from_number, call.to_number)
        return self.assigned.call_goes_on(start.call_sid, parties, call.started_at)

    def _check_start(self, start: Start, claim: StreamToken | None) -> StreamToken:
        self.signature.check_account(start.account_sid)
        if claim is None:
            claim = self._tokens.read(start.custom_parameters.get("token", ""), time.time())
            self.registry.redeem(claim, time.time())
        if claim.call_sid != start.call_sid:
            raise RequestRefused(f"the stream token is another call's than {name_or_length(start.call_sid)}")
        return claim

    async def _run(self, start: Start, session: Session) -> None:
        log.info("Stream started: %s, Call: %s", start.stream_sid, start.call_sid)
        try:
            receipt = await session.run()
            level = logging.ERROR if receipt.ended is Outcome.FAILED else logging.INFO
            log.log(level, "Stream ended: %s: %s", receipt.ended.value, receipt.reason)
            log.info("%s", receipt.line())
        finally:
            ending = session.ending or End(Outcome.FAILED, "the call was served no further")
            self.registry.end(start.call_sid, session, ending)


def _is_over_its_limit(then: NextStep | None, absences: Absences) -> bool:
    """Whether this was done so often in a call that the agent does it no more: it is an old one's, met again."""
    match then:
        case PutThrough():
            return absences.transfers >= MOST_TRANSFERS
        case SendDigits():
            return absences.sendings >= MOST_SENDINGS
    return False
