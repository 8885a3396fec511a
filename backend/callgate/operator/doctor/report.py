"""The doctor's report, for people and for machines, with all secrets masked. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .finding import Finding, Result, Status
from .summary import checklist
from .waterfall import Stage, as_lines

WIDTH: Final = 118
INDENT: Final = " " * 10


@dataclass(frozen=True, slots=True)
class Examination:
    """All results, in order. ``is_up``: whether any part of Callgate is running. ``parts``: of the test call."""

    base_url: str | None
    results: tuple[Result, ...]
    is_up: bool = True
    parts: tuple[Stage, ...] = ()

    @property
    def first_wrong(self) -> Result | None:
        """The first result that is wrong: what to look at first."""
        return next((result for result in self.results if result.status is Status.WRONG), None)

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong. Warnings don't count as wrong."""
        return self.first_wrong is None

    def named(self, name: str) -> Result:
        """Return the result of the check with this name."""
        return next(result for result in self.results if result.name == name)


def as_json(examination: Examination, mask: Callable[[str], str]) -> dict[str, Any]:
    """Return the report for machines. New versions may add keys, but never remove them."""
    first = examination.first_wrong
    document = {
        "well": examination.is_well,
        "base_url": examination.base_url,
        "up": examination.is_up,
        "first_wrong": None if first is None else {"name": first.name, **first.worst.as_json()},
        "checks": [result.as_json() for result in examination.results],
        "checklist": [point.as_json() for point in checklist(examination.results)],
        "waterfall": [part.as_json() for part in examination.parts],
    }
    masked: dict[str, Any] = _masked(document, mask)
    return masked


def as_text(examination: Examination, mask: Callable[[str], str]) -> str:
    """Return the report for people: the cause first, then one line for each check, then the checklist."""
    lines = [f"callgate doctor: {examination.base_url or 'no usable settings'}", *_verdict(examination), ""]
    for result in examination.results:
        lines += _result_lines(result)
    if examination.parts:
        lines += ["", "The test call, part by part:", "", *as_lines(examination.parts)]
    lines += ["", "Checklist:", ""]
    lines += [line for point in checklist(examination.results) for line in _wrapped(point.as_line(), " " * 4)]
    return mask("\n".join(lines))


def _verdict(examination: Examination) -> list[str]:
    first = examination.first_wrong
    lines = (
        []
        if examination.is_up
        else ["", "Callgate is not running here. The checks that don't need it were still made."]
    )
    if first is None:
        warned = sum(result.status is Status.WARNING for result in examination.results)
        some = f"Nothing is wrong; {warned} warning{'s' if warned > 1 else ''}."
        return [*lines, "", some if warned else "All is well."]
    return [*lines, "", f"Fix this first: {first.title}", *_details(first.worst)]


def _result_lines(result: Result) -> list[str]:
    shown = [finding for finding in result.findings if finding.status is result.status] or list(result.findings)
    head = f"{result.status.value:<8}  {result.title}: {shown[0].found}"
    lines = _wrapped(head, INDENT)
    for number, finding in enumerate(shown):
        if finding.do:
            lines += _details(finding, with_found=number > 0)
        elif number:
            lines += _wrapped(f"{INDENT}{finding.found}", INDENT)
    return lines


def _details(finding: Finding, *, with_found: bool = True) -> list[str]:
    pairs = [("found", finding.found)] if with_found else []
    pairs += [("wanted", finding.wanted), ("do", finding.do)]
    return [line for name, text in pairs for line in _wrapped(f"{INDENT}{name:<6}  {text}", INDENT + " " * 8)]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _masked(value: Any, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: _masked(item, mask) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, mask) for item in value]
    return value
