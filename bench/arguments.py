"""Argument types shared by the bench's command lines."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

MOST = 10_000  # the upper bound for any number argument


def names(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Return a parser for comma-separated names out of ``known``."""

    def read(text: str) -> tuple[str, ...]:
        for name in (given := tuple(text.split(","))):
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown name {name!r}, choose from {', '.join(known)}")
        return given

    return read


def number(kind: type[int] | type[float]) -> Callable[[str], float]:
    """Return a parser for a number above zero."""

    def read(text: str) -> float:
        try:
            if 0 < (value := kind(text)) < MOST:
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and {MOST}")

    return read
