"""Who speaks for us. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from callgate.core.protocols.turn_detection import SemanticVad, ServerVad
from callgate.core.tools.toolbox import Toolbox

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
