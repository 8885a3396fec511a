"""How the model decides that the caller has finished a turn. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ServerVad:
    """A turn ends after a silence. ``threshold``: 0 to 1; the others in milliseconds. None: the API's default."""

    threshold: float | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SemanticVad:
    """A turn ends when what was said sounds complete. ``eagerness``: low, medium, high or auto."""

    eagerness: str = "auto"


DEFAULT: Final = ServerVad()
