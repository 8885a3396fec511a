"""A session at the model's server. It behaves as the API does, but for its habits and the faults on its way to us.

One response at a time. It begins one by itself when the caller has spoken, and cancels it when they speak; it refuses a
request while one is under way; it answers a ``session.update``.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from callgate.core.protocols.realtime import (
    ALREADY_RESPONDING,
    AddAgentText,
    AddFunctionOutput,
    AddUserText,
    AskAlive,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    CallerTranscriptFailed,
    ClientEvent,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    Other,
    RemoteCallBegan,
    RemoteCallEnded,
    ResponseCreated,
    ResponseDone,
    SessionUpdated,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
    TruncateItem,
)
from callgate.core.wire.media_stream import BYTES_PER_MS, payload_bytes

from . import speech
from .broken import Broken
from .downlink import Downlink
from .sounds import Ear
from .truth import CallerTurn, Part, Response

if TYPE_CHECKING:
    from .scene import Scene

TRANSCRIBED_AFTER = {"soon": 0.3, "late": 4.0, "failed": 0.5}
CONFIRMED_AFTER = 2.5  # seconds, by a session that answers questions late
UTTERANCE = re.compile(r"\bu(\d+)\b")


class Server:
    """One session. ``told``: the texts that it was told; ``heard``: how many frames it has heard of each utterance."""

    def __init__(self, number: int, scene: Scene) -> None:
        self.number = number
        self.told: list[str] = []
        self.response: Response | None = None  # under way
        self.closed_at = math.inf
        self.has_spoken_up = False  # for no reason that we know
        self.calls: dict[str, bool] = {}  # that it has made, and whether it was told what they gave
        self._scene = scene
        self.habits = scene.script.habits(number)
        self._ear = Ear()
        self._parts: dict[str, Part] = {}
        self._steps: list[speech.Step] = []
        self._step = 0
        self._turns = 0
        self._answer: Response | None = None  # the last one to the caller's last turn
        self._owes_twin = False
        self._is_asked = False  # a question, which it answers when it is idle
        faults = [fault for fault in scene.plan.faults if fault.session == number]
        self.link = Downlink(
            scene.agenda, scene.truth, self.habits.latency, faults,
            lambda item, about: scene.arrives(self, item, about), self._fault,
        )  # fmt: skip

    @property
    def lives(self) -> bool:
        """Whether it may yet send something."""
        return not self.link.is_hung and not self.link.is_closed

    # What arrives here.

    def hears(self, audio: str | bytes) -> None:
        """A piece of the caller's audio arrived."""
        number = self._scene.sounds.number(audio)
        turn = self._ear.hears(number, self._scene.agenda.now)
        if turn is None:
            return
        if turn.ended_at is None:
            self._caller_begins(turn)
        else:
            self._caller_ends(turn)

    def receives(self, event: ClientEvent) -> None:
        """Any other event arrived."""
        match event:
            case CreateResponse():
                self._requested(event)
            case AskAlive():
                self._asked()
            case AddUserText() | AddAgentText():
                self.told.append(event.text)
                self.link.send(Other("conversation.item.added"))
            case AddFunctionOutput():
                if self.calls.get(event.call_id, True):
                    raise Broken("bookkeeping", f"the output of {event.call_id} is told twice, or not its session's")
                self.calls[event.call_id] = True
                self.link.send(Other("conversation.item.added"))
            case TruncateItem():
                self._truncated(event)

    def knows(self) -> frozenset[int]:
        """Return the utterances that it has heard, or was told."""
        heard = {number for number in self._ear.frames if self.has_heard(number)}
        if self._ear.turn is not None:  # not to its end
            heard -= self._ear.turn.words.keys()
        return frozenset(heard | {int(number) for text in self.told for number in UTTERANCE.findall(text)})

    def has_heard(self, number: int) -> bool:
        """Whether it has heard that utterance, or of one that is hardly any some."""
        utterance, frames = self._scene.truth.utterances[number], self._ear.frames.get(number, 0)
        return 2 * frames >= utterance.frames or (frames > 0 and utterance.is_cough)

    # The caller.

    def _caller_begins(self, turn: CallerTurn) -> None:
        self._turns += 1
        self._owes_twin = False
        turn.is_untold = not self.link.send(SpeechStarted(), turn)
        if self.response is not None:
            self._cancel(self.response)

    def _caller_ends(self, turn: CallerTurn) -> None:
        item = f"said_{self.number}_{self._turns}"
        if turn.is_untold:  # nothing tells us to keep these words
            for number in turn.words:
                self._scene.truth.utterances[number].is_sure = False
        self.link.send(SpeechStopped(), turn)
        self.link.send(SpeechCommitted(item), turn)
        self._answer = None
        if self.habits.transcribes != "never":
            after = TRANSCRIBED_AFTER[self.habits.transcribes]
            self._scene.agenda.after(after, self._transcribes, item, turn)
        if self.habits.begins_after:
            self._scene.agenda.after(self.habits.begins_after, self._begins_itself, self._turns)
        else:
            self._begins_itself(self._turns)

    def _transcribes(self, item: str, turn: CallerTurn) -> None:
        if self.habits.transcribes == "failed":
            self.link.send(CallerTranscriptFailed(item, "audio_unintelligible"))
        else:
            self.link.send(CallerTranscript(item, " ".join(f"u{number}" for number in turn.words)), turn)

    # Responses.

    def _begins_itself(self, turn: int) -> None:
        if turn != self._turns or self._ear.turn is not None:
            return
        if self.response is not None:
            self._owes_twin = self.habits.has_twins
        elif self._answer is None or self.habits.has_twins:
            self._responds(None)

    def _requested(self, request: CreateResponse) -> None:
        name = request.event_id if self.habits.names else None
        if self.response is not None:
            self.link.send(ErrorEvent(ALREADY_RESPONDING, "", event_id=name))
        elif self._ear.turn is not None and not self.habits.speaks_over:
            self.link.send(ErrorEvent("invalid_request", "the caller speaks", event_id=name))
        else:
            self._responds(request)

    def _responds(self, request: CreateResponse | None, *, is_unasked: bool = False) -> None:
        scene = self._scene
        answer = scene.script.answer()
        if not speech.is_good(answer.what):
            scene.script.fails(answer.what, answer.wait)
        if answer.what in ("refuses", "never begins"):
            if request is not None:
                words = f"Please try again in {answer.wait}s." if answer.wait else "sorry"
                name = request.event_id if self.habits.names else None
                self.link.send(ErrorEvent("server_error", words, event_id=name))
            return
        asked = (request.event_id or "") if request is not None else ""
        greets = request is not None and (request.instructions or "").startswith("Greet the caller")
        now = scene.agenda.now
        response = Response(
            len(scene.truth.responses),
            self,
            answer,
            now,
            asked,
            greets,
            self.knows(),
            scene.truth.told,
            is_unasked,
            after=self._answer if request is None and not is_unasked else None,
        )
        self._answer = response
        scene.truth.responses[response.id] = self.response = response
        parts = [scene.truth.part(self, name) for name in speech.part_names(response)]
        self._parts |= {part.name: part for part in parts}
        self._steps, self._step = speech.steps(response, parts, self.habits.text), 0
        self.link.send(ResponseCreated(response.id), response)
        scene.agenda.after(self._steps[0][0], self._goes_on, response)

    def _goes_on(self, response: Response) -> None:
        steps, is_due = self._steps, True
        while response is self.response and is_due:
            self._step += 1
            self._sends(response, steps[self._step - 1])
            is_due = response is self.response and not steps[self._step][0]
        if response is self.response:
            self._scene.agenda.after(steps[self._step][0], self._goes_on, response)

    def _sends(self, response: Response, step: speech.Step) -> None:
        _, event, part = step
        if part is not None and isinstance(event, AudioDelta):
            part.sent += payload_bytes(event.delta)
        elif isinstance(event, FunctionCall):
            self.calls.setdefault(event.call_id, False)
        elif isinstance(event, RemoteCallBegan):
            ended = RemoteCallEnded(event.item_id, failed=False)
            self._scene.agenda.after(0.2 + self._scene.script.tool_takes(), self.link.send, ended)
        if isinstance(event, ResponseDone):
            self.response = None
        self.link.send(event, response)
        if isinstance(event, ResponseDone):
            self._is_over()

    def _is_over(self) -> None:
        if self._is_asked:
            self._confirms()
        if self._owes_twin and self._ear.turn is None and self.response is None:
            self._owes_twin = False
            self._responds(None)

    def _cancel(self, response: Response) -> None:
        done, rest = self._steps[: self._step], self._steps[self._step :]
        late = [step for step in rest if isinstance(step[1], AudioDelta)][: self.habits.late]
        begun = {part.name: part for _, _, part in done if part is not None}
        ended = {event.item_id for _, event, _ in done if isinstance(event, AudioDone)}
        ends = [part for name, part in begun.items() if name.partition("/")[0] not in ended]
        ending = (0.0, speech.ending(response, "cancelled"), None)
        self.response = None
        if self.habits.after_end:
            self._sends(response, ending)
        for step in late:
            self._sends(response, step)
        for part in ends if self.habits.finishes else ():
            for event in speech.end_of_part(response, part, self.habits.text, part.sent):
                self.link.send(event, response)
        if not self.habits.after_end:
            self._sends(response, ending)

    # The rest.

    def _asked(self) -> None:
        if self.habits.alive == "late":
            self._scene.agenda.after(CONFIRMED_AFTER, self._confirms)
        elif self.habits.alive == "when idle" and self.response is not None:
            self._is_asked = True
        elif self.habits.alive != "never":
            self._confirms()

    def _confirms(self) -> None:
        self._is_asked = False
        self.link.send(SessionUpdated("audio/pcmu", "audio/pcmu"))

    def _truncated(self, event: TruncateItem) -> None:
        name = f"{event.item_id}/{event.content_index}" if event.content_index else event.item_id
        part = self._parts.get(name)
        if part is None or not part.sent:
            raise Broken("bookkeeping", f"{name} has no audio in session {self.number}, but is truncated")
        if not 0 <= event.audio_end_ms * BYTES_PER_MS <= part.sent:
            raise Broken("bookkeeping", f"{name} is truncated at {event.audio_end_ms} ms, beyond its end")
        self.link.send(Other("conversation.item.truncated"))

    def _fault(self, what: str) -> None:
        if what == "cancels" and self.response is not None:
            self._cancel(self.response)
        elif what == "speaks up" and self._ear.turn is None and self.response is None:
            self.has_spoken_up = True
            self._responds(None, is_unasked=True)
