"""The steps of a caller's script. Pure values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Speak:
    """Speak when the agent has finished. ``audio``: µ-law, 8,000 bytes per second."""

    audio: bytes
    name: str = "words"


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Speak over the agent, ``after`` seconds into its speech."""

    audio: bytes
    name: str = "words"
    after: float = 0.8


@dataclass(frozen=True, slots=True)
class Digits:
    """Press keys (``0-9 * # A-D``) when the agent has finished."""

    digits: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Listen for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Listen until the other side ends the call."""


Step = Speak | Interrupt | Digits | Wait | Hold
