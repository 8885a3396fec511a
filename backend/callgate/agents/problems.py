"""What is wrong with ``agents.toml``: on which line, with which key, and what to do about it. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import ErrorDetails

from callgate.errors import ConfigError

from .schema import ALL_KEYS
from .toml_lines import Path

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_WANTED: Final = {
    "string_type": "it must be a text, in quotes",
    "int_type": "it must be a whole number",
    "float_type": "it must be a number",
    "finite_number": "it must be a number",
    "list_type": "it must be a list, in [ ]",
    "dict_type": "it must be a table",
    "model_type": "it must be a table",
    "model_attributes_type": "it must be a table",
    "date_type": "it must be a date without quotes, as in 2026-12-25",
    "missing": "it is missing",
    "string_too_short": "it must not be empty",
    "string_too_long": "it is too long: at most {max_length} characters",
    "greater_than_equal": "it must be at least {ge}",
    "greater_than": "it must be more than {gt}",
    "less_than_equal": "it must be at most {le}",
    "literal_error": "it must be {expected}",
    "value_error": "{error}",
    "union_tag_invalid": "its type must be one of {expected_tags}",
    "union_tag_not_found": "it needs a type: server_vad or semantic_vad",
}


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A problem with the file. ``line``: from 1; 0 for the file as a whole. ``key``: dotted, as in TOML."""

    line: int
    key: str
    what: str

    def told(self, source: str) -> str:
        """Return the problem as one line of text. ``source``: the file."""
        place = f"{source}:{self.line}" if self.line else source
        return ": ".join(part for part in (place, self.key, self.what) if part)


class AgentsError(ConfigError):
    """The file can't be used. ``found``: all its problems, in the order of the lines."""

    def __init__(self, source: str, found: Iterable[Problem]) -> None:
        self.found = tuple(sorted(set(found)))
        super().__init__([problem.told(source) for problem in self.found])


def problem_at(path: Path, what: str, lines: Mapping[Path, int]) -> Problem:
    """Return a problem with the key at ``path``. For a missing key, the line is that of the table it is missing in."""
    known = next((path[:length] for length in range(len(path), 0, -1) if path[:length] in lines), ())
    return Problem(lines.get(known, 0), dotted(path), what)


def problem_of(error: ErrorDetails, table: Path, data: Any, lines: Mapping[Path, int]) -> Problem:
    """Convert an error that pydantic found in the table at ``table``, which holds ``data``."""
    path = (*table, *_as_written(error["loc"], data))
    if error["type"] == "extra_forbidden":
        return problem_at(path, _unknown(str(path[-1])), lines)
    wanted = _WANTED.get(error["type"], error["msg"])
    return problem_at(path, wanted.format_map(error.get("ctx", {})) if error["type"] in _WANTED else wanted, lines)


def dotted(path: Path) -> str:
    """Return the path as text, as in ``number."+15551230000".tools[0]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _BARE_KEY.fullmatch(step) else f'"{step}"')
    return text


def _as_written(location: tuple[int | str, ...], data: Any) -> Path:
    """Return pydantic's path without the steps that pydantic adds: the tag of a union, and ``[key]``."""
    path: Path = ()
    for step in location:
        inside = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if inside or (isinstance(data, dict) and step in data):
            path, data = (*path, step), data[step]
        elif step == location[-1] and step != "[key]":
            path = (*path, step)
    return path


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key, ALL_KEYS, 1)
    return "there is no such key here" + (f": is {near[0]} meant?" if near else ": docs/agents.md lists all")
