"""The short form of ``bench/siege``: live calls and callers through the real edge, and some brief attacks.

Only counts are checked. Delays depend on the machine, and are left to the long form.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from support.project import ROOT

from bench.sieges import attacks
from bench.sieges.attack import ATTACKS
from bench.sieges.place import Place, place
from bench.sieges.row import Row
from bench.sieges.siege import besiege

LIVE = 5
SOME_TIME = 1.0  # seconds of each attack
CHOSEN = ("forms-wrongly-signed", "upgrades-kept", "waited-failing", "flood-marks", "replay-dead-call")

__all__ = ["attacks"]


async def attacked(here: Place, name: str) -> Row:
    """Run an attack, for longer if it got no CPU time in which to try anything."""
    for seconds in (SOME_TIME, 5 * SOME_TIME, 20 * SOME_TIME):
        row = await besiege(here, ATTACKS[name], seconds=seconds, quiet_seconds=0, afterwards=False)
        if row.tried or row.trouble:
            break
    return row


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    async def all_of_them() -> dict[str, Row]:
        async with place(LIVE, patient=True) as here:
            return {name: await attacked(here, name) for name in CHOSEN}

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("name", CHOSEN)
def test_an_attack_costs_live_calls_no_frame_and_turns_no_caller_away(rows: dict[str, Row], name: str) -> None:
    row = rows[name]
    assert (row.trouble, row.tried > 0) == ("", True)
    assert (row.lost, row.problems) == (0, ())
    assert row.callers.placed > 0
    assert (row.callers.served, row.callers.why_not) == (row.callers.placed, {})


@pytest.mark.parametrize("name", CHOSEN)
def test_an_attack_leaves_no_traceback_opens_no_model_and_learns_nothing(rows: dict[str, Row], name: str) -> None:
    row = rows[name]
    assert row.tracebacks == ()
    assert row.sessions <= row.sessions_allowed
    assert row.rest <= row.rest_allowed
    assert row.told == ()


def test_an_attack_that_there_is_not_is_refused_with_the_names_of_those_that_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.sieges", "--only", "nonsense"],
        cwd=ROOT,
        env={"PATH": "/usr/bin", "PYTHONPATH": "scripts:tests"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "unknown name 'nonsense', choose from nothing, forms-unsigned" in done.stderr
