"""Reads the text of ``agents.toml``: returns the agents, or all problems with it. Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from callgate.core.agent import Agent

from .checks import faults
from .convert import plan_of
from .plan import AgentPlan, Agents
from .problems import AgentsError, Problem, dotted, problem_at, problem_of
from .schema import AgentTable, FileTable, SecretsContext
from .toml_lines import Path, key_lines

_T = TypeVar("_T", bound=BaseModel)
_PLACE: Final = re.compile(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Stated:
    """The keys that are set for an agent, in its own table or those it inherits from. ``paths``: where each key is."""

    values: dict[str, Any] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)

    def over(self, below: Stated) -> Stated:
        """Return these keys on top of those of ``below``. A table or list replaces the one below as a whole."""
        return Stated({**below.values, **self.values}, {**below.paths, **self.paths})


def read_agents(document: str, source: str, base: Agent, environ: Mapping[str, str]) -> Agents:
    """Read the file. ``base``: provides the defaults, its texts as templates. ``environ``: where ``${NAME}`` is looked
    up. Raises `AgentsError` with all problems found."""
    data = _parse(document, source)
    lines = key_lines(document)
    secrets = SecretsContext(environ)
    found: list[Problem] = []
    file = _checked(FileTable, data, (), lines, found, secrets)
    tables = dict(_tables(data))
    checked = {path: _checked(AgentTable, table, path, lines, found, secrets) for path, table in tables.items()}
    stated = {path: _stated(path, table) for path, table in checked.items() if table is not None}
    if (default := stated.get(("default",))) is not None:
        found += _faults(stated, default, {str(path[1]) for path in tables if path[0] == "agent"}, lines)
    if found or file is None or default is None:
        raise AgentsError(source, found)

    def plans(kind: str) -> dict[str, AgentPlan]:
        """Return the agents of ``[number.…]`` or ``[agent.…]``."""
        whole = {str(path[1]): own.over(default).values for path, own in stated.items() if path[0] == kind}
        return {name: plan_of(values, base, name, has_hours=kind != "agent") for name, values in whole.items()}

    return Agents(
        plan_of(default.values, base, "default"), plans("number"), plans("agent"), source, frozenset(secrets.found)
    )


def _parse(document: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(document)
    except tomllib.TOMLDecodeError as exc:
        text = str(exc)
        place = _PLACE.search(text)
        last = document.rstrip().count("\n") + 1
        line = int(place[1] or last) if place else 0
        raise AgentsError(source, [Problem(line, "", f"it is not TOML: {_PLACE.sub('', text)}")]) from exc
    except RecursionError as exc:
        raise AgentsError(source, [Problem(0, "", "it is nested too deeply")]) from exc


def _tables(data: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the agents' tables, skipping what is no table. ``[default]`` is included even if it is missing."""
    default = data.get("default", {})
    if isinstance(default, dict):
        yield ("default",), default
    for kind in ("number", "agent"):
        tables = data.get(kind, {})
        for name, table in tables.items() if isinstance(tables, dict) else ():
            if isinstance(table, dict):
                yield (kind, name), table


def _checked(
    model: type[_T], data: Any, path: Path, lines: Mapping[Path, int], found: list[Problem], secrets: SecretsContext
) -> _T | None:
    try:
        return model.model_validate(data, context=secrets)
    except ValidationError as exc:
        found += [problem_of(error, path, data, lines) for error in exc.errors(include_url=False, include_input=False)]
        return None


def _faults(
    stated: Mapping[Path, Stated], default: Stated, named: set[str], lines: Mapping[Path, int]
) -> Iterator[Problem]:
    """Yield the problems of agents as a whole. Problems of the default are not repeated for agents that inherit
    them."""
    of_default = set(faults(default.values, default.paths, ("default",), named))
    yield from (problem_at(at, what, lines) for at, what in of_default)
    for path, own in stated.items():
        whole = own.over(default)
        for at, what in set(faults(whole.values, whole.paths, path, named)) - of_default:
            inherited = at[: len(path)] != path
            yield problem_at(at, f"{what} (for {dotted(path)}, which inherits it)" if inherited else what, lines)


def _stated(path: Path, table: AgentTable) -> Stated:
    names = table.model_fields_set
    return Stated({name: getattr(table, name) for name in names}, {name: (*path, name) for name in names})
