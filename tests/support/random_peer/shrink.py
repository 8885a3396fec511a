"""Makes a plan smaller that breaks a rule, as long as it breaks the same one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from .broken import Broken
from .plan import Plan
from .scene import Scene

MOST_TRIES = 3_000

_NUMBER = re.compile(r"\d+(\.\d+)?")


def verdict(plan: Plan) -> str | None:
    """Have the call. Return which rule it breaks and how, without the numbers; None: none."""
    try:
        Scene(plan).run()
    except Broken as broken:
        return _NUMBER.sub("N", f"{broken.rule}: {broken.what}")
    except Exception as exc:
        return f"no exception: {type(exc).__name__}: {_NUMBER.sub('N', str(exc))}"
    return None


def shrunk(plan: Plan, judge: Callable[[Plan], str | None] = verdict) -> Plan:
    """Return the smallest plan that is found."""
    wanted = judge(plan)
    tries = 0
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in _smaller(plan):
            tries += 1
            if tries > MOST_TRIES:
                return plan
            if judge(candidate) == wanted:
                plan, is_smaller = candidate, True
                break
    return plan


def _smaller(whole: Any) -> Iterator[Any]:
    for field in fields(whole):
        value = getattr(whole, field.name)
        for smaller in _smaller_value(value, field.default):
            yield replace(whole, **{field.name: smaller})


def _smaller_value(value: Any, default: Any) -> Iterator[Any]:
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
    elif value != default and not isinstance(default, type(fields)) and type(default) is type(value):
        yield default
    if isinstance(value, float) and value != round(value, 1):
        yield round(value, 1)
