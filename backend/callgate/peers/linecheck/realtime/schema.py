"""Checks of what a client sends, with the errors of the GA Realtime API. Pure.

A `Check` takes a parameter's path (``session.audio.input.format.type``) and value, and returns the value to use or
raises `EventRefused`. The codes, and the first sentence of each message, are the real service's, so that a client
handles these errors as it would handle the real ones.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from callgate.errors import RealtimeError

Check: TypeAlias = Callable[[str, Any], Any]

_JSON_TYPE_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}


class EventRefused(RealtimeError):
    """A client event is not carried out. The client gets an ``error`` event, and the session continues."""

    def __init__(self, code: str | None, message: str, *, param: str | None = None) -> None:
        self.code = code
        self.message = message
        self.param = param
        super().__init__(message)


def anything(param: str, value: Any) -> Any:
    """Accept any JSON value."""
    return value


def of_type(kind: type, expected: str) -> Check:
    """Accept a value of one JSON type."""

    def check(param: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise _wrong_type(param, expected, value)
        return value

    return check


string = of_type(str, "a string")
boolean = of_type(bool, "a boolean")
object_ = of_type(dict, "an object")


def number(least: float, most: float, *, whole: bool = True) -> Check:
    """Accept a number in ``[least, most]``, which must be whole unless ``whole=False``."""
    expected = "an integer" if whole else "a number"

    def check(param: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise _wrong_type(param, expected, value)
        if not least <= value <= most:
            bound = f">= {least}" if value < least else f"<= {most}"
            raise EventRefused(
                "invalid_value", f"Invalid '{param}': expected a value {bound}, but got {value}.", param=param
            )
        return value

    return check


def one_of(*choices: str) -> Check:
    """Accept one of a few strings."""

    def check(param: str, value: Any) -> Any:
        string(param, value)
        if value not in choices:
            raise _unsupported(param, value, choices)
        return value

    return check


def either(*checks: Check) -> Check:
    """Return the result of the first check that accepts the value; if none does, raise what the last one raises."""

    def check(param: str, value: Any) -> Any:
        for attempt in checks[:-1]:
            try:
                return attempt(param, value)
            except EventRefused:
                continue
        return checks[-1](param, value)

    return check


def nullable(check: Check) -> Check:
    """Accept ``null``, or what the check accepts."""
    return lambda param, value: None if value is None else check(param, value)


def list_of(item: Check, *, most: int = 128) -> Check:
    """Accept an array of at most ``most`` items."""

    def check(param: str, value: Any) -> Any:
        if not isinstance(value, list):
            raise _wrong_type(param, "an array", value)
        if len(value) > most:
            message = f"Invalid '{param}': array too long. Expected at most {most} items, but got {len(value)}."
            raise EventRefused("invalid_value", message, param=param)
        return [item(f"{param}[{index}]", entry) for index, entry in enumerate(value)]

    return check


def fields(required: Mapping[str, Check] | None = None, /, **optional: Check) -> Check:
    """Accept an object with these fields and no others."""
    needed = dict(required or {})
    known = needed | optional

    def check(param: str, value: Any) -> Any:
        object_(param, value)
        prefix = f"{param}." if param else ""
        for name in needed:
            if name not in value:
                path = prefix + name
                raise EventRefused("missing_required_parameter", f"Missing required parameter: '{path}'.", param=path)
        for name in value:
            if name not in known:
                path = prefix + name
                raise EventRefused("unknown_parameter", f"Unknown parameter: '{path}'.", param=path)
        return {name: known[name](prefix + name, entry) for name, entry in value.items()}

    return check


def by(key: str, shapes: Mapping[str, Check]) -> Check:
    """Accept an object whose field ``key`` says which of the ``shapes`` it has."""

    def check(param: str, value: Any) -> Any:
        object_(param, value)
        path = f"{param}.{key}" if param else key
        if key not in value:
            raise EventRefused("missing_required_parameter", f"Missing required parameter: '{path}'.", param=path)
        kind = string(path, value[key])
        if kind not in shapes:
            raise _unsupported(path, kind, tuple(shapes))
        return shapes[kind](param, value)

    return check


def base64_audio(param: str, value: Any) -> bytes:
    """Decode base64 text."""
    try:
        return binascii.a2b_base64(string(param, value), strict_mode=True)
    except ValueError as exc:
        message = f"Invalid '{param}'. Expected base64-encoded audio bytes: {exc}."
        raise EventRefused("invalid_value", message, param=param) from exc


def _wrong_type(param: str, expected: str, value: Any) -> EventRefused:
    got = _JSON_TYPE_NAMES.get(type(value), "number")
    return EventRefused("invalid_type", f"Invalid type for '{param}': expected {expected}, but got {got}.", param=param)


def _unsupported(param: str, value: str, choices: tuple[str, ...]) -> EventRefused:
    supported = ", ".join(f"'{choice}'" for choice in choices)
    message = f"Invalid value: '{value[:80]}'. Supported values are: {supported}."
    return EventRefused("invalid_value", message, param=param)
