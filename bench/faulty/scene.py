"""The call that most measurements repeat: a scripted caller, and a model that listens, answers and remembers.

    agent   greets                                    turn 1
    caller  asks
    agent   answers at length                         turn 2
    caller  interrupts
    agent   asks a tool                               turn 3
    agent   answers with what the tool gave           turn 4
    caller  says goodbye
    agent   says goodbye, and asks to hang up         turn 5

A model that takes over from another knows only the history that it is given as items. It then continues as a good model
would: it answers what the caller said last, or resumes its own words. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from callgate.core.units import SECONDS
from callgate.peers.linecheck.realtime.pending_turn import ToAnswer
from callgate.peers.linecheck.realtime.response import ScriptedResponse, ScriptedToolCall, Speech, SpeechPace
from callgate.peers.phone.simulation.script import Hold, Interrupt, Speak, Step
from support.fake_openai import Connection, Event, Script

from .figures import OPENING
from .hearing import LOUD, RECOGNISED, SOFT, Sentence, bytes_of, noise

# slow enough that the long answer is still being sent when the caller interrupts it
PACE = SpeechPace(delta_ms=200, times=4.0)
INTERRUPTED_AFTER = 0.3 * SECONDS
TOOL = "find_parcel"
# What the silence before each turn follows; nothing is said before turn 0.
CAUSES = ("", OPENING, "question", "interruption", "interruption", "farewell")
SHORT_CAUSES = ("", OPENING, "farewell")
TWO_EXCHANGES = frozenset({"interruption"})  # with the model, before it is answered: the tool's is one
TOLD_OF_TOOL = f"[The tool {TOOL} gave: "  # how a session is told what was given to another


class Scene:
    """The sentences of one call, different for each ``number``. ``soft``: the caller speaks softly. ``with_tool``:
    without it, the interruption is answered at once, and goodbye is said in turn 4.

    ``instead``: what the first session gives, in this order, before the right response of turn ``turn``; ``strike`` is
    called each time.
    """

    def __init__(
        self,
        number: int,
        *,
        soft: bool = False,
        with_tool: bool = True,
        turn: int = 0,
        instead: Sequence[ScriptedResponse] = (),
        strike: Callable[[], None] = lambda: None,
    ) -> None:
        def sentence(place: int, seconds: float, text: str, **how: bool) -> Sentence:
            return Sentence(text, noise((number, place), seconds), **how)

        def words(place: int, seconds: float, text: str) -> Sentence:
            return Sentence(text, noise((number, place), seconds, SOFT if soft else LOUD))

        self.question = words(0, 1.0, "Where is my parcel?")
        self.interruption = words(1, 0.6, "No, the other one.")
        self.farewell = words(2, 1.0, "Thank you, goodbye.")
        self.greeting = sentence(3, 0.4, "Hello, this is the parcel service.")
        self.answer = sentence(4, 4.0, "Your parcel left the harbour on Monday, and it came to the depot on Tuesday.")
        self.other_answer = sentence(5, 0.6, "The other one is at the post office.")
        self.goodbye = sentence(6, 0.6, "Goodbye, and thank you for your call.", leaves_turn=False)
        self.taken_up = sentence(7, 0.6, "As I was saying.", is_owed=False)
        self.strike = strike
        self.with_tool = with_tool
        self._turn = turn
        self._instead = instead

    @property
    def said_by_agent(self) -> tuple[Sentence, ...]:
        """Everything that the agent may say."""
        return self.greeting, self.answer, self.other_answer, self.goodbye, self.taken_up

    @property
    def said_by_caller(self) -> tuple[Sentence, ...]:
        """Everything that the caller says."""
        return self.question, self.interruption, self.farewell

    @property
    def steps(self) -> tuple[Step, ...]:
        """What the caller does. The agent says goodbye, so hanging up is left to it."""
        return (
            Speak(self.question.audio, "question"),
            Interrupt(self.interruption.audio, "interruption", INTERRUPTED_AFTER),
            Speak(self.farewell.audio, "farewell"),
            Hold(),
        )

    @property
    def short_steps(self) -> tuple[Step, ...]:
        """A shorter script: the caller is greeted and says goodbye, which becomes turn 2."""
        return self.steps[-2:]

    def script(self, connection: Connection) -> Script:
        """Return what the model says on this connection."""
        model = _Model(self, connection, self._turn, self._instead if connection.number == 0 else ())
        return Script(after=model.answer, transcript=self.transcript, pace=PACE)

    def transcript(self, audio: bytes) -> str:
        """Return the text of the caller's last recognizable sentence in the audio, or "" if there is none."""
        known = [each.text for each in self.said_by_caller if bytes_of(each.audio, audio) >= RECOGNISED]
        return known[-1] if known else ""


class _Model:
    """The model of one session."""

    def __init__(self, scene: Scene, connection: Connection, turn: int, instead: Sequence[ScriptedResponse]) -> None:
        self._scene = scene
        self._connection = connection
        self._turn = turn
        self._instead = list(instead)
        self._given = 0  # right responses
        self._owed: ToAnswer | None = None  # what was to be answered when it gave something else instead

    def answer(self, turn: ToAnswer) -> ScriptedResponse:
        """Return the response to this turn."""
        if (owed := self._owed) is not None:
            output = turn.function_output or owed.function_output
            turn = replace(turn, heard=owed.heard + turn.heard, function_output=output)
        if self._instead and self._given + 1 == self._turn:
            self._owed = turn
            self._scene.strike()
            return self._instead.pop(0)
        self._owed = None
        self._given += 1
        return self._right_answer(turn)

    def _right_answer(self, turn: ToAnswer) -> ScriptedResponse:
        scene = self._scene
        words = scene.transcript(turn.heard) if turn.heard else ""
        if not words and turn.function_output is not None:
            return _say(scene.other_answer)
        if not words:
            told = list(history(self._connection.received))
            if not told:
                return _say(scene.greeting)
            role, words = told[-1]
            if role == "assistant":
                return self._go_on(words)
        match words:
            case scene.question.text:
                return _say(scene.answer)
            case scene.interruption.text if scene.with_tool:
                return ScriptedResponse((ScriptedToolCall(TOOL, '{"number": "7"}'),))
            case scene.farewell.text:
                return self._part()
        is_known = words == scene.interruption.text or words.startswith(TOLD_OF_TOOL)
        return _say(scene.other_answer if is_known else scene.taken_up)

    def _go_on(self, said: str) -> ScriptedResponse:
        """Continue the agent's own unfinished words."""
        goodbye = self._scene.goodbye
        if goodbye.text in said:
            return ScriptedResponse((ScriptedToolCall("hang_up"),))
        return self._part() if said and goodbye.text.startswith(said) else _say(self._scene.taken_up)

    def _part(self) -> ScriptedResponse:
        return ScriptedResponse((_speech(self._scene.goodbye), ScriptedToolCall("hang_up")))


def history(received: list[Event]) -> Iterator[tuple[str, str]]:
    """Yield what a model was told of the earlier conversation: each item's role and text, up to its first response."""
    for event in received:
        if event.get("type") == "response.create":
            return
        item = event.get("item", {})
        if event.get("type") == "conversation.item.create" and item.get("type") == "message":
            yield item["role"], " ".join(part["text"] for part in item["content"] if "text" in part)


def _say(sentence: Sentence) -> ScriptedResponse:
    return ScriptedResponse((_speech(sentence),))


def _speech(sentence: Sentence) -> Speech:
    return Speech(sentence.audio, sentence.text)
