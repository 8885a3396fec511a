"""The JSON schema of a tool's arguments: whether it is one, and whether arguments fit it.

Nothing is fetched: a schema refers to no other document. What is said of arguments holds none of their values, as those
are what a caller said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

LONGEST_RULE = 200  # characters of a schema that are shown


def check_schema(parameters: Mapping[str, Any]) -> str | None:
    """Why this can't be the schema of a tool's arguments; None: it can."""
    try:
        schema = _plain(parameters)
        Draft202012Validator.check_schema(schema)
    except (TypeError, ValueError, RecursionError):
        return "it holds a value that JSON does not have"
    except SchemaError as exc:
        return f"{_place(exc)}{exc.message}"
    if schema.get("type") != "object":
        return 'its type must be "object": a model gives arguments by name'
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except (Unresolvable, ValueError):
            return f"$ref {reference!r} leads nowhere: a schema refers to its own parts only, as in #/$defs/NAME"
    try:
        _first_error(schema, {})
    except RecursionError:
        return "a $ref of it leads back to itself"
    return None


def misfit(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """Why the arguments do not fit a schema that `check_schema` takes; None: they do."""
    try:
        error = _first_error(_plain(parameters), dict(arguments))
    except RecursionError:
        return "the arguments are nested too deeply"
    if error is None:
        return None
    if error.validator == "required":
        return f"{_place(error)}{error.message}"  # it names a property of the schema's
    rule = json.dumps({error.validator: error.validator_value}, ensure_ascii=False)[:LONGEST_RULE]
    return f"{_place(error) or 'the arguments: '}must fit {rule}"


def _first_error(schema: dict[str, Any], arguments: dict[str, Any]) -> ValidationError | None:
    found: ValidationError | None = best_match(Draft202012Validator(schema, registry=Registry()).iter_errors(arguments))
    return found


def _place(error: ValidationError | SchemaError) -> str:
    path = ".".join(str(step) for step in error.absolute_path)
    return f"{path}: " if path else ""


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has it. Raises `TypeError` or `ValueError` for what JSON does not have."""
    plain: dict[str, Any] = json.loads(json.dumps(parameters, default=dict, allow_nan=False))
    return plain


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for part in schema:
            yield from _references(part)
