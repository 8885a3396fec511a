"""The parts of a JSON schema: what each checks of a value, which parts it applies to what, and at what cost. Pure.

Source: https://json-schema.org/draft/2020-12/json-schema-core §10 (which keywords apply subschemas to what).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

MOST_PARTS: Final = 2_000  # of one schema
DEEPEST_SCHEMA: Final = 64  # levels, of nested objects and lists, or of parts that lead to parts
MOST_AT_ONE_VALUE: Final = 20_000  # parts checked
UNIQUE: Final = 20  # for each value in a list with ``uniqueItems``
MULTIPLE: Final = 500  # for a number with ``multipleOf``: a fraction of huge numbers may have to be reduced
SEVERAL_TIMES: Final = 4  # how often parts next to ``unevaluatedProperties`` or ``unevaluatedItems`` are checked

_LISTED: Final = ("enum", "const", "required", "dependentRequired", "dependencies")
_LISTS_HERE: Final = ("allOf", "anyOf", "oneOf")
_PARTS_HERE: Final = ("not", "if", "then", "else")
_ELSEWHERE: Final = ("$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor")


class SchemaError(Exception):
    """A schema that can't be used. ``path``: the place in it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}" if path else why)
        self.path = path


@dataclass(slots=True, eq=False)
class Part:
    """A schema or subschema: what it checks of a value, and which further parts apply to what.

    ``work``: units (see `schema_work`) for any value; ``text_work``: for each character of a text; ``name_work``: for
    each character of an object's property names; ``item_work``: for each value in a list, at any depth. ``here``: the
    parts that apply to the same value, and how often each.
    """

    work: int = 1
    text_work: int = 0
    name_work: int = 0
    item_work: int = 0
    here: list[tuple[Part, int]] = field(default_factory=list)
    properties: dict[str, Part] = field(default_factory=dict)
    any_property: list[Part] = field(default_factory=list)
    names: list[Part] = field(default_factory=list)
    first_items: list[Part] = field(default_factory=list)
    any_item: list[Part] = field(default_factory=list)
    with_here: dict[Part, int] = field(default_factory=dict)  # this part, and all that it leads to for the same value
    height: int = 0  # how many parts it leads through for the same value; -1: being computed

    def close(self, depth: int = 0) -> None:
        """Compute ``with_here``, once ``here`` is complete for all parts. Raises `SchemaError`."""
        if self.height < 0:
            raise SchemaError("", "a $ref of it leads back to itself")
        if self.with_here:
            return
        self.height, height, found = -1, 0, {self: 1}
        for other, times in self.here:
            if depth < DEEPEST_SCHEMA:
                other.close(depth + 1)
                height = max(height, other.height + 1)
            if depth >= DEEPEST_SCHEMA or height > DEEPEST_SCHEMA:
                raise SchemaError("", f"it leads from part to part more than {DEEPEST_SCHEMA} times")
            for each, count in other.with_here.items():
                found[each] = found.get(each, 0) + times * count
        if sum(found.values()) > MOST_AT_ONE_VALUE:
            raise SchemaError("", "its $refs multiply: one value would be checked too often")
        self.with_here, self.height = found, height


def read_parts(schema: dict[str, Any], work_of_pattern: Callable[[str, str], int]) -> Part:
    """Return the parts of a schema that is valid by its metaschema. ``work_of_pattern``: returns the units per
    character for a pattern and its path; it may raise `SchemaError`, as this does."""
    return _Reader(schema, work_of_pattern).read()


