"""The points of a call at which its model may fail. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from support.fake_openai import Action, At, Event

DELTAS: Final = ("response.output_audio.delta", "response.output_audio_transcript.delta")
# Sent in every turn, but after the first turn they show nothing new.
DETAILS: Final = frozenset(
    {
        "response.output_item.added",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.done",
        "response.function_call_arguments.delta",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.done",
    }
)
PHASES: Final = ("opening", "greeting", "answer", "tool", "second answer", "goodbye")


@dataclass(frozen=True, slots=True)
class Point:
    """The ``nth`` server event of a type in a turn. Turn 0 is everything before the first response."""

    turn: int
    event: str
    nth: int

    def __str__(self) -> str:
        phase = PHASES[self.turn] if self.turn < len(PHASES) else f"turn {self.turn}"
        return f"{phase}: {self.event}" + (f" {self.nth}" if self.nth > 1 else "")

    @property
    def is_detail(self) -> bool:
        """Whether an earlier turn's event of the same type tells as much."""
        return self.turn > 1 and self.event in DETAILS

    @property
    def is_response(self) -> bool:
        """Whether a response begins here."""
        return self.turn > 0 and self.event == "response.created"

    def at(self, action: Action) -> At:
        """Return a fault that performs ``action`` at this point."""
        return At(self.event, action, self.nth, self.turn)


def points_of(sent: Iterable[Event]) -> list[Point]:
    """Return every point of an undisturbed call, in order. Of a turn's deltas, only the first, the middle and the last
    count.

    The number of deltas in an interrupted response is random, so only its first two count.
    """
    points: list[Point] = []
    turn, counts, cancelled = 0, Counter[str](), set[int]()
    for event in sent:
        kind = event["type"]
        if kind == "response.created":
            turn += 1
            counts.clear()
        if kind == "response.done" and event["response"]["status"] == "cancelled":
            cancelled.add(turn)
        counts[kind] += 1
        points.append(Point(turn, kind, counts[kind]))
    return [point for point in points if point.event not in DELTAS or _is_kept(point, points, cancelled)]


def _is_kept(point: Point, points: Sequence[Point], cancelled: set[int]) -> bool:
    if point.turn in cancelled:
        return point.nth <= 2
    last = max(other.nth for other in points if (other.turn, other.event) == (point.turn, point.event))
    return point.nth in (1, (last + 1) // 2, last)
