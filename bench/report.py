"""The text of RESULTS.md: tables of medians and spreads, and how they compare with the targets. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .bench import Row

EACH_ROUND = "Each figure is the median over the rounds, followed by the minimum and the maximum."

# One column of a part's table: title, key in the rows, digits.
Column = tuple[str, str, int]
LATENCY: tuple[Column, ...] = (
    ("to model p50, ms", "to_model_p50", 2),
    ("to model p99", "to_model_p99", 2),
    ("to caller p50", "to_caller_p50", 2),
    ("to caller p99", "to_caller_p99", 2),
)
CPU: Column = ("CPU, ms/call-s", "cpu", 2)
CALLS: Column = ("calls", "calls", 0)
CLEAR: tuple[Column, ...] = (("clear p50, ms", "clear_p50", 2), ("clear p99", "clear_p99", 2))
FAULTS: tuple[Column, ...] = (("lost", "lost", 0), ("mixed up", "mixed", 0), ("calls broken", "problems", 0))

TABLES: tuple[tuple[str, str, tuple[Column, ...]], ...] = (
    (
        "cpu echo",
        "CPU and added latency at a few calls, echo load, cores kept awake",
        (CALLS, CPU, *LATENCY, *FAULTS),
    ),
    (
        "cpu talk",
        "CPU, added latency and interruptions at a few calls, talk load, cores kept awake",
        (CALLS, CPU, *LATENCY, *CLEAR, *FAULTS),
    ),
    (
        "asleep echo",
        "The same, echo load, on cores that sleep between messages",
        (CALLS, CPU, *LATENCY, *FAULTS),
    ),
    (
        "asleep talk",
        "The same, talk load, on cores that sleep between messages",
        (CALLS, CPU, *LATENCY, *CLEAR, *FAULTS),
    ),
    (
        "limit echo",
        "Most calls on one core with p99 < 20 ms and nothing lost or mixed up, echo load",
        (("most", "most", 0),),
    ),
    ("limit talk", "The same, talk load", (("most", "most", 0),)),
    ("half echo", "Added latency at half of the most calls, echo load", (CALLS, CPU, *LATENCY, *FAULTS)),
    ("half talk", "The same, talk load", (CALLS, CPU, *LATENCY, *CLEAR, *FAULTS)),
    (
        "clear",
        "`speech_started` → `clear` at many calls, talk load",
        (CALLS, *CLEAR, ("of", "clear_count", 0), *FAULTS),
    ),
    (
        "setup",
        "Fifty call set-ups a second while 100 calls are live",
        (
            ("webhook → TwiML p50, ms", "twiml_p50", 1),
            ("p99", "twiml_p99", 1),
            ("upgrade → first audio p50", "first_p50", 1),
            ("p99", "first_p99", 1),
            ("p99 of the live calls' audio", "live_p99", 1),
        ),
    ),
    (
        "tls",
        "With TLS at nginx in front and TLS to the model, a few calls, echo load",
        (CALLS, CPU, ("nginx's CPU, ms/call-s", "nginx", 2), *LATENCY, *FAULTS),
    ),
    ("memory", "Memory of a live call (USS)", (("kB per idle call", "idle", 0), ("kB per busy call", "busy", 0))),
    (
        "churn",
        "Memory that remains after calls have ended (USS)",
        (("thousands of calls", "thousand", 0), ("memory, MB", "size", 1)),
    ),
    (
        "growth",
        "Cost of a call as calls are added, echo load, cores kept awake",
        (CALLS, CPU, ("p99, ms", "p99", 2)),
    ),
    (
        "hour",
        "One call an hour long, as fast as the relay takes it, in sixths",
        (("CPU, ms per 1,000 frames", "spent", 1), ("memory, MB", "size", 1)),
    ),
    ("scale 1", "Most calls of one backend behind nginx, with a quarter of a core", (("most", "most", 0),)),
    ("scale 2", "Most calls of two backends, each with a quarter of that core", (("most", "most", 0),)),
)
ROW_BY_ROW = ("churn", "growth", "hour")  # curves, which have no median


@dataclass(frozen=True, slots=True)
class Figures:
    """Queries over the rows of a run."""

    rows: Sequence[Row]

    def of(self, part: str, contender: str, key: str) -> list[float]:
        """Return one figure from each round."""
        return [row.values[key] for row in self.rows if (row.part, row.contender) == (part, contender)]

    def contenders(self, part: str) -> list[str]:
        """Return the contenders of a part, in the order of the first round."""
        return list(dict.fromkeys(row.contender for row in self.rows if row.part == part))

    def ratio(self, part: str, key: str, other: str) -> list[float]:
        """Return the ratio of callgate's figure to another's, for each round that has both."""
        pairs = zip(self.of(part, "callgate", key), self.of(part, other, key), strict=False)
        return [mine / its for mine, its in pairs if its]


def render(rows: Sequence[Row], machine: Iterable[str]) -> str:
    """Return the whole text of RESULTS.md."""
    figures = Figures(rows)
    parts = ["# What a call costs", "", "Written by `bench/run`; [README.md](README.md) explains the measurements.", ""]
    parts += [f"- {line}" for line in machine]
    parts += ["", "## Targets", "", *targets(figures), "", "## Figures", "", EACH_ROUND, ""]
    for part, title, columns in TABLES:
        if figures.contenders(part):
            parts += [f"### {title}", "", *_table(figures, part, columns), ""]
    return "\n".join(parts)


def _table(figures: Figures, part: str, columns: Sequence[Column]) -> Iterable[str]:
    yield "| " + " | ".join(("", *(title for title, _, _ in columns), "")) + " |"
    yield "|---" * (len(columns) + 2) + "|"
    if part in ROW_BY_ROW:
        for row in figures.rows:
            if row.part == part:
                cells = [f"{row.values[key]:.{digits}f}" for _, key, digits in columns]
                yield "| " + " | ".join((row.contender, *cells, row.note)) + " |"
        return
    for contender in figures.contenders(part):
        cells = [spread(figures.of(part, contender, key), digits) for _, key, digits in columns]
        yield "| " + " | ".join((contender, *cells, _notes(figures, part, contender))) + " |"


def _notes(figures: Figures, part: str, contender: str) -> str:
    noted = [row for row in figures.rows if (row.part, row.contender) == (part, contender)]
    return "; ".join(f"round {row.round + 1} {row.note}" for row in noted if row.note)


def spread(values: Iterable[float], digits: int) -> str:
    """Format the median, with the minimum and maximum if they differ."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "–"
    middle, least, most = (f"{value:.{digits}f}" for value in (statistics.median(known), min(known), max(known)))
    return middle if least == most else f"{middle} ({least}–{most})"


