"""What a model session is told so that it becomes this call's agent. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from callgate.core.agent import Agent
from callgate.core.protocols.realtime import AddAgentText, AddUserText, ClientEvent, UpdateSession
from callgate.core.tools.declarations import declared

from .transcript import Role, Turn

GO_ON = (
    "The line to you was interrupted for a moment, and the caller was asked to wait. Do not greet again. Go on where "
    "you stopped, in the same language."
)
COME_BACK = (
    "The call was cut off for some seconds and has been restored. Do not greet again. Say in a few words that you were "
    "cut off, and go on where you stopped, in the same language."
)

RETURN = (
    "You are back on the line with the caller. Do not greet again. Go on from what the last note in brackets says, in "
    "the same language."
)


def opening(agent: Agent) -> UpdateSession:
    """Return the event that makes a new model session this agent."""
    language = agent.language
    speak = f"\n\nSpeak {language} (a BCP 47 tag), unless the caller speaks another language." if language else ""
    return UpdateSession(
        agent.instructions + speak,
        agent.voice,
        declared(agent.toolbox),
        agent.transcription,
        language.partition("-")[0] if language else None,
        agent.turn_detection,
        agent.noise_reduction,
    )


def told(history: Iterable[Turn]) -> list[ClientEvent]:
    """Return the events that tell a new model session about a conversation that it did not hear."""
    return [AddAgentText(turn.text) if turn.role is Role.AGENT else AddUserText(turn.text) for turn in history]
