"""An upper bound on the work of checking arguments against a JSON schema. Pure.

The work of any validator can double with each ``$ref``: two that lead to the same part have it checked twice, and if
that part does the same, four times, and so on; parts that lead back to the root double the work with each level of the
arguments. Here the work is counted without being done: for each value of the arguments, how often each part of the
schema is checked there. A doubling is then just a multiplication, and work that would take too long is not begun.

The unit is the time that the validator needs for one simple check of a value, about 15 ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .schema_parts import Part, depth_of

DEEPEST_ARGUMENTS: Final = 64  # levels
MOST_WORK: Final = 8_000_000  # units: about a tenth of a second
MOST_STEPS: Final = 100_000  # steps of the counting itself


class TooMuchError(Exception):
    """Checking would take too long."""


class TooDeepError(Exception):
    """The arguments are nested too deeply."""


class _Here:
    """The parts that are checked at a value, and how often."""

    __slots__ = ("_below", "_items", "_names", "_parts", "_steps", "item_work", "name_work", "text_work", "work")

    def __init__(self, start: Mapping[Part, int]) -> None:
        parts: dict[Part, int] = {}
        for part, times in start.items():
            for each, count in part.with_here.items():
                parts[each] = parts.get(each, 0) + times * count
        self._parts = parts
        self._below: dict[str, _Here] = {}
        self._items: dict[int, _Here] = {}
        self._names: _Here | None = None
        self._steps = 1 + len(parts)
        self.work = self.text_work = self.name_work = self.item_work = 0
        for part, count in parts.items():
            self.work += count * part.work
            self.text_work += count * part.text_work
            self.name_work += count * part.name_work
            self.item_work += count * part.item_work

    def steps(self) -> int:
        """Return how many steps a look here takes: one, once it is computed."""
        steps, self._steps = self._steps, 1
        return steps

    def of_property(self, name: str) -> _Here:
        if (known := self._below.get(name)) is not None:
            return known
        start: dict[Part, int] = {}
        for part, count in self._parts.items():
            for each in (part.properties.get(name), *part.any_property):
                if each is not None:
                    start[each] = start.get(each, 0) + count
        found = self._below[name] = _Here(start)
        return found

    def of_item(self, index: int) -> _Here:
        index = min(index, max((len(part.first_items) for part in self._parts), default=0))
        if (known := self._items.get(index)) is not None:
            return known
        start: dict[Part, int] = {}
        for part, count in self._parts.items():
            for each in (*part.first_items[index : index + 1], *part.any_item):
                start[each] = start.get(each, 0) + count
        found = self._items[index] = _Here(start)
        return found

    def of_names(self) -> _Here:
        if self._names is None:
            start: dict[Part, int] = {}
            for part, count in self._parts.items():
                for each in part.names:
                    start[each] = start.get(each, 0) + count
            self._names = _Here(start)
        return self._names


class Work:
    """The work of checking arguments. Raises `TooMuchError` and `TooDeepError`.

    ``parts``: units for the parts that are checked. ``text``: units for the text that patterns read.
    """

    def __init__(self, root: Part, arguments: Mapping[str, Any]) -> None:
        self.parts = self.text = 0
        self._steps = 0
        if depth_of(arguments, DEEPEST_ARGUMENTS) > DEEPEST_ARGUMENTS:
            raise TooDeepError
        self._count(arguments, _Here({root: 1}))

    def _count(self, value: Any, here: _Here) -> int:
        """Return the number of values in it, including itself."""
        self._steps += here.steps()
        self.parts += here.work
        size = 1
        if isinstance(value, str):
            self.text += len(value) * here.text_work
        elif isinstance(value, int):
            self.parts += here.work * (value.bit_length() // 64) ** 2  # numbers of hundreds of digits
        elif isinstance(value, dict):
            self._count_names(value, here)
            for name, child in value.items():
                size += self._count(child, here.of_property(name))
        elif isinstance(value, list):
            for index, child in enumerate(value):
                size += self._count(child, here.of_item(index))
            self.parts += size * here.item_work
        self._check()
        return size

    def _count_names(self, value: dict[str, Any], here: _Here) -> None:
        names = here.of_names()
        self._steps += names.steps()
        self.parts += len(value) * names.work
        self.text += sum(map(len, value)) * (here.name_work + names.text_work)
        self._check()

    def _check(self) -> None:
        if self.parts + self.text > MOST_WORK or self._steps > MOST_STEPS:
            raise TooMuchError
