"""The agent that answers calls. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from callgate.core.protocols.turn_detection import SemanticVad, ServerVad
from callgate.core.tools.toolbox import Toolbox

SILENCE_ENDS_A_TURN = ServerVad()
ONLY_TALKS = Toolbox()


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that answers calls. ``transcription``: the model that transcribes the caller's speech, if any.
    ``one_moment``: the clip that the caller hears while the model is being replaced, base64 µ-law. ``idle``,
    ``longest``: in seconds; see `Limits`. ``has_second_model``: whether there is another model to fall back on when one
    refuses. ``name``: the agent's name in the log. ``model``: None means the model named in the settings. ``language``:
    a BCP 47 tag, such as de-DE. ``consent``: what Twilio says to the caller before anything else. ``noise_reduction``:
    near_field or far_field.

    It is wide because it is a table row: what an owner may say of an agent, as the agents' file has it."""

    instructions: str
    voice: str
    greeting: str
    transcription: str | None = None
    one_moment: str = ""
    idle: float = 0.0
    longest: float = 0.0
    has_second_model: bool = False
    toolbox: Toolbox = ONLY_TALKS
    name: str = "default"
    model: str | None = None
    language: str | None = None
    consent: str | None = None
    turn_detection: ServerVad | SemanticVad = SILENCE_ENDS_A_TURN
    noise_reduction: str | None = None
