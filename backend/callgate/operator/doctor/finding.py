"""The findings and the result of a check. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class Status(enum.Enum):
    """What a check concluded, from the least to the most severe."""

    SKIPPED = "skipped"
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


_ORDER = list(Status)


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst of the statuses, or `Status.SKIPPED` if there are none."""
    return max(statuses, key=_ORDER.index, default=Status.SKIPPED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found. ``wanted`` and ``do`` are set if the operator should do something about it."""

    status: Status
    found: str
    wanted: str = ""
    do: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the finding for machines."""
        return {"status": self.status.value, "found": self.found, "wanted": self.wanted, "do": self.do}


def ok(found: str) -> Finding:
    """Return a finding that all is as it should be."""
    return Finding(Status.OK, found)


def wrong(found: str, wanted: str, do: str) -> Finding:
    """Return a finding of something that keeps calls from working, now or later."""
    return Finding(Status.WRONG, found, wanted, do)


def warning(found: str, wanted: str, do: str) -> Finding:
    """Return a finding of something that breaks some calls, or may break them later."""
    return Finding(Status.WARNING, found, wanted, do)


def skipped(because: str) -> Finding:
    """Return a finding that the check was not made, or can't be made from here."""
    return Finding(Status.SKIPPED, because)


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found. ``cause``: the name of the check whose wrong finding kept this one from being made."""

    name: str
    title: str
    findings: tuple[Finding, ...]
    seconds: float = 0.0
    cause: str | None = None

    @property
    def status(self) -> Status:
        """The worst of its findings."""
        return worst(finding.status for finding in self.findings)

    @property
    def worst(self) -> Finding:
        """The first of the worst findings."""
        return next(finding for finding in self.findings if finding.status is self.status)

    def as_json(self) -> dict[str, Any]:
        """Return the result for machines."""
        return {
            "name": self.name,
            "title": self.title,
            "status": self.status.value,
            "cause": self.cause,
            "seconds": round(self.seconds, 3),
            "findings": [finding.as_json() for finding in self.findings],
        }
