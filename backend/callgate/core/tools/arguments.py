"""The arguments of a tool call, as the model wrote them. Pure.

The model is told the text of a `ToolError`, and can then correct its call. The text contains no values, as those are
what a caller said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from callgate.errors import ToolError

MOST_CHARACTERS: Final = 16_000  # of all arguments together


def read(text: str) -> dict[str, Any]:
    """Parse the arguments that a model wrote; an empty text means none. Raises `ToolError`."""
    if len(text) > MOST_CHARACTERS:
        raise ToolError(f"the arguments are {len(text)} characters long: at most {MOST_CHARACTERS} are taken")
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError) as exc:
        raise ToolError("the arguments are not JSON") from exc
    if not isinstance(arguments, dict):
        raise ToolError("the arguments are not a JSON object")
    return arguments


def text_of(arguments: Mapping[str, Any], name: str, longest: int, *, required: bool = False) -> str:
    """Return one text argument; "" if it is missing. Raises `ToolError`."""
    value = arguments.get(name)
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise ToolError(f"{name} is not text")
    if required and not value.strip():
        raise ToolError(f"{name} is missing")
    if len(value) > longest:
        raise ToolError(f"{name} is {len(value)} characters long: at most {longest} are taken")
    return value.strip()
