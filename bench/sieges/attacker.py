"""The attacking process. It reads its orders from its argument, waits for the start signal, and prints the result.

A real attacker has a machine of its own. This one shares the machine, so it yields to all other processes (nice).
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys

import uvloop

from . import attacks
from .attack import ATTACKS, Assault, Target
from .client import why

READY, GO = "ready", "go"
NICENESS = 10
LET_FINISH = 10.0  # seconds for unfinished work when time is up

__all__ = ["attacks"]


def main() -> int:
    """Run the attack given as argument."""
    os.nice(NICENESS)
    _have_files()
    told = json.loads(sys.argv[1])
    target = Target(**told["target"])
    print(READY, flush=True)
    if sys.stdin.readline().strip() != GO:
        return 1
    print(json.dumps(uvloop.run(_attack(told["attack"], target, told["seconds"]))), flush=True)
    sys.stdin.readline()  # stay alive until killed, so that the CPU time can be read
    return 0


async def _attack(name: str, target: Target, seconds: float) -> dict[str, object]:
    assault = Assault(target, seconds)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    assault.begin()
    problem = ""
    try:
        async with asyncio.timeout(seconds + LET_FINISH):
            await ATTACKS[name].run(assault)
    except TimeoutError:
        assault.got["not done in time"] += 1
    except (OSError, EOFError) as error:
        assault.got[why(error)] += 1
    except Exception as error:  # a fault of the siege itself: reported, without a result
        problem = f"{type(error).__name__}: {error}"
    return {
        "tried": assault.tried,
        "got": dict(assault.got.most_common()),
        "told": sorted(assault.told),
        "calls": assault.calls,
        "problem": problem,
    }


def _have_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
