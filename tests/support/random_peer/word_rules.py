"""The rule that whoever waits for the agent is answered, and in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from callgate.core.turns.serving import Phase

from .broken import Broken
from .plan import Habits
from .truth import Response

if TYPE_CHECKING:
    from .scene import Scene

ANSWERED = "answered"
USUALLY = 5.0  # seconds: the end of the words is found, the model is asked if it does not begin, and it begins
IN_TROUBLE = 12.0  # for a session that behaves oddly: another one is opened beside it, and answers
LOOKS_BACK = 20.0  # seconds: trouble that old may still delay an answer


@dataclass(slots=True)
class Told:
    """Something besides words that the agent was told, and is to answer. ``count``: how many there had been."""

    what: str
    at: float
    count: int


class WordRules:
    """It."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._told: list[Told] = []
        self._open: set[str] = set()  # tools at work
        self._since = 0.0

    @property
    def waits(self) -> bool:
        """Whether anybody waits for the agent."""
        return bool(self._told or self._open or self._unanswered())

    def tells(self, what: str) -> None:
        """The agent is told something that it is to answer."""
        self._told.append(Told(what, self._scene.agenda.now, self._scene.truth.told))

    def tool_begins(self, call_id: str) -> None:
        """A tool is at work."""
        self._open.add(call_id)

    def tool_ends(self, call_id: str) -> None:
        """It is done."""
        self._open.discard(call_id)

    def session_replaced(self) -> None:
        """Another session serves the call. The beginning of a cough may be lost, and what the API did for the last
        one."""
        for utterance in self._unanswered():
            utterance.answered = utterance.is_cough
        self.forgets_remote_tools()

    def forgets_remote_tools(self) -> None:
        """Nothing more comes of the calls that the API makes itself."""
        self._open = {each for each in self._open if not each.startswith("mcp_")}

    def caller_speaks(self) -> None:
        """The answer to the caller covers all that was owed before."""
        self._told.clear()

    def heard(self, response: Response) -> None:
        """The caller hears a response, or it has called a tool."""
        for number in response.knows:
            self._scene.truth.utterances[number].answered = True
        self._told = [told for told in self._told if told.count > response.told]

    def look(self, now: float) -> None:
        """Time has passed."""
        scene = self._scene
        if scene.conversation.phase in (Phase.LEAVING, Phase.ENDED):
            self._told.clear()
            for utterance in scene.truth.utterances.values():
                utterance.answered = True
            return
        if scene.caller.speaks or scene.caller.is_loud or scene.playback.speaks or self._open:
            self._since = now
            return
        for utterance in self._unanswered():
            self._check(f"u{utterance.number}", max(utterance.ends_at, self._since), now)
        for told in self._told:
            self._check(told.what, max(told.at, self._since), now)

    def _unanswered(self) -> list:
        now = self._scene.agenda.now
        return [
            each
            for each in self._scene.truth.utterances.values()
            if not each.answered and (each.is_sure or each.reported) and each.ends_at <= now
        ]

    def _check(self, what: str, since: float, now: float) -> None:
        if now < since + USUALLY:
            return
        patience = self._patience(since)
        if now > since + patience:
            raise Broken(ANSWERED, f"{what} is not answered within {patience:.1f} s")

    def _patience(self, since: float) -> float:
        truth, begins = self._scene.truth, since - LOOKS_BACK
        found = USUALLY
        found += sum(trouble.seconds for trouble in truth.troubles if trouble.at >= begins)
        found += sum(each.answer.thinking for each in truth.responses.values() if each.began_at >= since - 8.0)
        for server in self._scene.servers:
            if server.link.is_hung and (not server.link.is_closed or server.closed_at >= begins):
                found += 20.0
            if server.habits != Habits(latency=server.habits.latency):
                found += IN_TROUBLE
        return found
