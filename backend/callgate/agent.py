"""Who speaks for us, and what a session of the model's is told to be that agent. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .realtime import AddAgentText, AddUserText, ClientEvent, Tool, UpdateSession
from .tools import Toolbox
from .transcript import Role, Turn

HANG_UP = Tool(
    name="hang_up",
    description="End the telephone call. Say goodbye first, in the same turn: the line closes when it has been heard.",
    parameters={"type": "object", "properties": {}, "additionalProperties": False},
)

GO_ON = (
    "The line to you was interrupted for a moment, and the caller was asked to wait. Do not greet again. Go on where "
    "you stopped, in the same language."
)
COME_BACK = (
    "The call was cut off for some seconds and has been restored. Do not greet again. Say in a few words that you were "
    "cut off, and go on where you stopped, in the same language."
)


TALK = Toolbox()


@dataclass(frozen=True, slots=True)
class Agent:
    """Who speaks for us. ``transcription``: the model that writes down what the caller says, if any. ``one_moment``:
    what the caller hears while the model is replaced, base64 µ-law. ``idle``, ``longest``: see `Limits`, in seconds.
    ``has_second_model``: whether there is another to turn to when one refuses."""

    instructions: str
    voice: str
    greeting: str
    transcription: str | None = None
    one_moment: str = ""
    idle: float = 0.0
    longest: float = 0.0
    has_second_model: bool = False
    toolbox: Toolbox = TALK


def opening(agent: Agent) -> UpdateSession:
    """What makes a new session of the model's this agent."""
    return UpdateSession(agent.instructions, agent.voice, (HANG_UP,), agent.transcription)


def told(history: Iterable[Turn]) -> list[ClientEvent]:
    """What a new session of the model's is told of a conversation that it did not hear."""
    return [AddAgentText(turn.text) if turn.role is Role.AGENT else AddUserText(turn.text) for turn in history]
