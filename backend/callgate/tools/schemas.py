"""The JSON schema of a tool's arguments: whether it is valid, and whether arguments match it.

Whatever the schema and the arguments, checking them takes at most about a tenth of a second, and usually a few
microseconds, as it happens in the event loop that serves every caller. Patterns are matched by a linear-time engine
(Rust's ``regex``), so a schema whose patterns need another engine is refused, and so is one whose parts multiply;
`schema_work` counts. Formats are not checked.

Nothing is fetched: a schema refers to no other document. Error texts about arguments contain only names that are in the
schema, as the rest is what a caller said.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from jsonschema_rs import Draft202012Validator, FancyRegexOptions, RegexOptions, ValidationError, ValidationErrorKind

from callgate.core.tools.schema_parts import DEEPEST_SCHEMA, Part, SchemaError, depth_of, read_parts
from callgate.core.tools.schema_work import MOST_WORK, TooDeepError, TooMuchError, Work

LONGEST_RULE: Final = 200  # characters of a schema that are shown
LONGEST_SCHEMA: Final = 64 * 1024  # characters, as JSON
KEPT: Final = 512  # compiled schemas
# The size limits to try for a compiled pattern, in bytes. A hundred bytes are at worst about one unit of work
# (`schema_work`) per character.
SIZES_OF_PATTERNS: Final = (
    1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
)  # fmt: skip
BYTES_FOR_A_UNIT: Final = 100
UNBOUNDED: Final = 10_000_000  # tells a pattern that is too large from one that is impossible
# Finding out why arguments do not match is slower than finding out whether they do.
TO_EXPLAIN_PARTS: Final = 300
TO_EXPLAIN_TEXT: Final = 4

TOO_LARGE: Final = (
    "is too large: say in minLength and maxLength how long a text may be, rather than by large repetitions"
)
NOT_JSON: Final = "it holds a value that JSON does not have"
TOO_MUCH: Final = "the arguments are too long, or too deeply nested, to be checked against the tool's parameters"


@dataclass(frozen=True, slots=True)
class _Checker:
    schema: dict[str, Any]
    validator: Draft202012Validator
    parts: Part
    names: frozenset[str]  # that occur in the schema


def check_schema(parameters: Mapping[str, Any], of: str = "") -> str | None:
    """Return why this can't be the schema of a tool's arguments; None: it can. ``of``: a prefix for the path of the
    problem."""
    try:
        text = _json(parameters)
    except (TypeError, ValueError, RecursionError):
        return NOT_JSON
    try:
        _checker(text)
    except SchemaError as exc:
        return f"{of}{exc}" if exc.path else str(exc)
    return None


def misfit(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """Return why arguments, as parsed from JSON, do not match a schema that `check_schema` accepts; None: they do."""
    checker = _checker(_json(parameters))
    try:
        work = Work(checker.parts, arguments)
    except TooDeepError:
        return "the arguments are nested too deeply"
    except TooMuchError:
        return TOO_MUCH
    if checker.validator.is_valid(arguments):
        return None
    if TO_EXPLAIN_PARTS * work.parts + TO_EXPLAIN_TEXT * work.text > MOST_WORK:
        return "the arguments do not fit the tool's parameters"
    try:
        checker.validator.validate(arguments)
    except ValidationError as exc:
        return _explain(checker, exc)
    return None


def _json(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, default=dict, allow_nan=False)


@lru_cache(maxsize=KEPT)
def _checker(text: str) -> _Checker:
    """Return the checker for the schema in ``text``. Raises `SchemaError`."""
    if len(text) > LONGEST_SCHEMA:
        raise SchemaError("", f"it is longer than {LONGEST_SCHEMA // 1024} kB")
    schema: dict[str, Any] = json.loads(text)
    schema.pop("$schema", None)  # it is treated as 2020-12, whatever it says
    if depth_of(schema, DEEPEST_SCHEMA) > DEEPEST_SCHEMA:
        raise SchemaError("", f"it is nested more than {DEEPEST_SCHEMA} levels deep")
    try:
        # Patterns are examined more closely by `read_parts`; here they only have to be valid.
        validator_of(schema, FancyRegexOptions(size_limit=UNBOUNDED))
    except ValidationError as exc:
        if exc.kind.name != "$ref":
            raise _bad(exc) from None
    if schema.get("type") != "object":
        raise SchemaError("", 'its type must be "object": a model gives arguments by name')
    parts = read_parts(schema, _work_of_pattern)
    try:
        validator = validator_of(schema, RegexOptions(size_limit=SIZES_OF_PATTERNS[-1]))
    except ValidationError as exc:
        raise _bad(exc) from None
    return _Checker(schema, validator, parts, frozenset(_names(schema)))


def validator_of(schema: dict[str, Any], patterns: RegexOptions | FancyRegexOptions) -> Draft202012Validator:
    """Return a validator. Raises `ValidationError` for an invalid schema."""
    return Draft202012Validator(schema, pattern_options=patterns, validate_formats=False, offline=True)


def _work_of_pattern(pattern: str, path: str) -> int:
    for size in SIZES_OF_PATTERNS:
        if _is_taken(pattern, size):
            return size // BYTES_FOR_A_UNIT
    if _is_taken(pattern, UNBOUNDED):
        why = TOO_LARGE
    elif any(sign in pattern for sign in ("(?=", "(?!", "(?<=", "(?<!")):
        why = "looks ahead or behind, which can take for ever: write it without (?=, (?!, (?<= and (?<!, or as several "
        why += "patterns in allOf and not"
    else:
        why = "can't be matched in linear time: write it without back-references such as \\1, and in signs that "
        why += "JavaScript and Rust know"
    raise SchemaError(path, f"the pattern {_shown(pattern)} {why}")


def _is_taken(pattern: str, size: int) -> bool:
    try:
        validator_of({"pattern": pattern}, RegexOptions(size_limit=size))
    except ValidationError:
        return False
    return True


def _bad(error: ValidationError) -> SchemaError:
    path = ".".join(map(str, error.instance_path))
    if error.kind.name == "format" and isinstance(error.instance, str):
        why = TOO_LARGE if _is_python(error.instance) else "is no regular expression"
        return SchemaError(path, f"the pattern {_shown(error.instance)} {why}")
    return SchemaError(path, error.message[:LONGEST_RULE])


def _is_python(pattern: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _shown(pattern: str) -> str:
    return repr(pattern if len(pattern) <= LONGEST_RULE else f"{pattern[:LONGEST_RULE]} …")


# What is said about arguments.


def _explain(checker: _Checker, error: ValidationError) -> str:
    place = ".".join(
        str(step) if step in checker.names or isinstance(step, int) else "…" for step in error.instance_path
    )
    if isinstance(error.kind, ValidationErrorKind.Required):
        return f"{place}{': ' if place else ''}{error.kind.property!r} is a required property"
    return f"{place or 'the arguments'}: must fit {_rule(checker.schema, error.schema_path)}"


def _rule(schema: Any, path: list[str | int]) -> str:
    """Return the rule at this path of a schema."""
    found = schema
    try:
        for step in path:
            found = found[step]
    except (LookupError, TypeError):
        return "the tool's parameters"
    return json.dumps({path[-1]: found}, ensure_ascii=False)[:LONGEST_RULE]


def _names(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema
        for value in schema.values():
            yield from _names(value)
    elif isinstance(schema, list):
        for part in schema:
            yield from _names(part)
