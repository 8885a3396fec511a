"""The answers to Twilio when a call's stream has ended and its caller is still on the line."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from callgate.agents import Parties
from callgate.core.absences import NEVER_AWAY, Absences
from callgate.core.gate.stream_token import generation
from callgate.core.masking import mask_number
from callgate.core.turns.commands import NextStep, Outcome, PutThrough, SendDigits
from callgate.core.turns.tool_desk import MOST_SENDINGS, MOST_TRANSFERS
from callgate.core.turns.transcript import Role, Turn
from callgate.core.wire import twiml

from .calls import Calls
from .first_webhook import FirstWebhook
from .ledger import Memory
from .repeats import Repeats
from .streams import Streams

log = logging.getLogger(__name__)

MOST_RESUMES = 3  # per call; after that, the caller hears the apology
FINAL = (Outcome.GOODBYE, Outcome.CALLER_HUNG_UP, Outcome.FAILED)
UNANSWERED = {  # DialCallStatus -> how it is put to the agent
    "busy": "the line was busy",
    "no-answer": "nobody answered",
    "failed": "no connection could be made",
    "canceled": "it was given up",
}


@dataclass(frozen=True, slots=True)
class _LastStream:
    """How a call's last stream ended, and what Twilio was to do next, as far as this process or the store knows."""

    outcome: Outcome | None
    then: NextStep | None
    memory: Memory = field(default_factory=Memory)  # what is on record of the call
    here: bool = False  # this process saw it end, and no other process has had the call since

    @property
    def was(self) -> bool:
        """Whether the call is known to have had a stream."""
        return self.outcome is not None or bool(self.memory.turns)


