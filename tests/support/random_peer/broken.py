"""A rule that was broken."""

from __future__ import annotations


class Broken(AssertionError):
    """``rule``: which one. ``what``: what happened."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule
        self.what = what
