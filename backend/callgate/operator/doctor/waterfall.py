"""The parts of a call's beginning, in order, and how long each took. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from callgate.peers.phone.simulation.report import CallReport

BAR: Final = 40  # characters
ANSWER: Final = "the agent's answer"


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a call's beginning. Times in seconds; ``at``: since the call began."""

    name: str
    at: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the part for machines."""
        return {"part": self.name, "at": round(self.at, 4), "seconds": round(self.seconds, 4)}


def of_call(report: CallReport) -> list[Stage]:
    """Return the parts from the first request to the first word, and from the caller's last word to the answer."""
    parts: list[Stage] = []
    for event in report.events:
        detail = event.detail
        if event.kind == "webhook" and not parts:
            took, connect = _number(detail.get("seconds")), _number(detail.get("connect_seconds"))
            began = max(0.0, event.at - took)
            parts += [
                Stage("webhook: TCP and TLS", began, connect),
                Stage("webhook: TwiML", began + connect, took - connect),
            ]
        elif event.kind == "connected" and len(parts) == 2:
            lengths = {name: _number(detail.get(f"{name}_seconds")) for name in ("tcp", "tls", "upgrade")}
            at = event.at - sum(lengths.values())
            for name, seconds in lengths.items():
                parts.append(Stage(f"stream: {name.upper() if name != 'upgrade' else name}", at, seconds))
                at += seconds
        elif event.kind == "first audio" and report.first_audio is not None:
            parts.append(Stage("the agent's first sound", event.at - report.first_audio, report.first_audio))
    parts += [
        Stage(ANSWER, said.speech_ended, said.latency)
        for said in report.utterances
        if said.latency is not None and said.speech_ended is not None
    ]
    return parts


def of_events(events: Sequence[Mapping[str, object]]) -> list[Stage]:
    """Return the times between the events of a real call. An event has ``at`` (seconds) and ``name``."""
    parts: list[Stage] = []
    before = 0.0
    for event in events:
        at = _number(event.get("at"))
        parts.append(Stage(f"until: {event.get('name', '')}", before, max(0.0, at - before)))
        before = at
    return parts


def as_lines(parts: Sequence[Stage]) -> list[str]:
    """Return the waterfall as text: start, duration, name, and a bar for each part up to the agent's first sound."""
    end = max((part.at + part.seconds for part in parts if part.name != ANSWER), default=0.0) or 1.0
    return [f"{part.at:8.3f} s  {part.seconds * 1000:7.0f} ms  |{_bar(part, end)}|  {part.name}" for part in parts]


def _bar(part: Stage, end: float) -> str:
    left, length = int(part.at / end * BAR), max(1, round(part.seconds / end * BAR))
    return (" " * left + "=" * length)[:BAR].ljust(BAR)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
