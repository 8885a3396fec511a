"""A simulated call: the conversation between Twilio and the model's servers, with a clock of its own.

It carries out what the conversation says, as `callgate.call` does, and has the rules checked at every step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from callgate.core.protocols.realtime import AppendAudio, AudioDelta, ClientEvent, SessionUpdated
from callgate.core.turns.commands import (
    AdoptModel,
    CallTool,
    Command,
    DropBeside,
    DropModel,
    End,
    Note,
    OpenModel,
    PrimeModel,
    Said,
    TakeMessage,
)
from callgate.core.turns.conversation import Conversation
from callgate.core.wire.media_stream import Clear, Dtmf, FromTwilio, Mark, Media, Stop, payload_bytes
from callgate.errors import MediaStreamError

from support.conversation_driver import EQUIPPED, ONE_MOMENT, START

from .agenda import Agenda
from .broken import Broken
from .caller import Caller
from .downlink import Item, Lost
from .plan import Opening, Plan
from .playback import Playback
from .rules import Rules
from .script import Script
from .server import Server
from .sessions import Sessions
from .sounds import FRAME, HOUR, Sounds
from .truth import Response, Truth

CLIP_BYTES = payload_bytes(ONE_MOMENT)
LONGEST = 900.0  # simulated seconds
SETTLES = 2.5  # seconds in which nothing is left to be done, before the caller hangs up
MOST_TICKS = 60  # in a row, each as soon as it may be after the last one


class Scene:
    """One call. ``story``: what happened, line by line, if it is ``told``."""

    def __init__(self, plan: Plan, *, told: bool = False) -> None:
        self.plan = plan
        self.agenda = Agenda()
        self.truth = Truth()
        self.script = Script(plan, self.agenda, self.truth)
        self.sounds = Sounds()
        self.ended: End | None = None
        self.story: list[str] | None = [] if told else None
        agent = replace(EQUIPPED, idle=plan.idle, longest=plan.longest, has_second_model=plan.has_second_model)
        self.conversation = Conversation(START, agent, self.agenda.now)
        self.playback = Playback(self.agenda, self._mark_returned)
        self.sessions = Sessions(
            self.agenda, self._new_server, self.script.opening, self._ready, self._refused, self._model_sent,
            self._rival_speaks, self._rival_failed,
        )  # fmt: skip
        self.caller = Caller(plan.acts, self.agenda.now, self.sounds, self.truth, self._twilio_sends)
        self.rules = Rules(self)
        self.servers: list[Server] = []
        self._began = self.agenda.now
        self._due = float("inf")
        self._delta: tuple[AudioDelta, Response] | None = None  # what the model is sending
        self._ticks = 0
        self._ticked_at = 0.0

    @property
    def lasted(self) -> float:
        """How many seconds the call has lasted, in its own time."""
        return self.agenda.now - self._began

    # The whole call.

    def run(self) -> None:
        """Have the call, from its beginning to its end. Raises `Broken`."""
        self.tells("the call begins")
        self._do(self.conversation.begin())
        agenda, caller, rules = self.agenda, self.caller, self.rules
        caller_audio, hear = self.conversation.caller_audio, self.sessions.hear
        end = agenda.now + LONGEST + HOUR * self.plan.hours
        frame_at = agenda.now
        settled_at = agenda.now
        while self.ended is None:
            if agenda.next_at <= frame_at:
                agenda.run_until(frame_at)
                if self.ended is not None:
                    break
            agenda.now = frame_at
            if frame_at >= caller.changes_at:
                caller.changes(frame_at)
                if self.ended is not None:
                    break
            if caller_audio(caller.audio, frame_at):
                hear(caller.audio)
            if frame_at >= self._due:
                self._tick()
                rules.look(frame_at)
                if not (caller.is_done and self._is_settled()):
                    settled_at = frame_at
                if frame_at - settled_at > SETTLES or (caller.is_done and self.plan.hangs_up_at_once):
                    self.rules.caller_hangs_up()
                    self._twilio_sends(Stop(START.stream_sid))
            frame_at += caller.frame
            if frame_at > end:
                raise Broken("an end", "the call does not come to an end")
        rules.at_end()

    def _is_settled(self) -> bool:
        current = self.sessions.current
        busy = current is not None and current.response is not None
        return not busy and not self.playback.plays and not self.rules.waits

    # What the conversation is told.

    def _twilio_sends(self, message: FromTwilio) -> None:
        self.tells(f"Twilio sends {message}")
        if isinstance(message, Dtmf):
            self.rules.key_pressed(message.digit)
        try:
            self._do(self.conversation.twilio_sent(message, self.agenda.now))
        except MediaStreamError:
            self.tells("… which is skipped")

    def _mark_returned(self, name: str) -> None:
        if commands := self.conversation.mark_returned(name, self.agenda.now):
            self._do(commands)

    def arrives(self, server: Server, item: Item, about: Any) -> None:
        """An event of a session's arrived."""
        if self.ended is None:
            self.sessions.arrives(server, item, about)

    def _model_sent(self, item: Item, about: Any) -> None:
        server, now = self.sessions.current, self.agenda.now
        if self.ended is not None or server is None:
            return
        if self.story is not None:
            self.tells(f"session {server.number} sends {_short(item)}")
        self.rules.delivers(server, item, about)
        if isinstance(item, Lost):
            self._do(self.conversation.model_lost(item.reason, now))
        elif isinstance(item, AudioDelta) and self.plan.is_cut:
            self._audio_cut(item, about)
        else:
            self._delta = (item, about) if isinstance(item, AudioDelta) else None
            self._do(self.conversation.model_sent(item, now))
            self._delta = None
        self.rules.delivered(server, item, about)

    def _audio_cut(self, delta: AudioDelta, response: Response) -> None:
        now = self.agenda.now
        size = payload_bytes(delta.delta)
        mark = self.conversation.agent_audio(delta.response_id, delta.item_id, size, now, delta.content_index)
        if mark is None:
            return
        self._forward(delta, response)
        if mark:
            self.playback.mark(mark)
        if self.sessions.next is not None or self.sessions.is_opening:
            self._do(self.conversation.agent_spoke(now))

    def _ready(self, answered_within: float) -> None:
        self.tells("a session is ready")
        self._do(self.conversation.model_ready(self.agenda.now, answered_within))

    def _refused(self, opening: Opening) -> None:
        fatal = opening.what == "fatal"
        if fatal and self.sessions.current is None:
            self.rules.refuses_for_good()
        self.tells(f"no session can be opened: {opening}")
        now, wait = self.agenda.now, opening.wait or None
        self._do(self.conversation.model_unavailable("refused", now, fatal=fatal, retry_after=wait))

    def _rival_speaks(self) -> None:
        self.tells("the rival speaks")
        self._do(self.conversation.rival_speaks(self.agenda.now))

    def _rival_failed(self, reason: str) -> None:
        self.tells(f"the rival failed: {reason}")
        self._do(self.conversation.rival_failed(reason, self.agenda.now))

    def _tool_done(self, call_id: str) -> None:
        if self.ended is not None:
            return
        self.tells(f"the tool {call_id} is done")
        commands = self.conversation.tool_done(call_id, '{"ok":true}', self.agenda.now)
        self.rules.tool_done(call_id, commands)
        self._do(commands)

    def _tick(self) -> None:
        now = self.agenda.now
        self._due = float("inf")
        self._ticks = self._ticks + 1 if now - self._ticked_at < 1.5 * FRAME else 0
        self._ticked_at = now
        if self._ticks > MOST_TICKS:
            raise Broken("bookkeeping", f"{MOST_TICKS} deadlines in a row are due at once")
        commands = self.conversation.tick(now)
        if commands:
            self._ticks = 0
        self._do(commands)

    # What it says.

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            self._carry_out(command)
        if self.ended is None:
            self._due = min(self._due, self.conversation.deadline())

    def _carry_out(self, command: Command) -> None:
        if self.story is not None and not isinstance(command, Said | AppendAudio | Mark):
            self.tells(f"    {_short(command)}")
        if self.ended is not None:
            raise Broken("an end", f"{type(command).__name__} after the end")
        match command:
            case Media():
                self._media(command)
            case Mark():
                self.playback.mark(command.name)
            case Clear():
                self.playback.clear()
            case Said():
                self.rules.said(command.turn)
            case Note():
                self.rules.noted(command)
            case End():
                self.ended = command
                self.rules.ends(command)
            case OpenModel():
                self.rules.opens(command)
                self.sessions.open(command)
            case AdoptModel():
                self.sessions.adopt()
                self.rules.adopts()
            case PrimeModel():
                self.rules.primes(command)
                self.sessions.prime(command.events)
            case DropBeside():
                self.sessions.drop_beside()
            case DropModel():
                self.sessions.drop()
            case CallTool() | TakeMessage():
                self.rules.calls(command)
                self.agenda.after(0.05 + self.script.tool_takes(), self._tool_done, command.call_id)
            case _:
                self._send(command)

    def _send(self, event: ClientEvent) -> None:
        self.rules.sends(self.sessions.current, event)
        self.sessions.send(event)

    def _media(self, media: Media) -> None:
        if self._delta is not None and media.payload is self._delta[0].delta:
            self._forward(*self._delta)
            self._delta = None
        elif media.payload is ONE_MOMENT:
            self.rules.clip()
            self.playback.media(None, CLIP_BYTES)
        else:
            raise Broken("nothing twice", "audio is forwarded that nobody has sent now")

    def _forward(self, delta: AudioDelta, response: Response) -> None:
        name = f"{delta.item_id}/{delta.content_index}" if delta.content_index else delta.item_id
        part = self.truth.parts[name]
        self.rules.forwards(response, part)
        self.playback.media(part, payload_bytes(delta.delta))

    def _new_server(self) -> Server:
        self.servers.append(Server(len(self.servers), self))
        return self.servers[-1]

    def tells(self, what: str) -> None:
        """Add a line to the story."""
        if self.story is not None:
            self.story.append(f"{self.lasted:8.3f}  {what}")


def _short(what: object) -> str:
    if isinstance(what, AudioDelta):
        return f"AudioDelta({what.response_id}, {what.item_id}, {what.content_index}, {payload_bytes(what.delta)})"
    if isinstance(what, Media):
        return f"Media({payload_bytes(what.payload)})"
    if isinstance(what, PrimeModel):
        return f"PrimeModel({[_short(event) for event in what.events if not isinstance(event, AppendAudio)]})"
    if isinstance(what, SessionUpdated):
        return "SessionUpdated"
    return repr(what)
