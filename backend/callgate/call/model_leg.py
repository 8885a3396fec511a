"""The model's side of a call: what its session sends, and what is sent to it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterable

from callgate.core.prices import usage_of
from callgate.core.protocols import realtime_json
from callgate.core.protocols.realtime import AppendAudio, ClientEvent, ResponseDone
from callgate.core.protocols.realtime_fast import DeltaCutter, append_frame
from callgate.core.receipt import Counters
from callgate.core.turns.commands import Command, OpenModel, PrimeModel
from callgate.core.turns.conversation import Conversation
from callgate.core.wire.base64_text import decoded_bytes
from callgate.core.wire.media_stream_fast import MediaWriter, mark_frame
from callgate.errors import RealtimeError, UpstreamError, UpstreamRefused
from callgate.models.socket import ModelSocket

from .model_sessions import ModelSessions, Open
from .odd_messages import OddMessages
from .outbox import Outbox
from .timers import WRITE_DEADLINE, Stall

log = logging.getLogger(__name__)

TO_MODEL_LIMIT = 4 * 1024 * 1024  # bytes: far more than the longest instructions
CALLER_AUDIO_LIMIT = 250 * 280  # bytes: about five seconds of the caller's audio, kept while the model stalls


class ModelLeg:
    """Receives what the call's model session sends (`callgate.websocket.model_frames.ModelReceiver`), and sends to it;
    `ModelSessions` knows which session that is.

    ``open_session``, ``at_failure``, ``context``: as in `ModelSessions`. ``outbox``: what waits for the model.
    ``to_twilio``: where the agent's audio goes. ``do``: carries out the conversation's commands. ``odd``: counts what
    can't be used.
    """

    def __init__(
        self,
        stream_sid: str,
        open_session: Open,
        conversation: Conversation,
        counters: Counters,
        outbox: Outbox,
        to_twilio: Outbox,
        do: Callable[[Iterable[Command]], None],
        odd: OddMessages,
        at_failure: Callable[[ModelSocket, str], None],
        context: contextvars.Context,
    ) -> None:
        self._conversation = conversation
        self._counters = counters
        self._outbox = outbox
        self._to_twilio = to_twilio
        self._do = do
        self._odd = odd
        self._now: Callable[[], float] = asyncio.get_running_loop().time  # looked up once
        self._stream_sid = stream_sid
        self._media = MediaWriter(stream_sid)
        self._deltas = DeltaCutter()
        self._stall = Stall(self._took_nothing)
        self._sessions = ModelSessions(open_session, self, self._ready, self._not_opened, at_failure, context)

    # Called by the call's session.

    @property
    def dropped(self) -> int:
        """How many frames of the caller's audio were dropped."""
        return self._outbox.dropped

    def open(self, wanted: OpenModel) -> None:
        """Start opening a session."""
        self._sessions.open(wanted)

    def prime(self, wanted: PrimeModel) -> None:
        """Tell the session that is ready everything, so that it goes on with the call if it speaks first."""
        model = self._sessions.prime(self._rival_speaks, self._rival_failed)
        for event in wanted.events:
            model.send(_frame(event))
        self._outbox.copy_to(model.send)

    def drop_beside(self) -> None:
        """Close the session beside the call's."""
        self._outbox.copy_to(None)
        self._sessions.drop_beside()

    def adopt(self) -> None:
        """Make the session that is ready the call's session."""
        self.drop()
        self._outbox.copy_to(None)
        model = self._sessions.adopt()
        self._counters.served_by(model.endpoint.model)
        self._outbox.open(model.send)

    def drop(self, failed_at: str = "") -> None:
        """Drop the call's session. ``failed_at``: what it failed at, if it failed."""
        self._outbox.shut()
        self._stall.end()
        self._sessions.drop(failed_at)

    def send(self, event: ClientEvent) -> None:
        """Send an event, after those that wait. Audio may be dropped."""
        self._outbox.put(_frame(event), droppable=isinstance(event, AppendAudio))

    def lose_if_full(self) -> None:
        """Give the session up if too much waits for it."""
        if self._outbox.full:
            self._outbox.clear()
            self.model_lost("it does not accept what must be sent to it")

    def forget_timers(self) -> None:
        """Cancel the timers: the call is over."""
        self._stall.close()

    async def close(self) -> None:
        """Close all sessions."""
        await self._sessions.close()

    # Called by the model session's socket.

    def model_sent(self, frame: bytes) -> None:
        deltas = self._deltas
        if (audio := deltas.cut(frame)) is None:
            self._model_event(frame.decode(errors="replace"))
            return
        size = decoded_bytes(audio)
        now = self._now()
        mark = self._conversation.agent_audio(deltas.response_id, deltas.item_id, size, now, deltas.content_index)
        if mark is None:
            return
        self._counters.agent_audio_sent(now)
        media = self._media.frame(audio)
        if mark:
            self._to_twilio.put_both(media, mark_frame(self._stream_sid, mark))
        else:
            self._to_twilio.put(media)
        if self._sessions.has_beside:
            self._do(self._conversation.agent_spoke(now))
        elif self._to_twilio.full:
            self._do(())

    def model_sent_binary(self, frame: bytes) -> None:
        self._model_event(frame)

    def model_lost(self, reason: str) -> None:
        self._do(self._conversation.model_lost(reason, self._now()))

    def model_is_full(self) -> None:
        self._outbox.pause()
        self._stall.begin()

    def model_takes_more(self) -> None:
        self._stall.end()
        self._outbox.resume()

    def _took_nothing(self) -> None:
        self.model_lost(f"the model accepted no frame for {WRITE_DEADLINE:.0f} s")

    def _model_event(self, frame: str | bytes) -> None:
        try:
            event = realtime_json.parse(frame)
        except RealtimeError as exc:
            self._odd.skip(exc)
        else:
            if isinstance(event, ResponseDone) and (model := self._sessions.current) is not None:
                self._counters.spent(model.endpoint.model, usage_of(event.usage))
            self._do(self._conversation.model_sent(event, self._now()))

    # Called by `ModelSessions`.

    def _ready(self) -> None:
        self._do(self._conversation.model_ready(self._now(), self._sessions.next_confirmed_in))

    def _not_opened(self, exc: Exception) -> None:
        why, wait = "an internal error", None
        if isinstance(exc, UpstreamError):
            why, wait = str(exc), exc.retry_after
        else:
            log.error("Unexpected error while opening a model session", exc_info=exc)
        fatal = isinstance(exc, UpstreamRefused)
        self._do(self._conversation.model_unavailable(why, self._now(), fatal=fatal, retry_after=wait))

    def _rival_speaks(self) -> None:
        self._do(self._conversation.rival_speaks(self._now()))

    def _rival_failed(self, reason: str) -> None:
        self._do(self._conversation.rival_failed(reason, self._now()))


def _frame(event: ClientEvent) -> bytes:
    if isinstance(event, AppendAudio):
        return append_frame(event.audio.encode())
    return realtime_json.encode(event).encode()
