"""The report of a measurement: for the screen, as JSON, and as a section of FAULTS.md. Pure except for
`Report.write`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe

from . import interruptions, rollover
from .points import Point
from .table import LATE, SILENCE_BOUND, Cell

HEAD = """\
# What callers hear while the model fails

Printed by `bench/faults --write` (`--all`, `--interruptions`, `--rollover`): simulated calls through the whole service,
between the phone and a fake OpenAI, in real time, in one process. The phone's recording says what the caller heard.

- *Silence* is any stretch without audible sound (digital silence is inaudible) that the caller was not expected to
  break: after the call was answered, after the caller's words, in the middle of the agent's sentence, after its
  goodbye. It includes the 0.5 s that the model takes to be sure that the caller has finished, OpenAI's default.
- *unharmed*: the model's session survived the fault. *went on*: another session took over and was told what had been
  said; the call ended with the agent's goodbye, heard to its end. *safety net*: an apology, then `FALLBACK_DIAL`.
  *FORGOT*, *LOST*: none of these, which no caller may experience.
- *Left behind*: live calls, parked sessions, sockets to the model and tasks after each call, before the service is
  stopped; tasks and file descriptors after the run.
"""
SECTIONS = ("At each event", "Interruptions", "The end of a session's hour")
ERROR_BOUND = 40.0  # ms
GAP_BOUND = 200.0  # ms
FACTS = 3  # the number of leading `bench.machine.describe` lines that apply here


@dataclass(frozen=True, slots=True)
class Report:
    """One section of FAULTS.md (one of `SECTIONS`), with the same result as text for the screen and values for JSON."""

    section: str
    text: str
    markdown: str
    values: dict[str, Any]
    is_good: bool

    def write(self, file: Path) -> None:
        """Replace this section in the file, or add it."""
        old = file.read_text() if file.exists() else ""
        sections = dict(re.findall(r"^## ([^\n]+)\n\n(.*?)(?=^## |\Z)", old, re.DOTALL | re.MULTILINE))
        facts = "\n".join(f"- {fact}" for fact in describe()[:FACTS])
        sections[self.section] = f"{facts}\n\n{self.markdown.strip()}\n"
        parts = [f"## {name}\n\n{sections[name].strip()}\n" for name in SECTIONS if name in sections]
        file.write_text("\n".join([HEAD, *parts]))


def of_table(cells: Sequence[Cell], kinds: Sequence[str], left: Sequence[str]) -> Report:
    """Return the report on all points and kinds. ``left`` is what the whole run left behind."""
    summary = _summary(cells, kinds, left)
    shown = [[str(point), *(_shown(_find(cells, point, kind)) for kind in kinds)] for point in _points(cells)]
    heading = ["at", *kinds]
    problems = [_problem(cell) for cell in cells if not cell.is_good]
    lines = [_text_table([heading, *shown]), "", *summary, *problems]
    return Report(
        section=SECTIONS[0],
        text="\n".join(lines),
        markdown="\n".join([*(f"- {line}" for line in summary), *problems, "", _markdown_table([heading, *shown])]),
        values={"cells": [cell.as_json() for cell in cells], "left": list(left)},
        is_good=bool(cells) and not problems and not left,
    )


def of_interruptions(outcome: interruptions.Outcome, seed: int) -> Report:
    """Return the report on the interruptions."""
    clears = [cut.clear_ms for cut in outcome.cuts if cut.clear_ms is not None]
    errors = [abs(cut.error_ms) for cut in outcome.cuts]
    after = sum(cut.played_after for cut in outcome.cuts)
    lines = [
        f"{outcome.asked} interruptions (seed {seed}), {len(outcome.cuts)} truncations, {len(clears)} clears.",
        f"`speech_started` sent by the model → `clear` received by the phone: {_spread(clears)}.",
        f"Heard error, |`audio_end_ms` − part of the item played|: {_spread(errors)} (bound {ERROR_BOUND:g} ms).",
        f"Bytes of a cut item played after the clear: {after}.",
        f"Everything runs in one process, which was late by at most {outcome.late_ms:.0f} ms.",
        f"Left behind: {', '.join(outcome.left) or 'nothing'}.",
        *(f"- {violation}" for violation in outcome.violations),
    ]
    return Report(
        section=SECTIONS[1],
        text="\n".join(lines),
        markdown="  \n".join(lines),
        values={"seed": seed, "asked": outcome.asked, "left": outcome.left, "cuts": [asdict(c) for c in outcome.cuts]},
        is_good=0 < outcome.asked <= len(outcome.cuts) == len(clears)
        and max(errors) <= ERROR_BOUND
        and not after
        and not outcome.left
        and not outcome.violations,
    )


def of_rollovers(outcome: rollover.Outcome) -> Report:
    """Return the report on the ends of sessions."""
    calls = outcome.calls
    to_model, lost, agent = (
        max((getattr(call, name) for call in calls), default=0.0)
        for name in ("to_model_gap", "words_lost", "agent_gap")
    )
    problems = [f"- {problem}" for problem in dict.fromkeys(problem for call in calls for problem in call.problems)]
    expired = sum(call.expired for call in calls)
    lines = [
        f"{len(calls)} calls, {sum(call.sessions for call in calls)} sessions of at most {rollover.SESSION:g} s: "
        f"{expired} ended without a planned rollover. {', '.join(outcome.scaled) or 'This relay plans no rollover'}.",
        f"Caller → model: longest gap {to_model:.0f} ms, longest stretch of words that no session got {lost:.0f} ms.",
        f"Agent → caller: longest gap inside an answer {agent:.0f} ms (bound for all three {GAP_BOUND:g} ms).",
        f"End of the caller's words → answer: {_spread([reply for call in calls for reply in call.replies])}.",
        f"Everything runs in one process, which was late by at most {outcome.late_ms:.0f} ms.",
        f"Left behind: {', '.join(outcome.left) or 'nothing'}.",
        *problems,
    ]
    return Report(
        section=SECTIONS[2],
        text="\n".join(lines),
        markdown="  \n".join(lines),
        values={"calls": [asdict(call) for call in calls], "scaled": outcome.scaled, "left": outcome.left},
        is_good=max(to_model, lost, agent) <= GAP_BOUND
        and not (problems or expired or outcome.left)
        and all(call.sessions > 1 for call in calls),
    )


def _spread(values: Sequence[float]) -> str:
    """Format the median, 99th percentile and maximum of times in ms."""
    if not values:
        return "none"
    p50, p99 = np.percentile(values, (50, 99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {max(values):.1f} ms"


def _summary(cells: Sequence[Cell], kinds: Sequence[str], left: Sequence[str]) -> list[str]:
    worst = max((cell.silence for cell in cells), default=0.0)
    endings = Counter(cell.ending.value for cell in cells)
    leaks = sum(bool(cell.left) for cell in cells)
    return [
        f"{len(cells)} calls, {len(_points(cells))} points × {len(kinds)} kinds; each cell: the worst silence in "
        "seconds, and how the call went on.",
        f"Worst silence {worst:.2f} s (bound {SILENCE_BOUND:g} s), missed by "
        f"{sum(cell.silence > SILENCE_BOUND for cell in cells)}; by kind: "
        + ", ".join(f"{kind} {max((c.silence for c in cells if c.kind == kind), default=0.0):.2f}" for kind in kinds)
        + ".",
        "Endings: " + ", ".join(f"{count} {ending}" for ending, count in endings.most_common()) + ".",
        f"{sum(cell.tries > 1 for cell in cells)} calls were repeated, because they went badly while this process, "
        f"which runs the caller, the service and the model, was late by more than {LATE * 1000:.0f} ms.",
        f"Left behind: by {leaks} calls{'' if leaks else ' anything'}; by the run {', '.join(left) or 'nothing'}.",
    ]


def _problem(cell: Cell) -> str:
    what = [cell.why] if not cell.ending.is_designed else []
    what += [f"left {', '.join(cell.left)}"] if cell.left else []
    what += [f"{cell.silence:.2f} s of silence"] if cell.silence > SILENCE_BOUND else []
    what += ["the fault did not strike"] if not cell.struck else []
    return f"- {cell.kind} at {cell.point}: {'; '.join(what) or f'it is fatal, and the call {cell.ending.value}'}"


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return ""
    marks = ("" if cell.struck else " not struck") + (" LEAK" if cell.left else "")
    return f"{cell.silence:.2f} {cell.ending.value}{marks}"


def _points(cells: Iterable[Cell]) -> list[Point]:
    return list(dict.fromkeys(cell.point for cell in cells))


def _find(cells: Iterable[Cell], point: Point, kind: str) -> Cell | None:
    return next((cell for cell in cells if (cell.point, cell.kind) == (point, kind)), None)


def _text_table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    heading, *rest = rows
    lines = [heading, ["---"] * len(heading), *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
