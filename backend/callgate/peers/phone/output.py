"""What the command line prints and writes about calls."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from callgate.errors import ConfigError

from .call import CallReports
from .picture import draw_call
from .simulation.report import CallReport, broken
from .simulation.timeline import table
from .wav import write_stereo


def as_text(calls: CallReports) -> str:
    """Return one call as its timeline, or several as a line each and their totals."""
    if len(calls.reports) == 1:
        parts = [table(calls.reports[0].events)]
    else:
        parts = [*(_line(number, report) for number, report in enumerate(calls.reports, 1)), "", *_sums(calls)]
    if calls.echo is not None:
        parts.append(calls.echo.as_line())
    parts.append(_verdict(calls))
    return "\n".join(parts)


def as_json_text(calls: CallReports) -> str:
    """Return all calls as JSON."""
    echo = calls.echo
    document: dict[str, Any] = {
        "kept": calls.kept,
        "echo": None if echo is None else {"calls": echo.calls, "own": echo.own, "anothers": echo.anothers},
        "calls": [report.as_json() for report in calls.reports],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def broken_promises(calls: CallReports) -> list[str]:
    """Return a line for each broken promise. With several calls, it begins with the call's number."""
    several = len(calls.reports) > 1
    return [
        (f"call {number}: " if several else "") + promise.as_line()
        for number, report in enumerate(calls.reports, 1)
        for promise in broken(report.promises)
    ]


def write_files(calls: CallReports, record: Path | None, timeline: Path | None, picture: Path | None) -> None:
    """Write the requested files. Raises `RecordingError`, `PictureError` or `ConfigError`."""
    count = len(calls.reports)
    for number, report in enumerate(calls.reports, 1):
        if record is not None:
            write_stereo(_numbered(record, number, count), report.said, report.heard)
        if picture is not None:
            draw_call(report, _numbered(picture, number, count))
    if timeline is not None:
        try:
            timeline.write_text(as_json_text(calls) + "\n", encoding="utf-8")
        except OSError as exc:
            raise ConfigError([f"{timeline} can't be written: {exc.strerror}"]) from exc


def _numbered(path: Path, number: int, count: int) -> Path:
    return path if count == 1 else path.with_name(f"{path.stem}-{number:03d}{path.suffix}")


def _line(number: int, report: CallReport) -> str:
    verdict = "kept" if report.kept else f"{len(broken(report.promises))} promise(s) NOT kept"
    replies = ", ".join(f"{u.latency * 1000:.0f} ms" for u in report.utterances if u.latency is not None) or "none"
    return f"call {number:3d}  {report.seconds:7.2f} s  replies {replies:<16} {report.ended}: {verdict}"


def _sums(calls: CallReports) -> list[str]:
    reports = calls.reports
    return [
        _spread("first audio after start", (r.first_audio for r in reports)),
        _spread("reply after speech", (u.latency for r in reports for u in r.utterances)),
        _spread("agent stops when interrupted", (u.cleared_after for r in reports for u in r.utterances)),
    ]


def _spread(what: str, values: Iterable[float | None]) -> str:
    known = sorted(value * 1000 for value in values if value is not None)
    if not known:
        return f"{what}: none"
    return f"{what}: {known[0]:.0f} ms lowest, {median(known):.0f} ms median, {known[-1]:.0f} ms highest"


def _verdict(calls: CallReports) -> str:
    promises = [promise for report in calls.reports for promise in report.promises]
    return f"{len(promises) - len(broken(promises))} of {len(promises)} promises kept"
