"""The report of a measurement: for the screen, as JSON, and as a section of FAULTS.md. Pure except for
`Report.write`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe

from . import interruptions, rollover

HEAD = """\
# What callers hear while the model fails, or only seems to

Printed by `bench/faults --write` (`--all`, `--usual`, `--far`, `--interruptions`, `--rollover`): simulated calls
through the whole service, between the phone and a fake OpenAI, in real time, in one process. The phone's recording says
what the caller heard.

- *Silence* is any stretch without audible sound (digital silence is inaudible) that the caller was not expected to
  break: after the call was answered, after the caller's words, in the middle of the agent's sentence, after its
  goodbye. *Dead air* is what is left of it after the model's own latency has passed, as the fake was told to have it:
  the 0.5 s that it takes to be sure that the caller has finished (OpenAI's default), the time that it thinks, the way
  to it, and the wait that it asks for when it is limited.
- *unharmed*: the model's session survived the fault. *went on*: another session took over and was told what had been
  said; the call ended with the agent's goodbye, heard to its end. *safety net*: an apology, then `FALLBACK_DIAL`.
  *FORGOT*, *LOST*: none of these, which no caller may experience.
- *Ended by our judgement*: calls that ended in the safety net although there was a model that lived. *Answers lost*: a
  living model spoke, and the caller neither heard it to the end nor interrupted it. *Clips over the caller*: "one
  moment" was played while the caller spoke; half of the callers speak softly. *Given up*: a session that served the
  call and lived was closed before its end.
- *Left behind*: live calls, parked sessions, sockets to the model and tasks after each call, before the service is
  stopped; tasks and file descriptors after the run.
"""
SECTIONS = (
    "At each event",
    "A usual conversation",
    "A model far away",
    "Interruptions",
    "The end of a session's hour",
)
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


def of_interruptions(outcome: interruptions.Outcome, seed: int) -> Report:
    """Return the report on the interruptions."""
    clears = [cut.clear_ms for cut in outcome.cuts if cut.clear_ms is not None]
    errors = [abs(cut.error_ms) for cut in outcome.cuts]
    after = sum(cut.played_after for cut in outcome.cuts)
    lines = [
        f"{outcome.asked} interruptions (seed {seed}), {len(outcome.cuts)} truncations, {len(clears)} clears.",
        f"`speech_started` sent by the model → `clear` received by the phone: {spread(clears)}.",
        f"Heard error, |`audio_end_ms` − part of the item played|: {spread(errors)} (bound {ERROR_BOUND:g} ms).",
        f"Bytes of a cut item played after the clear: {after}.",
        f"Everything runs in one process, which was late by at most {outcome.late_ms:.0f} ms.",
        f"Left behind: {', '.join(outcome.left) or 'nothing'}.",
        *(f"- {violation}" for violation in outcome.violations),
    ]
    return Report(
        section=SECTIONS[3],
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
        f"End of the caller's words → answer: {spread([reply for call in calls for reply in call.replies])}.",
        f"Everything runs in one process, which was late by at most {outcome.late_ms:.0f} ms.",
        f"Left behind: {', '.join(outcome.left) or 'nothing'}.",
        *problems,
    ]
    return Report(
        section=SECTIONS[4],
        text="\n".join(lines),
        markdown="  \n".join(lines),
        values={"calls": [asdict(call) for call in calls], "scaled": outcome.scaled, "left": outcome.left},
        is_good=max(to_model, lost, agent) <= GAP_BOUND
        and not (problems or expired or outcome.left)
        and all(call.sessions > 1 for call in calls),
    )


def spread(values: Sequence[float]) -> str:
    """Format the median, 99th percentile and maximum of times in ms."""
    if not values:
        return "none"
    p50, p99 = np.percentile(values, (50, 99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {max(values):.1f} ms"


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as a table for the screen."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows, of which the first is the heading, as Markdown."""
    heading, *rest = rows
    lines = [heading, ["---"] * len(heading), *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
