"""What a check beforehand found: a verdict, and one sentence that names the cause first and then what to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.Enum):
    """The verdict of a finding."""

    GOOD = "good"
    #: It can't work, whatever the authority sees. Only this stops an attempt.
    WRONG = "wrong"
    #: It may not work: what this machine sees is not what it should be, but the authority may see something else.
    SUSPICIOUS = "suspicious"
    CANT_TELL = "can't tell"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    verdict: Verdict
    says: str

    def __str__(self) -> str:
        return f"{self.verdict.value}: {self.says}"


def good(says: str) -> Finding:
    return Finding(Verdict.GOOD, says)


def wrong(says: str) -> Finding:
    return Finding(Verdict.WRONG, says)


def suspicious(says: str) -> Finding:
    return Finding(Verdict.SUSPICIOUS, says)


def cant_tell(says: str) -> Finding:
    return Finding(Verdict.CANT_TELL, says)
