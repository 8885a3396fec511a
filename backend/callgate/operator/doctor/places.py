"""The settings in .env: whether another place overrides them, and whether all of their names are right."""

from __future__ import annotations

from collections.abc import Sequence

from callgate.config.names import SET_BY_THE_BUNDLE, known, misspelt

from .finding import Finding, ok, skipped, warning
from .world import Case


async def environment(case: Case) -> Sequence[Finding]:
    """Whether the environment has another value for a setting than .env."""
    if not case.in_file:
        return [skipped("there is no settings file, or it is empty")]
    names = (known() - SET_BY_THE_BUNDLE) & case.in_file.keys()
    differing = sorted(name for name in names if case.in_file[name].strip() != case.values[name].strip())
    findings = [
        warning(
            f"{name} has another value in the environment than in .env: the environment's is used",
            "one value",
            f"If .env is right, run unset {name} in the shell from which the services are started. "
            f"If not, correct or remove the line in .env",
        )
        for name in differing
    ]
    return findings or [ok("the environment sets nothing otherwise than .env")]


async def names(case: Case) -> Sequence[Finding]:
    """Whether a name in .env is almost a setting's."""
    if not case.in_file:
        return [skipped("there is no settings file, or it is empty")]
    findings = [
        warning(
            f"{name} in .env is not a setting of Callgate",
            f"{meant}, perhaps",
            f"If {meant} is meant, rename it. If the line is another program's, leave it",
        )
        for name, meant in misspelt(case.in_file).items()
    ]
    return findings or [ok("every name in .env is a setting's, or like none")]
