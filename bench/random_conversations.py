"""Holds whole conversations drawn at random, and prints which rules they broke (`tests/support/random_peer`)."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from support.random_peer.plan import drawn
from support.random_peer.scene import Scene
from support.random_peer.shrink import brief, kind, shrunk, verdict

CHUNK = 250  # conversations that a process holds before it reports


@dataclass(slots=True)
class Held:
    """Some conversations. ``broken``: the rules that were broken, and the seeds. ``met``: how often each fault struck.
    ``ends``: how they ended."""

    count: int = 0
    minutes: float = 0.0  # simulated
    broken: dict[str, list[int]] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def add(self, other: Held) -> None:
        """Add others."""
        self.count += other.count
        self.minutes += other.minutes
        for rule, seeds in other.broken.items():
            self.broken.setdefault(rule, []).extend(seeds)
        self.met += other.met
        self.ends += other.ends


def hold(first: int) -> Held:
    """Hold the conversations of a chunk, from this seed on."""
    held = Held()
    for seed in range(first, first + CHUNK):
        scene = Scene(drawn(Random(seed)))
        began = scene.agenda.now
        if (broken := verdict(scene)) is not None:
            held.broken.setdefault(kind(broken)[:160], []).append(seed)
        held.count += 1
        held.minutes += (scene.agenda.now - began) / 60
        held.met.update(set(scene.truth.met))
        held.ends[scene.ended.outcome.value if scene.ended else "the line is still open"] += 1
    return held


def tell(seed: int) -> int:
    """Print the story of one conversation, made as small as it can be if it breaks a rule."""
    plan = drawn(Random(seed))
    if verdict(Scene(plan)) is not None:
        plan = shrunk(plan)
    scene = Scene(plan, told=True)
    broken = verdict(scene)
    print(brief(plan))
    print("\n".join(scene.story or ()))
    print(broken or "no rule was broken")
    return int(broken is not None)


def main() -> int:
    """Run the command. Returns its exit code: 1 if a rule was broken."""
    parser = argparse.ArgumentParser(prog="bench/conversations", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=20_000, metavar="N", help="how many (default 20000)")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="SEED", help="the first seed (default 0)")
    parser.add_argument("--story", type=int, metavar="SEED", help="tell the conversation of this seed")
    options = parser.parse_args()
    if options.story is not None:
        return tell(options.story)
    began, total = time.perf_counter(), Held()
    chunks = range(options.first, options.first + max(options.count, 1), CHUNK)
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        for held in pool.imap_unordered(hold, chunks):
            total.add(held)
            if total.count % (20 * CHUNK) == 0:
                print(f"{total.count} conversations, {sum(map(len, total.broken.values()))} broke a rule", flush=True)
    seconds = time.perf_counter() - began
    print(f"{total.count} conversations of {total.minutes / total.count:.1f} min each, held in {seconds:.0f} s")
    struck = [item for item in total.met.most_common() if not item[0].startswith("ended: ")]
    print("met: " + ", ".join(f"{name} {count}" for name, count in struck))
    print("ended: " + ", ".join(f"{name} {count}" for name, count in total.ends.most_common()))
    for rule, seeds in sorted(total.broken.items(), key=lambda item: -len(item[1])):
        print(f"BROKEN {len(seeds)} times (seeds {', '.join(map(str, sorted(seeds)[:5]))}): {rule}")
    print("no rule was broken" if not total.broken else f"{sum(map(len, total.broken.values()))} broke a rule")
    return int(bool(total.broken))


if __name__ == "__main__":
    sys.exit(main())
