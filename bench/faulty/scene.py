"""The call that every measurement repeats: a scripted caller, and a model that listens, answers and remembers.

    agent   greets                                    turn 1
    caller  asks
    agent   answers at length                         turn 2
    caller  interrupts
    agent   answers that                              turn 3
    caller  says goodbye
    agent   says goodbye, and asks to hang up         turn 4

A lost model is replaced by another, which knows only the history that it is given as items. It then continues as a
good model would: it answers what the caller said last, or resumes its own words. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from callgate.core.units import SECONDS
from callgate.peers.linecheck.realtime.pending_turn import ToAnswer
from callgate.peers.linecheck.realtime.response import ScriptedResponse, ScriptedToolCall, Speech, SpeechPace
from callgate.peers.phone.simulation.script import Hold, Interrupt, Speak, Step
from support.fake_openai import Connection, Event, Script

from .hearing import Sentence, bytes_of, noise

# slow enough that the long answer is still being sent when the caller interrupts it
PACE = SpeechPace(delta_ms=200, times=4.0)
INTERRUPTED_AFTER = 0.3 * SECONDS
RECOGNISED = 400  # bytes of an utterance by which the model recognizes it


class Scene:
    """The sentences of one call, different for each ``number``."""

    def __init__(self, number: int) -> None:
        def sentence(place: int, seconds: float, text: str, *, leaves_turn: bool = True) -> Sentence:
            return Sentence(text, noise((number, place), seconds), leaves_turn)

        self.question = sentence(0, 0.4, "Where is my parcel?")
        self.interruption = sentence(1, 0.4, "No, the other one.")
        self.farewell = sentence(2, 0.4, "Thank you, goodbye.")
        self.greeting = sentence(3, 0.4, "Hello, this is the parcel service.")
        self.answer = sentence(4, 4.0, "Your parcel left the harbour on Monday, and it came to the depot on Tuesday.")
        self.other_answer = sentence(5, 0.6, "The other one is at the post office.")
        self.goodbye = sentence(6, 0.6, "Goodbye, and thank you for your call.", leaves_turn=False)
        self.taken_up = sentence(7, 0.6, "As I was saying.")

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
        return Script(after=lambda turn: self._answer(turn, connection), transcript=self._transcript, pace=PACE)

    def _answer(self, turn: ToAnswer, connection: Connection) -> ScriptedResponse:
        words = self._transcript(turn.heard) if turn.heard else ""
        if not words:
            told = list(history(connection.received))
            if not told:
                return _say(self.greeting)
            role, words = told[-1]
            if role == "assistant":
                return self._go_on(words)
        match words:
            case self.question.text:
                return _say(self.answer)
            case self.interruption.text:
                return _say(self.other_answer)
            case self.farewell.text:
                return self._part()
        return _say(self.taken_up)

    def _go_on(self, said: str) -> ScriptedResponse:
        """Continue the agent's own unfinished words."""
        if self.goodbye.text in said:
            return ScriptedResponse((ScriptedToolCall("hang_up"),))
        return self._part() if said and self.goodbye.text.startswith(said) else _say(self.taken_up)

    def _part(self) -> ScriptedResponse:
        return ScriptedResponse((_speech(self.goodbye), ScriptedToolCall("hang_up")))

    def _transcript(self, audio: bytes) -> str:
        """Return the text of the caller's last recognizable sentence in the audio, or "" if there is none."""
        known = [each.text for each in self.said_by_caller if bytes_of(each.audio, audio) >= RECOGNISED]
        return known[-1] if known else ""


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
