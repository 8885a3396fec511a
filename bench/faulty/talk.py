"""A conversation without incidents: the caller asks some questions, each is answered, and the agent says goodbye. Pure.

The lengths of what is said are random, and so is whether the caller speaks loudly or softly.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from callgate.core.units import SECONDS
from callgate.peers.linecheck.realtime.pending_turn import ToAnswer
from callgate.peers.linecheck.realtime.response import ScriptedResponse, ScriptedToolCall, Speech
from callgate.peers.phone.simulation.script import Hold, Speak, Step
from support.fake_openai import Connection, Script

from .hearing import LOUD, RECOGNISED, SOFT, Sentence, bytes_of, noise
from .scene import history

QUESTION = (0.6 * SECONDS, 2.4 * SECONDS)
ANSWER = (0.5 * SECONDS, 2.0 * SECONDS)


class Talk:
    """The sentences of one conversation with so many questions. ``seed``: different for each."""

    def __init__(self, seed: tuple[int, ...], questions: int) -> None:
        chance = random.Random(repr(seed))
        self.soft = chance.random() < 0.5
        loudness = SOFT if self.soft else LOUD

        def words(place: int, text: str) -> Sentence:
            return Sentence(text, noise((*seed, 1, place), chance.uniform(*QUESTION), loudness))

        def answer(place: int, text: str, **how: bool) -> Sentence:
            return Sentence(text, noise((*seed, 2, place), chance.uniform(*ANSWER)), **how)

        self.questions = [words(place, f"Question {place}.") for place in range(questions)]
        self.farewell = words(questions, "Goodbye.")
        self.answers = [answer(place, f"Answer {place}.") for place in range(questions)]
        self.goodbye = answer(questions, "Goodbye, and thank you.", leaves_turn=False)
        self.greeting = answer(questions + 1, "Hello.")
        self.again = answer(questions + 2, "Where were we?", is_owed=False)

    @property
    def said_by_agent(self) -> tuple[Sentence, ...]:
        """Everything that the agent may say."""
        return self.greeting, *self.answers, self.goodbye, self.again

    @property
    def steps(self) -> tuple[Step, ...]:
        """What the caller does. Hanging up is left to the agent."""
        return (*(Speak(each.audio, each.text) for each in (*self.questions, self.farewell)), Hold())

    def response_to(self, name: str) -> int:
        """Return the number of the response that answers an utterance of this name; the greeting is number 0."""
        names = [each.text for each in (*self.questions, self.farewell)]
        return names.index(name) + 1 if name in names else 0

    def script(self, connection: Connection) -> Script:
        """Return what the model says on this connection."""

        def answer(turn: ToAnswer) -> ScriptedResponse:
            words = self._transcript(turn.heard) if turn.heard else ""
            told = list(history(connection.received))
            if not words and told and told[-1][0] == "user":
                words = told[-1][1]
            return self._answer(words, is_new=not told)

        return Script(after=answer, transcript=self._transcript)

    def _answer(self, words: str, *, is_new: bool) -> ScriptedResponse:
        if words == self.farewell.text:
            return ScriptedResponse((_speech(self.goodbye), ScriptedToolCall("hang_up")))
        for question, answer in zip(self.questions, self.answers, strict=True):
            if words == question.text:
                return ScriptedResponse((_speech(answer),))
        return ScriptedResponse((_speech(self.greeting if is_new else self.again),))

    def _transcript(self, audio: bytes) -> str:
        return next(reversed(list(self._recognised(audio))), "")

    def _recognised(self, audio: bytes) -> Iterator[str]:
        for each in (*self.questions, self.farewell):
            if bytes_of(each.audio, audio) >= RECOGNISED:
                yield each.text


def _speech(sentence: Sentence) -> Speech:
    return Speech(sentence.audio, sentence.text)
