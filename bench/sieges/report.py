"""The results as a table: on the screen, as JSON, and in SIEGE.md. Pure except for `write`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.machine import describe

from .attack import ATTACKS
from .row import ADDED_MS, ADDED_TIMES, BACKEND_KEEPS, NGINX_KEEPS, Row

HEAD = f"""\
# What strangers do to live calls

Printed by `bench/siege --write`; [README.md](README.md) explains the measurements. Each row promises:

- no frame of a live call lost, and no call ended;
- no real caller turned away;
- at most {ADDED_TIMES:g} × the quiet p99, or {ADDED_MS:g} ms, added to the delay of live calls (p99);
- all memory freed again, except {BACKEND_KEEPS:g} MB of the backend's and {NGINX_KEEPS:g} MB of nginx's;
- no traceback, no model session and no request to Twilio except the attack's own, and nothing revealed that a stranger
  must not know.

From the callers' own address: the same, except that callers may be told to ask again during the attack. Three seconds
after it, they are served.
"""
HEADING = (
    "attack", "tried", "got", "frames lost", "p99 quiet, ms", "during", "longest", "callers served", "afterwards",
    "backend MB", "nginx MB", "sessions", "verdict",
)  # fmt: skip
MOST_KINDS = 6  # kinds of answers shown
FACTS = 3  # the number of leading `bench.machine.describe` lines that apply here
SECTIONS = {False: "From an address of its own", True: "From the callers' own address"}


def cells(row: Row) -> list[str]:
    """Return a row's cells as text."""
    verdict = "; ".join(row.failures) or "good"
    return [
        row.attack,
        f"{row.tried} {row.unit}",
        _counts(row.got),
        str(row.lost),
        f"{row.quiet_p99:.1f}",
        f"{row.p99:.1f}",
        f"{row.longest:.0f}",
        str(row.callers),
        str(row.after),
        str(row.backend),
        str(row.nginx),
        str(row.sessions),
        " / ".join((verdict if row.is_good else f"**{verdict}**", *row.notes)),
    ]


def _counts(got: Mapping[str, int]) -> str:
    shown = [f"{what}: {count}" for what, count in list(got.items())[:MOST_KINDS] if count]
    return ", ".join([*shown, "…"] if len(got) > MOST_KINDS else shown) or "nothing"


def line(row: Row) -> str:
    """Format a row for the screen, where it is shown at once."""
    verdict = "FAILS: " + "; ".join(row.failures) if row.failures else "good"
    told = [
        f"{row.attack + (' (same address)' if row.same_address else ''):22} {verdict}",
        f"    tried {row.tried} {row.unit} in {row.seconds:.0f} s: {_counts(row.got)}",
        f"    {row.lost} frames lost, p99 {row.quiet_p99:.1f} -> {row.p99:.1f} ms, longest {row.longest:.0f} ms",
        f"    callers served {row.callers}; afterwards {row.after}",
        f"    MB before, most, after: backend {row.backend}, nginx {row.nginx}; {row.sessions} model sessions, "
        f"{row.rest} requests to Twilio",
        *(f"    {note}" for note in row.notes),
        *(f"    traceback: {last}" for last in dict.fromkeys(row.tracebacks)),
    ]
    return "\n".join(told)


def summary(rows: Sequence[Row]) -> str:
    """Return the last line of the output."""
    failed = [row.attack for row in rows if not row.is_good]
    if not failed:
        return f"{len(rows)} attacks: all as promised"
    return f"{len(rows)} attacks, {len(failed)} not as promised: {', '.join(failed)}"


def as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the rows for JSON."""
    return [{**asdict(row), "failures": row.failures} for row in rows]


def markdown(rows: Sequence[Row], calls: int) -> str:
    """Return the whole text of SIEGE.md."""
    parts = [HEAD, *(f"- {fact}" for fact in describe()[:FACTS]), f"- {calls} live calls", f"- {summary(rows)}", ""]
    for same, title in SECTIONS.items():
        section = [row for row in rows if row.same_address is same]
        if section:
            parts += [f"## {title}", "", _table([HEADING, *(cells(row) for row in section)]), ""]
    parts += ["## The attacks", "", _table([("attack", "what"), *((a.name, a.about) for a in ATTACKS.values())]), ""]
    return "\n".join(parts)


def _table(rows: Sequence[Sequence[str]]) -> str:
    heading, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([heading, "|---" * len(rows[0]) + "|", *body])


def write(file: Path, rows: Sequence[Row], calls: int) -> None:
    """Write SIEGE.md."""
    file.write_text(markdown(rows, calls))
