"""Reads what can be read of an event whose fields may be of another type than documented. Pure: no I/O, no clock.

A server that writes an id as a number, or nothing where an object belongs, can mostly be understood all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_NOTHING: Final[Mapping[str, Any]] = {}


def object_of(event: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an object; an empty one if there is none."""
    value = event.get(key)
    return value if isinstance(value, dict) else _NOTHING


def text_of(event: Mapping[str, Any], key: str) -> str | None:
    """Return a text, or a number as text; None if there is neither."""
    value = event.get(key)
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def id_of(event: Mapping[str, Any], key: str) -> str:
    """Return an id; "" if there is none."""
    return text_of(event, key) or ""


def index_of(event: Mapping[str, Any], key: str) -> int:
    """Return an index; 0 if there is none."""
    value = event.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def error_of(event: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an error; a text in its place is its message."""
    value = event.get(key)
    return {"message": value} if isinstance(value, str) else object_of(event, key)
