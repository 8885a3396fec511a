"""Tracebacks that are safe to log: the frames and exception types, and of the exceptions' texts what `foreign` leaves.

No source files are read for this: the disk may be slow, and logging must not wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from traceback import walk_tb
from types import FrameType
from typing import Final

from callgate.core.foreign import foreign

MOST_FRAMES: Final = 30  # per exception: the outermost few, and the innermost
_OUTERMOST: Final = 5
MOST_EXCEPTIONS: Final = 5  # of a chain, the newest; also per exception group
_DEEPEST_GROUP: Final = 2

_CAUSE: Final = "\nThe above exception was the direct cause of the following exception:\n"
_CONTEXT: Final = "\nDuring handling of the above exception, another exception occurred:\n"


def cleaned_traceback(exc: BaseException) -> str:
    """Return the traceback of an exception and of those that led to it, the newest last."""
    return "\n".join(_chain(exc, 0))


def _chain(exc: BaseException, depth: int) -> Iterator[str]:
    newest_first: list[tuple[BaseException, str]] = []
    met: set[int] = set()
    following: BaseException | None = exc
    while following is not None and id(following) not in met and len(met) < MOST_EXCEPTIONS:
        met.add(id(following))
        is_caused = following.__cause__ is not None
        newest_first.append((following, _CAUSE if is_caused else _CONTEXT))
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    for number, (each, link) in enumerate(reversed(newest_first)):
        if number:
            yield link
        yield from _one(each, depth)


def _one(exc: BaseException, depth: int) -> Iterator[str]:
    if exc.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        yield from _frames(list(walk_tb(exc.__traceback__)))
    kind = type(exc)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    text = _text(exc)
    yield f"{name}: {text}" if text else name
    if isinstance(exc, BaseExceptionGroup) and depth < _DEEPEST_GROUP:
        for each in exc.exceptions[:MOST_EXCEPTIONS]:
            yield from (f"  | {line}" for part in _chain(each, depth + 1) for line in part.split("\n"))
        if (more := len(exc.exceptions) - MOST_EXCEPTIONS) > 0:
            yield f"  | … {more} more"


def _frames(frames: list[tuple[FrameType, int]]) -> Iterator[str]:
    left_out = len(frames) - MOST_FRAMES
    for number, (frame, line) in enumerate(frames):
        if number == _OUTERMOST and left_out > 0:
            yield f"  … {left_out} frames"
        if left_out <= 0 or not _OUTERMOST <= number < _OUTERMOST + left_out:
            yield f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}'


def _text(exc: BaseException) -> str:
    try:
        return foreign(str(exc))
    except Exception:  # even this may fail for a library's exception
        return "(its text is not available)"