# Targets.


def targets(figures: Figures) -> Iterable[str]:
    """Yield a line for each target that was measured, with the measured value."""
    for load, slack in (("echo", 1.0), ("talk", 1.15)):
        for part, how in ((f"cpu {load}", "cores kept awake"), (f"asleep {load}", "cores that sleep")):
            for other, whose, most in (("fastapi", "fastapi's", 0.35), ("floor", "the floor's", 1.35)):
                what = f"CPU per call-second at a few calls, {load}, {how}: at most {most * slack:.2f} × {whose}"
                yield from _met(what, figures.ratio(part, "cpu", other), most * slack)
        most_calls = f"Most calls per core, {load}: at least {4 / slack:.1f} × fastapi's"
        yield from _met(most_calls, figures.ratio(f"limit {load}", "most", "fastapi"), least=4 / slack)
    yield from _met(
        "Added p99 at half of the most calls, echo: at most 3 ms", figures.of("half echo", "callgate", "p99"), 3
    )
    yield from _met("`speech_started` → `clear`: p99 at most 5 ms", figures.of("clear", "callgate", "clear_p99"), 5)
    yield from _met(
        "TwiML: p99 at most 20 ms at 50 webhooks a second", figures.of("setup", "callgate", "twiml_p99"), 20
    )
    yield from _met("Memory of an idle live call: at most 150 kB", figures.of("memory", "callgate", "idle"), 150)
    yield from _met(
        "Memory after the last 1,000 calls: at most 1.02 × the memory before them",
        _last_step(figures, "churn", "size"),
        1.02,
    )
    yield from _met(
        "Cost of a call at the curve's most calls: at most the cost at its fewest", _ends(figures, "growth", "cpu"), 1
    )
    yield from _met(
        "CPU of the hour's last sixth: at most 1.1 × the first sixth's", _ends(figures, "hour", "spent"), 1.1
    )
    yield from _met(
        "Memory after the last sixth: at most 1.02 × the memory after the first", _ends(figures, "hour", "size"), 1.02
    )
    faults = [
        row.values["lost"] + row.values["mixed"] + row.values["problems"]
        for row in figures.rows
        if row.contender == "callgate" and "lost" in row.values
    ]
    yield from _met(
        "Nothing lost, nothing mixed up and no call broken in any of the above", [sum(faults)] if faults else [], 0
    )
    yield from _beside_the_lean(figures)
    yield from _scaling(figures)


def _met(sentence: str, values: Sequence[float], most: float = math.inf, *, least: float = -math.inf) -> Iterable[str]:
    known = [value for value in values if not math.isnan(value)]
    if known:
        met = least <= statistics.median(known) <= most
        yield f"- **{'met' if met else 'not met'}**: {sentence}. Measured: {spread(known, 2)}."


def _beside_the_lean(figures: Figures) -> Iterable[str]:
    for load in ("echo", "talk"):
        spent = figures.ratio(f"cpu {load}", "cpu", "fastapi-lean")
        most = figures.ratio(f"limit {load}", "most", "fastapi-lean")
        if spent and most:
            yield f"- Relative to fastapi-lean, {load}: {spread(spent, 2)} × the CPU, {spread(most, 2)} × the calls."


def _scaling(figures: Figures) -> Iterable[str]:
    one, two = (figures.of(f"scale {backends}", "callgate", "most") for backends in (1, 2))
    if one and two and one[0]:
        times = two[0] / one[0]
        yield f"- Two backends behind nginx, each with the same share of a core, carry {times:.2f} × the calls of one."


def _last_step(figures: Figures, part: str, key: str) -> list[float]:
    values = figures.of(part, "callgate", key)
    return [values[-1] / values[-2]] if len(values) > 1 else []


def _ends(figures: Figures, part: str, key: str) -> list[float]:
    values = figures.of(part, "callgate", key)
    return [values[-1] / values[0]] if values else []
