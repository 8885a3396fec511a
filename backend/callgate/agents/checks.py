"""Checks of an agent as a whole, including its inherited keys. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from callgate.core.tools.declarations import declared
from callgate.core.tools.toolbox import BUILT_IN, TRANSFER_CALL, Tool
from callgate.tools.schemas import misfit

from .convert import toolbox_of
from .schema import HoursTable, KeyTable
from .toml_lines import Path

Fault = tuple[Path, str]  # where it is, and what is wrong


def faults(stated: Mapping[str, Any], paths: Mapping[str, Path], agent: Path, named: set[str]) -> Iterator[Fault]:
    """Yield what is wrong with an agent. ``stated``: the values of its keys; ``paths``: where each key is; ``agent``:
    the agent's own table; ``named``: the agents that may answer for others."""
    yield from _names_used_twice(stated, paths)
    yield from _transfers(stated, paths)
    yield from _keys(stated, paths)
    hours: HoursTable | None = stated.get("hours")
    if hours is not None:
        yield from _hours(hours, paths["hours"], agent, named, has_zone="time_zone" in stated)


def _names_used_twice(stated: Mapping[str, Any], paths: Mapping[str, Path]) -> Iterator[Fault]:
    names = {
        "tools": stated.get("tools", []),
        "transfer": [each.name for each in stated.get("transfer", [])],
        "http": [each.name for each in stated.get("http", [])],
        "mcp": [each.label for each in stated.get("mcp", [])],
    }
    for key, used in names.items():
        yield from ((paths[key], f"{name} is listed twice: each name may be used once") for name in _twice(used))
    for name in names["http"]:
        if name in BUILT_IN:
            yield paths["http"], f"{name} is the name of a built-in tool: choose another"


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _transfers(stated: Mapping[str, Any], paths: Mapping[str, Path]) -> Iterator[Fault]:
    can_transfer = TRANSFER_CALL in stated.get("tools", [])
    if can_transfer and not stated.get("transfer"):
        yield paths["tools"], "transfer_call needs somebody to transfer to: list them with [[….transfer]]"
    if stated.get("transfer") and "tools" not in stated:
        yield paths["transfer"], 'transfers need a tool: write tools = ["hang_up", "transfer_call"]'


def _keys(stated: Mapping[str, Any], paths: Mapping[str, Path]) -> Iterator[Fault]:
    keys: Mapping[str, KeyTable] = stated.get("keys", {})
    tools = {tool.name: tool for tool in declared(toolbox_of(stated)) if isinstance(tool, Tool)}
    for key, bound in keys.items():
        path = (*paths["keys"], key)
        if bound.tool not in tools:
            yield path, f"the agent has no tool {bound.tool}: it has {', '.join(tools) or 'none'}"
        elif (problem := misfit(tools[bound.tool].parameters, bound.model_extra or {})) is not None:
            yield path, f"the arguments of {bound.tool} do not fit: {problem}"


def _hours(hours: HoursTable, path: Path, agent: Path, named: set[str], *, has_zone: bool) -> Iterator[Fault]:
    if not has_zone:
        yield path, 'hours need a time_zone: write time_zone = "Europe/Berlin", or another, beside them'
    if agent[0] == "agent":
        if path[: len(agent)] == agent:
            yield path, "an agent that answers for others has no hours of its own: leave them out"
        return
    if (closed := hours.when_closed) is None:
        return
    path = (*path, "when_closed")
    if (closed.say is None) == (closed.agent is None):
        yield path, "it must hold either say or agent"
    elif closed.agent is not None and closed.agent not in named:
        known = ", ".join(sorted(named)) or "none"
        yield (*path, "agent"), f"there is no [agent.{closed.agent}]: there is {known}"
