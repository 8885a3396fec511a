"""Tells two certificates of the same names apart in the log and in errors: both begin with the kind of key."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

from keeper.errors import KeeperError

_label: Final[ContextVar[str]] = ContextVar("label", default="")


@contextlib.contextmanager
def labelled(label: str) -> Iterator[None]:
    """Begin each line of the log, and the text of a KeeperError, with a label; "": as it is."""
    token = _label.set(label)
    try:
        yield
    except KeeperError as error:
        if label:
            error.args = (f"{label}: {error}",)
        raise
    finally:
        _label.reset(token)


def _begin_with_label(record: logging.LogRecord) -> bool:
    if label := _label.get():
        record.msg = f"{label}: {record.msg}"
    return True


logging.getLogger("keeper").addFilter(_begin_with_label)
