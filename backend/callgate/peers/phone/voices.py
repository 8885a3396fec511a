"""Gives each of several callers its own voice, so that no two of them say the same samples. Pure.

No caller speaks more slowly than the recording, because a longer pause between two words could end its turn.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from .options import PhoneOptions
from .simulation.script import Interrupt, Speak, Step
from .wav import at_speed

FASTEST: Final = 1.5


def speeds(count: int) -> tuple[float, ...]:
    """Return ``count`` speeds from 1.0 to `FASTEST`, evenly spread in pitch. A single caller speaks as recorded."""
    if count == 1:
        return (1.0,)
    return tuple(FASTEST ** (number / (count - 1)) for number in range(count))


def each_its_own(options: PhoneOptions, count: int) -> tuple[PhoneOptions, ...]:
    """Return the same call ``count`` times, each with a different voice."""
    return tuple(
        dataclasses.replace(options, script=tuple(_revoiced(step, speed) for step in options.script))
        for speed in speeds(count)
    )


def _revoiced(step: Step, speed: float) -> Step:
    match step:
        case Speak() | Interrupt():
            return dataclasses.replace(step, audio=at_speed(step.audio, speed))
    return step
