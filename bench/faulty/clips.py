"""Where the service's own clip, "one moment", is in a recording, and whether it was played over the caller. Pure.

Positions are bytes of the recording, whose two sides are aligned.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from callgate.agents.clips import one_moment
from callgate.core.units import SECONDS
from callgate.core.wire.media_stream import FRAME_BYTES, SAMPLE_RATE
from callgate.peers.phone.simulation.hearing import is_audible, speech_bytes
from callgate.peers.phone.simulation.report import CallReport

CLIP = base64.b64decode(one_moment())
PAUSE = SAMPLE_RATE // 2  # bytes: two pieces of the clip that are closer than this are of one playing
# A caller who begins to speak over a clip is noticed by the model first.
NOTICED_WITHIN = 0.5 * SECONDS


@dataclass(frozen=True, slots=True)
class Played:
    """One playing of the clip, from its first audible byte to its last."""

    began: int
    ended: int


def clips(heard: bytes) -> list[Played]:
    """Return every playing of the clip, also of a part of it."""
    found: list[Played] = []
    for at in sorted(at for frame in _frames() for at in _all(frame, heard)):
        if found and at - found[-1].ended < PAUSE:
            found[-1] = Played(found[-1].began, at + FRAME_BYTES)
        else:
            found.append(Played(at, at + FRAME_BYTES))
    return found


def over_caller(report: CallReport, late: float = 0.0) -> list[Played]:
    """Return every playing that the caller had to hear while they spoke, however softly: it began during their words,
    or went on long after they had begun. ``late``: how late the model's events are, in seconds."""
    patience = round((NOTICED_WITHIN + late) * SAMPLE_RATE)
    words = [(spoken.at_byte, spoken.at_byte + speech_bytes(spoken.audio)) for spoken in report.utterances]
    return [clip for clip in clips(report.heard) if any(_is_over(clip, *each, patience) for each in words)]


def _is_over(clip: Played, began: int, ended: int, patience: int) -> bool:
    if began <= clip.began < ended:
        return True
    return clip.began < began and min(clip.ended, ended) > began + patience


@cache
def _frames() -> tuple[bytes, ...]:
    """Return the clip's audible pieces."""
    pieces = (CLIP[at : at + FRAME_BYTES] for at in range(0, len(CLIP) - FRAME_BYTES, FRAME_BYTES))
    return tuple(dict.fromkeys(piece for piece in pieces if is_audible(piece)))


def _all(piece: bytes, recording: bytes) -> Iterator[int]:
    at = recording.find(piece)
    while at >= 0:
        yield at
        at = recording.find(piece, at + len(piece))
