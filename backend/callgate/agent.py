"""Who speaks for us, and what a session of the model's is told to be that agent. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .declarations import declared
from .realtime import AddAgentText, AddUserText, ClientEvent, SemanticVad, ServerVad, UpdateSession
from .tools import Toolbox
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

SILENCE_ENDS_A_TURN = ServerVad()
TALK = Toolbox()


@dataclass(frozen=True, slots=True)
class Agent:
    """Who speaks for us. ``transcription``: the model that writes down what the caller says, if any. ``one_moment``:
    what the caller hears while the model is replaced, base64 µ-law. ``idle``, ``longest``: see `Limits`, in seconds.
    ``has_second_model``: whether there is another to turn to when one refuses. ``name``: what the log calls it.
    ``model``: None: the one that the settings name. ``language``: a BCP 47 tag, as de-DE. ``consent``: what Twilio says
    before anything else is said. ``noise_reduction``: near_field or far_field."""

    instructions: str
    voice: str
    greeting: str
    transcription: str | None = None
    one_moment: str = ""
    idle: float = 0.0
    longest: float = 0.0
    has_second_model: bool = False
    toolbox: Toolbox = TALK
    name: str = "default"
    model: str | None = None
    language: str | None = None
    consent: str | None = None
    turn_detection: ServerVad | SemanticVad = SILENCE_ENDS_A_TURN
    noise_reduction: str | None = None


def opening(agent: Agent) -> UpdateSession:
    """What makes a new session of the model's this agent."""
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
    """What a new session of the model's is told of a conversation that it did not hear."""
    return [AddAgentText(turn.text) if turn.role is Role.AGENT else AddUserText(turn.text) for turn in history]
