"""Has the call of a plan, and makes a plan that breaks a rule smaller, as long as it breaks the same one."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

from .broken import Broken
from .plan import Plan
from .scene import Scene

MOST_TRIES = 3_000

_NUMBER = re.compile(r"\d+(\.\d+)?")


def verdict(scene: Scene) -> str | None:
    """Have the call. Return which rule it breaks, and how; None: none."""
    try:
        scene.run()
    except Broken as broken:
        return str(broken)
    except Exception as exc:
        where = traceback.extract_tb(exc.__traceback__)[-1]
        return f"no exception: {type(exc).__name__} in {where.name}: {exc}"
    return None


def kind(what: str | None) -> str:
    """Return a verdict without its numbers, so that the same fault has the same one in every call."""
    return _NUMBER.sub("N", what or "")


def shrunk(plan: Plan) -> Plan:
    """Return the smallest plan that is found which breaks a rule as this one does."""
    wanted = kind(verdict(Scene(plan)))
    tries = 0
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in _smaller(plan):
            tries += 1
            if tries > MOST_TRIES:
                return plan
            if kind(verdict(Scene(candidate))) == wanted:
                plan, is_smaller = candidate, True
                break
    return plan


def brief(plan: Any) -> str:
    """Return a plan as Python writes it, without what goes as usual."""
    if isinstance(plan, tuple):
        return "(" + "".join(f"{brief(each)}, " for each in plan).rstrip(" ") + ")"
    if not is_dataclass(plan):
        return repr(plan)
    told = ((field.name, getattr(plan, field.name)) for field in fields(plan) if _is_told(plan, field))
    return f"{type(plan).__name__}({', '.join(f'{name}={brief(value)}' for name, value in told)})"


def _is_told(plan: Any, field: Any) -> bool:
    return bool(getattr(plan, field.name) != field.default)


def _smaller(whole: Any) -> Iterator[Any]:
    for field in fields(whole):
        for smaller in _smaller_value(getattr(whole, field.name), field.default):
            yield replace(whole, **{field.name: smaller})


def _smaller_value(value: Any, usual: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        half = len(value) // 2
        if half > 1:
            yield value[half:]
            yield value[:half]
        for at in range(len(value)):
            yield value[:at] + value[at + 1 :]
        for at, each in enumerate(value):
            for smaller in _smaller(each) if is_dataclass(each) else _smaller_value(each, 0.0):
                yield (*value[:at], smaller, *value[at + 1 :])
    elif usual is not MISSING and value != usual:
        yield usual
    if isinstance(value, float) and value != round(value, 1):
        yield round(value, 1)
