"""A live call: its two legs, its deadlines, and the conversation that decides what to do.

    Twilio's socket ──▶ conversation ──▶ outbox ──▶ the model's socket
    Twilio's socket ◀── outbox ◀── conversation ◀── the model's socket

Both sockets push what they receive, and everything that results is sent in the same callback. Audio, which is nearly
all of the traffic, is cut out of one frame and put into the other; every other message is parsed and passed to the
conversation as an object. Whichever side ends first, `run` returns how the call ended, with both sockets closed and no
task left.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterable

from callgate.core.absences import NEVER_AWAY, Absences
from callgate.core.agent import Agent
from callgate.core.receipt import Counters, Receipt
from callgate.core.turns.commands import (
    AdoptModel,
    CallTool,
    Command,
    DropBeside,
    DropModel,
    End,
    NextStep,
    Note,
    OpenModel,
    PrimeModel,
    Said,
    TakeMessage,
)
from callgate.core.turns.conversation import Conversation
from callgate.core.turns.transcript import Turn
from callgate.core.wire.media_stream import Clear, Mark, Media, Start
from callgate.models.socket import ModelSocket
from callgate.tools.runner import KeepMessage, RunTool, ToolRunner, no_store, no_tool
from callgate.websocket.sockets import Receiver, Socket

from .model_leg import CALLER_AUDIO_LIMIT, TO_MODEL_LIMIT, ModelLeg
from .model_sessions import Open
from .odd_messages import OddMessages
from .outbox import Outbox
from .timers import Deadline
from .twilio_leg import TO_TWILIO_LIMIT, TwilioLeg

log = logging.getLogger(__name__)


class Session:
    """A call from its ``start`` to its end, on both of its legs.

    ``record``: called with each turn as it happens. ``at_end``: called with the receipt and the next step, before
    Twilio's socket is closed. ``at_failure``: called with a model session that failed, and the reason. ``run_tool``,
    ``keep_message``: see `ToolRunner`. ``memory``: what was said before the call was cut off (``resumes`` times so
    far), or before the agent left it (``absences``); None for a new call. ``lasted``: how many seconds the call had
    lasted before.
    """

    def __init__(
        self,
        start: Start,
        twilio: Socket,
        open_model: Open,
        agent: Agent,
        *,
        record: Callable[[Turn], None] = lambda turn: None,
        at_end: Callable[[Receipt, NextStep | None], None] = lambda receipt, then: None,
        at_failure: Callable[[ModelSocket, str], None] = lambda model, reason: None,
        run_tool: RunTool = no_tool,
        keep_message: KeepMessage = no_store,
        memory: tuple[Turn, ...] | None = None,
        resumes: int = 0,
        absences: Absences = NEVER_AWAY,
        lasted: float = 0.0,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._now: Callable[[], float] = loop.time  # looked up once
        self._counters = Counters(self._now(), resumes=resumes)
        self._conversation = Conversation(start, agent, self._now(), memory, absences, lasted)
        self._agent = agent
        self._record = record
        self._at_end = at_end
        self._context = contextvars.copy_context()  # it names the call in the log; the sockets' callbacks don't have it
        self._ended: asyncio.Future[End] = loop.create_future()
        self._deadline = Deadline(self._deadline_met)
        self._tools = ToolRunner(run_tool, keep_message, self._tool_done)
        conversation, counters, sid = self._conversation, self._counters, start.stream_sid
        to_twilio, to_model = Outbox(TO_TWILIO_LIMIT), Outbox(TO_MODEL_LIMIT, CALLER_AUDIO_LIMIT)
        self._odd = OddMessages("Twilio", self._context), OddMessages("the model", self._context)
        of_twilio, of_model = self._odd
        self._twilio = TwilioLeg(
            sid, twilio, conversation, counters, self._deadline, to_twilio, to_model, self._do, of_twilio
        )
        self._model = ModelLeg(
            sid, open_model, conversation, counters, to_model, to_twilio, self._do, of_model, at_failure, self._context
        )

    @property
    def receiver(self) -> Receiver:
        """The receiver for Twilio's socket."""
        return self._twilio

    @property
    def ending(self) -> End | None:
        """How the call ended, available as soon as that is decided; its sockets are closed after that."""
        decided = self._ended.done() and not self._ended.cancelled()
        return self._ended.result() if decided else None

    async def run(self) -> Receipt:
        """Serve the call to its end, and return its receipt."""
        self._twilio.begin()
        self._do(self._conversation.begin())
        failure: BaseException | None = None
        receipt: Receipt | None = None
        # There is no `finally` here: in code compiled by mypyc, an exception in flight while we wait would be visible
        # to every other task.
        try:
            receipt = self._finish(await self._ended)
        except BaseException as exc:
            failure = exc
        self._deadline.cancel()
        self._twilio.forget_timers()
        self._model.forget_timers()
        await self._model.close()
        await self._tools.close()
        if receipt is None:
            assert failure is not None
            raise failure
        return receipt

    def _finish(self, end: End) -> Receipt:
        """The call is over: have it recorded, and tell Twilio."""
        try:
            receipt = self._receipt(end)
            # Done before Twilio is told, which then requests the next step within milliseconds, perhaps from another
            # process.
            self._at_end(receipt, end.then)
        finally:
            # Done before waiting for the model's side: until now, the caller hears silence.
            self._twilio.close(end.outcome)
        return receipt

    def _receipt(self, end: End) -> Receipt:
        dropped = self._model.dropped
        if dropped:
            log.warning("%d frames of the caller's audio were dropped: the model stalled", dropped)
        for odd in self._odd:
            odd.report()
        self._counters.at_end(
            interruptions=self._conversation.interruptions,
            reconnects=self._conversation.reconnects,
            frames_dropped=dropped,
        )
        return self._counters.receipt(now=self._now(), ended=end.outcome, reason=end.reason)

    def shut_down(self) -> None:
        """The service is stopping: end the call now."""
        self._do(self._conversation.shut_down())

    def _tool_done(self, call_id: str, output: str) -> None:
        self._do(self._conversation.tool_done(call_id, output, self._now()))

    def _deadline_met(self, now: float) -> None:
        self._do(self._conversation.tick(now))

    def _do(self, commands: Iterable[Command]) -> None:
        """Carry out the conversation's commands, in order."""
        for command in commands:
            match command:
                case Media() | Mark():
                    if isinstance(command, Media) and command.payload is not self._agent.one_moment:
                        self._counters.agent_audio_sent(self._now())
                    self._twilio.send(command)
                case Clear():
                    self._twilio.clear(command)
                case Note():
                    self._context.run(log.log, command.level, command.text)
                case End():
                    if not self._ended.done():
                        self._ended.set_result(command)
                case OpenModel():
                    self._model.open(command)
                case AdoptModel():
                    self._model.adopt()
                case PrimeModel():
                    self._model.prime(command)
                case DropBeside():
                    self._model.drop_beside()
                case DropModel():
                    self._model.drop(command.reason)
                case Said():
                    self._record(command.turn)
                case CallTool() | TakeMessage():
                    self._tools.start(command, self._context.copy())
                case _:
                    self._model.send(command)
        if not self._twilio.end_if_full():
            self._model.lose_if_full()
        if not self._ended.done():
            self._deadline.arm(self._conversation.deadline())