class AfterStream:
    """Resumes calls, puts callers through, or hangs up.

    The methods take the parameters of a verified Twilio request and return TwiML. ``repeat`` is the token in the URL if
    Twilio was asked to repeat the request.
    """

    def __init__(self, calls: Calls, repeats: Repeats, streams: Streams, first: FirstWebhook) -> None:
        self._calls, self._repeats, self._streams, self._first = calls, repeats, streams, first

    async def call_interrupted(
        self, params: Mapping[str, str], resumed: int, absences: Absences = NEVER_AWAY, repeat: str = ""
    ) -> str:
        """Answer when a call's stream has ended and the caller is still on the line.

        ``resumed``: how often the call has been resumed before; ``absences``: how often the agent has left on purpose.

        This is also the number's fallback URL, which Twilio requests when another URL did not answer, or answered with
        something it could not carry out. ``ErrorUrl`` says which URL that was; see
        https://www.twilio.com/docs/usage/security/availability-reliability.
        """
        call_sid, failed = params["CallSid"], urlsplit(params.get("ErrorUrl", "")).path
        if failed == twiml.TRANSFERRED or "DialCallStatus" in params:
            return await self.call_transferred(params, resumed, absences, repeat)
        if self._calls.is_over(params):
            return twiml.hang_up()
        number, is_repeated = generation(resumed, absences), self._repeats.is_one(call_sid, repeat)
        if is_repeated:
            await self._calls.registry.let_go(call_sid)
        stream = await self._last_stream(call_sid)
        had_stream = stream.was or self._calls.registry.generation(call_sid) is not None
        fits = not had_stream if failed == twiml.INCOMING else stream.here and self._is_last(call_sid, number)
        if not fits and not is_repeated:
            return self._repeats.ask_for(call_sid, twiml.INTERRUPTED, resumed, absences)
        then = None if _is_over_its_limit(stream.then, absences) else stream.then
        if stream.outcome in (Outcome.GOODBYE, Outcome.CALLER_HUNG_UP):
            return twiml.hang_up()
        if isinstance(then, PutThrough):
            assigned = self._calls.assigned.call_goes_on(call_sid, Parties.of_webhook(params), stream.memory.came_at)
            return self._put_through(then, resumed, absences, assigned.agent.language)
        why = stream.outcome.value if stream.outcome else "this process knows nothing of the call's stream"
        if stream.outcome is Outcome.FAILED:
            return self._apologise(why)
        if resumed >= MOST_RESUMES and then is None:
            return self._apologise(f"it was interrupted {resumed + 1} times")
        if self._calls.registry.draining:
            log.info("The caller is asked to wait for another process: this one is stopping")
            return twiml.wait(self._calls.config.base_url, resumed, absences, proof=self._calls.config.edge_proof)
        if not had_stream and not resumed and absences == NEVER_AWAY:
            is_known = stream.memory.call is not None or self._calls.assigned.known(call_sid) is not None
            if failed == twiml.INCOMING or not is_known:
                log.warning("Twilio got no answer to the call's first webhook: the call is answered now")
                return await self._first.answer(params, repeat)
        if not self._calls.registry.take_up(call_sid, f"{twiml.INTERRUPTED} {number}") and not is_repeated:
            return self._repeats.ask_for(call_sid, twiml.INTERRUPTED, resumed, absences)
        if not self._calls.admit(call_sid):
            return self._apologise("all lines are busy")
        self._calls.assigned.call_goes_on(call_sid, Parties.of_webhook(params), stream.memory.came_at)
        if isinstance(then, SendDigits):
            return self._send_digits(call_sid, then, resumed, absences, stream.memory.turns)
        log.warning("The call was interrupted (%s) and is resumed", why)
        self._calls.ledger.call_resumed(call_sid)
        return self._streams.go_on(call_sid, stream.memory.turns, resumed + 1, replace(absences, back=False))

    async def call_transferred(
        self, params: Mapping[str, str], resumed: int, absences: Absences, repeat: str = ""
    ) -> str:
        """Answer when the person the caller was put through to has hung up, or has not answered."""
        call_sid, status = params["CallSid"], params.get("DialCallStatus", "")
        if status in ("completed", "answered"):
            log.info("The call was put through, and is over")
            return twiml.hang_up()
        if self._calls.is_over(params):
            return twiml.hang_up()
        if self._calls.registry.draining:
            log.info("The caller is asked to wait for another process: this one is stopping")
            return twiml.wait(
                self._calls.config.base_url, resumed, absences, twiml.TRANSFERRED, status, self._calls.config.edge_proof
            )
        number, is_repeated = generation(resumed, absences), self._repeats.is_one(call_sid, repeat)
        if is_repeated:
            await self._calls.registry.let_go(call_sid)
        memory = await self._calls.ledger.memory(call_sid)
        has_left = self._calls.registry.ending(call_sid) is not None and not memory.elsewhere
        fits = has_left and self._is_last(call_sid, number - 1)
        is_first = fits and self._calls.registry.take_up(call_sid, f"{twiml.TRANSFERRED} {number}")
        if not is_first and not is_repeated:
            return self._repeats.ask_for(call_sid, twiml.TRANSFERRED, resumed, absences, status)
        then = ending.then if (ending := self._calls.registry.ending(call_sid)) else memory.then
        if not self._calls.admit(call_sid):
            return self._apologise("all lines are busy")
        self._calls.assigned.call_goes_on(call_sid, Parties.of_webhook(params), memory.came_at)
        whom = f" to {then.transfer.name}" if isinstance(then, PutThrough) else ""
        what = UNANSWERED.get(status, "it is not known whether anybody answered")
        log.info("The call was put through%s, and %s: the agent goes on", whom, what)
        note = f"[The call was put through{whom}, and {what}. The caller is back with you.]"
        return self._return(call_sid, memory.turns, note, resumed, replace(absences, back=True))

    async def _last_stream(self, call_sid: str) -> _LastStream:
        ending = self._calls.registry.ending(call_sid)
        if ending is not None and ending.outcome in FINAL:  # no other process can know better
            return _LastStream(ending.outcome, ending.then, here=True)
        memory = await self._calls.ledger.memory(call_sid)
        if ending is None or memory.elsewhere:  # another process has served the call since
            return _LastStream(memory.outcome, memory.then, memory)
        return _LastStream(ending.outcome, ending.then, memory, here=True)

    def _is_last(self, call_sid: str, number: int) -> bool:
        """Whether the last stream of the call that began here is generation ``number``."""
        return self._calls.registry.generation(call_sid) == number

    def _put_through(self, then: PutThrough, resumed: int, absences: Absences, language: str | None) -> str:
        log.info("The call is put through to %s at %s", then.transfer.name, mask_number(then.transfer.number))
        absences = replace(absences, transfers=absences.transfers + 1, back=False)
        return twiml.put_through(
            self._calls.config.base_url,
            then.transfer,
            resumed,
            absences,
            announced=then.announced,
            language=language,
            proof=self._calls.config.edge_proof,
        )

    def _send_digits(
        self, call_sid: str, then: SendDigits, resumed: int, absences: Absences, turns: tuple[Turn, ...]
    ) -> str:
        log.info("Sending %d keys into the line", len(then.digits))
        absences = replace(absences, sendings=absences.sendings + 1, back=True)
        note = f"[These keys were sent into the line: {then.digits}]"
        return self._return(call_sid, turns, note, resumed, absences, then.digits)

    def _return(
        self, call_sid: str, turns: tuple[Turn, ...], text: str, resumed: int, absences: Absences, digits: str = ""
    ) -> str:
        """Bring the agent back into a call that it had left, with ``text`` as a note."""
        note = Turn(f"{call_sid}_back_{absences.transfers}_{absences.sendings}", Role.NOTE, text)
        self._calls.ledger.agent_returned(call_sid, turns, note)
        return self._streams.go_on(call_sid, (*turns, note), resumed, absences, digits)

    def _apologise(self, why: str) -> str:
        log.warning(
            "The caller is told that we have difficulties, and %s: %s",
            "is put through to FALLBACK_DIAL"
            if self._calls.config.fallback_dial
            else "to call again (FALLBACK_DIAL is not set)",
            why,
        )
        return twiml.apologise(self._calls.config.fallback_dial)


def _is_over_its_limit(then: NextStep | None, absences: Absences) -> bool:
    """Whether the call has used up its transfers or sendings: then this step is left over from an earlier stream."""
    match then:
        case PutThrough():
            return absences.transfers >= MOST_TRANSFERS
        case SendDigits():
            return absences.sendings >= MOST_SENDINGS
    return False
