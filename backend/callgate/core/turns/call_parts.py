"""The parts of one call's conversation, each of which owns its state. Pure."""

from __future__ import annotations

import logging

from callgate.core.absences import Absences
from callgate.core.agent import Agent
from callgate.core.protocols.realtime import AddUserText

from .agent_speech import AgentSpeech
from .call_memory import CallMemory
from .caller_audio import CallerAudio
from .comfort import Comfort
from .commands import Command, Note
from .ending import Ending
from .first_word import FirstWord
from .floor import Floor
from .floor_table import Debt
from .limits import Limits, Step
from .liveness import Liveness
from .recovery import Recovery
from .tool_desk import ToolDesk
from .transcript import Turn


class CallParts:
    """The parts, and what concerns several of them.

    It has more than a dozen fields because it is the list of the parts; it has no state of its own."""

    def __init__(
        self,
        stream_sid: str,
        agent: Agent,
        now: float,
        memory: tuple[Turn, ...] | None,
        absences: Absences,
        lasted: float,
    ) -> None:
        self.stream_sid = stream_sid
        self.agent = agent
        self.floor = Floor(now)
        self.memory = CallMemory(stream_sid, memory or ())
        self.speech = AgentSpeech(stream_sid, self.memory.transcript, now)
        self.audio = CallerAudio(now)
        self.first_word = FirstWord(agent.greeting, is_back=memory is not None, absences=absences)
        self.liveness = Liveness(now)
        self.recovery = Recovery()
        self.comfort = Comfort(now)
        self.desk = ToolDesk(agent.toolbox, absences)
        self.limits = Limits(agent.idle, agent.longest, now, now - lasted)
        self.ending = Ending()

    def tell(self, note: str) -> list[Command]:
        """Tell the model something besides what is said."""
        return [AddUserText(note), self.memory.note(note)]

    def quiet_since(self) -> float | None:
        """When both fell silent; None: one of them is speaking, or is about to."""
        if not self.floor.is_open or self.desk.waits:
            return None
        return max(self.speech.ends_at, self.audio.words_until)

    def keep_to_limits(self, now: float) -> list[Command]:
        """Tell the model of a limit that is reached."""
        step = self.limits.step(self.quiet_since(), now)
        if step is None:
            return []
        commands = [Note(logging.INFO, f"The model is told: {step.value}"), *self.tell(step.value)]
        if step is Step.WARN:
            return commands
        if step.ends_call:
            self.ending.wants_last_word(now)
        self.floor.wants(Debt.TOLD, now)
        return commands

    def leave(self, now: float) -> list[Command]:
        """The agent has said its last word: the line closes when the caller has heard it."""
        self.ending.leave(now, self.speech.ends_at)
        return [*self.speech.last_mark(), *self.leave_if_heard()]

    def leave_if_heard(self) -> list[Command]:
        """Close the line if the caller has heard the agent's last word."""
        if not self.ending.is_leaving or not self.speech.all_returned or self.desk.waits:
            return []
        return [*self.ending.agent_leaves(", and was heard to the end")]
