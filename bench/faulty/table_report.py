"""The report on all points and kinds. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .kinds import AT_EVENTS, AT_RESPONSES, SLOW, families, family
from .points import Point
from .report import SECTIONS, Report, markdown_table, text_table
from .runner import LATE
from .table import DEAD_AIR_BOUND, Cell

HEADING = ("kind", "calls", "ended by our judgement", "dead air", f"over {DEAD_AIR_BOUND:g} s", "answers lost",
           "clips over the caller", "given up")  # fmt: skip


def of_table(cells: Sequence[Cell], left: Sequence[str]) -> Report:
    """Return the report. ``left`` is what the whole run left behind."""
    summary = _summary(cells, left)
    figures = [HEADING, *_by_family(cells)]
    tables = [table for kinds in (AT_EVENTS, AT_RESPONSES, SLOW) if (table := _table(cells, kinds))]
    problems = [_problem(cell) for cell in cells if not cell.is_good]
    on_screen = "\n\n".join(map(text_table, (*tables, figures)))
    in_file = "\n\n".join(map(markdown_table, (figures, *tables)))
    return Report(
        section=SECTIONS[0],
        text="\n".join([on_screen, "", *summary, *problems]),
        markdown="\n".join([*(f"- {line}" for line in summary), *problems, "", in_file]),
        values={"cells": [cell.as_json() for cell in cells], "left": list(left)},
        is_good=bool(cells) and not problems and not left,
    )


def _by_family(cells: Sequence[Cell]) -> Iterable[Sequence[str]]:
    for name in families(cell.kind for cell in cells):
        yield _row(name, [cell for cell in cells if family(cell.kind) == name])
    yield _row("all", cells)


def _row(name: str, cells: Sequence[Cell]) -> Sequence[str]:
    figures = [cell.figures for cell in cells]
    return (
        name,
        str(len(cells)),
        str(sum(cell.ended_by_us for cell in cells)),
        f"{max((each.dead_air for each in figures), default=0.0):.2f} s",
        str(sum(each.dead_air > DEAD_AIR_BOUND for each in figures)),
        str(sum(len(each.lost) for each in figures)),
        str(sum(each.over_caller for each in figures)),
        str(sum(each.given_up for each in figures)),
    )


def _table(cells: Sequence[Cell], kinds: Iterable[str]) -> list[Sequence[str]]:
    """Return how each call went, a row for each point and a column for each of these kinds; nothing if there is no such
    call."""
    there = [kind for kind in kinds if any(cell.kind == kind for cell in cells)]
    points = dict.fromkeys(cell.point for cell in cells if cell.kind in there)
    rows: list[Sequence[str]] = [["at", *there]]
    rows += [[str(point), *(_shown(_find(cells, point, kind)) for kind in there)] for point in points]
    return rows if there else []


def _summary(cells: Sequence[Cell], left: Sequence[str]) -> list[str]:
    worst = max((cell.figures.silence for cell in cells), default=0.0)
    endings = Counter(cell.ending.value for cell in cells)
    leaks = sum(bool(cell.left) for cell in cells)
    return [
        f"{len(cells)} calls; in {sum(cell.soft for cell in cells)} of them the caller speaks softly. Each cell: the "
        "most dead air in seconds, and how the call went on.",
        f"The worst silence, with the model's own latency: {worst:.2f} s.",
        "Endings: " + ", ".join(f"{count} {ending}" for ending, count in endings.most_common()) + ".",
        f"{sum(cell.tries > 1 for cell in cells)} calls were repeated, because they went badly while this process, "
        f"which runs the caller, the service and the model, was late by more than {LATE * 1000:.0f} ms.",
        f"Left behind: by {leaks} calls{'' if leaks else ' anything'}; by the run {', '.join(left) or 'nothing'}.",
    ]


def _problem(cell: Cell) -> str:
    figures = cell.figures
    what = [cell.why] if cell.ended_by_us or not cell.ending.is_designed else []
    what += [f"left {', '.join(cell.left)}"] if cell.left else []
    what += [f"{figures.dead_air:.2f} s of dead air"] if figures.dead_air > DEAD_AIR_BOUND else []
    what += [f"not heard: {text!r}" for text in figures.lost]
    what += ['"one moment" was played over the caller'] if figures.over_caller else []
    what += ["the fault did not strike"] if not cell.struck else []
    caller = "a soft caller" if cell.soft else "a caller"
    return f"- {cell.kind} at {cell.point}, {caller}: {'; '.join(what) or f'fatal, and the call {cell.ending.value}'}"


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return ""
    marks = {
        "not struck": not cell.struck,
        "LEAK": cell.left,
        "UNHEARD": cell.figures.lost,
        "OVER": cell.figures.over_caller,
    }
    return " ".join(
        [f"{cell.figures.dead_air:.2f} {cell.ending.value}", *(mark for mark, is_so in marks.items() if is_so)]
    )


def _find(cells: Iterable[Cell], point: Point, kind: str) -> Cell | None:
    return next((cell for cell in cells if (cell.point, cell.kind) == (point, kind)), None)
