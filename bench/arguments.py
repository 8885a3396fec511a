"""How the bench's programs read their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

MOST = 10_000  # of anything that is asked for


def names(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Read names with commas between."""

    def read(text: str) -> tuple[str, ...]:
        for name in (given := tuple(text.split(","))):
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {name!r}: there are {', '.join(known)}")
        return given

    return read


def number(kind: type[int] | type[float]) -> Callable[[str], float]:
    """Read a number above zero."""

    def read(text: str) -> float:
        try:
            if 0 < (value := kind(text)) < MOST:
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and {MOST}")

    return read