class _Reader:
    def __init__(self, schema: dict[str, Any], work_of_pattern: Callable[[str, str], int]) -> None:
        self._schema = schema
        self._work_of_pattern = work_of_pattern
        self._parts: dict[int, Part] = {}  # by the id() of the schema, which `_schema` keeps alive
        self._references: list[tuple[Part, str, int, str]] = []
        self._anchors: dict[str, Any] = {}

    def read(self) -> Part:
        root = self._part(self._schema, "")
        while self._references:
            part, reference, times, path = self._references.pop()
            part.here.append((self._part(self._target(reference, path), path), times))
        for part in [*self._parts.values()]:
            part.close()
        return root

    def _part(self, schema: Any, path: str) -> Part:
        if not isinstance(schema, dict):
            return Part()
        if (known := self._parts.get(id(schema))) is not None:
            return known
        if len(self._parts) >= MOST_PARTS:
            raise SchemaError("", f"it has more than {MOST_PARTS} parts")
        for keyword in _ELSEWHERE:
            if keyword in schema:
                raise SchemaError(path, f"{keyword} can't be used here: write $ref")
        if "$id" in schema and path:
            raise SchemaError(path, "$id can't be used within a schema: refer to its parts as in #/$defs/NAME")
        if isinstance(anchor := schema.get("$anchor"), str):
            self._anchors[anchor] = schema
        part = self._parts[id(schema)] = self._by_itself(schema, path)
        self._read_parts_here(part, schema, path)
        self._read_parts_below(part, schema, path)
        return part

    def _by_itself(self, schema: dict[str, Any], path: str) -> Part:
        """Return the part alone, without those that it leads to."""
        work = 1 + sum(_size(schema[name]) for name in _LISTED if name in schema)
        text_work = name_work = 0
        if isinstance(pattern := schema.get("pattern"), str):
            text_work = self._work_of_pattern(pattern, _join(path, "pattern"))
        for pattern in _table(schema, "patternProperties"):
            name_work += self._work_of_pattern(pattern, _join(path, "patternProperties"))
        return Part(
            work=work + (MULTIPLE if "multipleOf" in schema else 0),
            text_work=text_work,
            name_work=name_work,
            item_work=UNIQUE if schema.get("uniqueItems") is True else 0,
        )

    def _read_parts_here(self, part: Part, schema: dict[str, Any], path: str) -> None:
        times = SEVERAL_TIMES if {"unevaluatedProperties", "unevaluatedItems"} & schema.keys() else 1
        for keyword in _LISTS_HERE:
            for index, child in enumerate(_list(schema, keyword)):
                part.here.append((self._part(child, _join(path, keyword, index)), times))
        for keyword in _PARTS_HERE:
            if keyword in schema:
                part.here.append((self._part(schema[keyword], _join(path, keyword)), times))
        for keyword in ("dependentSchemas", "dependencies"):  # the second is from older drafts, and is obeyed too
            for name, child in _table(schema, keyword).items():
                part.here.append((self._part(child, _join(path, keyword, name)), times))
        if isinstance(reference := schema.get("$ref"), str):
            self._references.append((part, reference, times, path))

    def _read_parts_below(self, part: Part, schema: dict[str, Any], path: str) -> None:
        for name, child in _table(schema, "properties").items():
            part.properties[name] = self._part(child, _join(path, "properties", name))
        for name, child in _table(schema, "patternProperties").items():
            part.any_property.append(self._part(child, _join(path, "patternProperties", name)))
        for index, child in enumerate(_list(schema, "prefixItems")):
            part.first_items.append(self._part(child, _join(path, "prefixItems", index)))
        for keyword, of in (
            ("additionalProperties", part.any_property),
            ("unevaluatedProperties", part.any_property),
            ("propertyNames", part.names),
            ("items", part.any_item),
            ("contains", part.any_item),
            ("unevaluatedItems", part.any_item),
        ):
            if keyword in schema:
                of.append(self._part(schema[keyword], _join(path, keyword)))
        for keyword in ("$defs", "definitions"):
            for name, child in _table(schema, keyword).items():
                self._part(child, _join(path, keyword, name))

    def _target(self, reference: str, path: str) -> Any:
        name = unquote(reference.removeprefix("#"))
        try:
            if not reference.startswith("#"):
                raise KeyError(reference)
            if name and not name.startswith("/"):
                return self._anchors[name]
            found: Any = self._schema
            for step in name.split("/")[1:]:
                step = step.replace("~1", "/").replace("~0", "~")
                found = found[int(step)] if isinstance(found, list) else found[step]
            if not isinstance(found, dict | bool):
                raise KeyError(reference)
        except (LookupError, TypeError, ValueError):
            raise SchemaError(
                path, f"$ref {reference!r} leads nowhere: a schema refers to its own parts only, as in #/$defs/NAME"
            ) from None
        return found


def depth_of(value: Any, most: int) -> int:
    """Return how deeply objects and lists are nested, up to ``most`` plus one."""
    depth, level = 0, [value]
    while level and depth <= most:
        level = [child for each in level if isinstance(each, dict | list) for child in _children(each)]
        depth += 1
    return depth


def _size(value: Any) -> int:
    """Return the number of values in it, including itself."""
    return 1 + sum(_size(child) for child in _children(value)) if isinstance(value, dict | list) else 1


def _children(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _join(path: str, *steps: str | int) -> str:
    return ".".join((path, *map(str, steps)) if path else map(str, steps))


def _table(schema: dict[str, Any], keyword: str) -> dict[str, Any]:
    value = schema.get(keyword)
    return value if isinstance(value, dict) else {}


def _list(schema: dict[str, Any], keyword: str) -> list[Any]:
    value = schema.get(keyword)
    return value if isinstance(value, list) else []
