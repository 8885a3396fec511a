"""Fills the table of states and actions, several cells at a time, and prints it."""

from __future__ import annotations

import argparse
import fnmatch
import queue
import sys
import threading
import time
from pathlib import Path

from support.edge.certificates.cells import ACTIONS, Cell, fill, is_brief
from support.edge.certificates.states import STATES, State
from support.edge.certificates.station import Station

HERE = Path(__file__).resolve().parents[1]
SIGNS = {"the same": "=", "a new one": "new", "nothing": "none"}

Job = tuple[State, str]


def main() -> int:
    """Run it. The exit status is 1 if a rule was broken."""
    options = _options()
    chosen = [state for state in STATES if fnmatch.fnmatch(state.name, options.only)]
    jobs = [(state, action) for state in chosen for action in ACTIONS if action in options.actions.split(",")]
    began = time.monotonic()
    cells = _fill(jobs, options.stations)
    table = _table(chosen, cells)
    broken = [cell for cell in cells.values() if cell.problem]
    lines = [*table, "", f"{len(cells)} cells in {time.monotonic() - began:.0f} s; rules broken: {len(broken)}"]
    lines += [f"- **{cell.state}**, {cell.action}: {cell.problem}" for cell in broken]
    print("\n".join(lines))
    if options.write:
        (HERE / "CERTIFICATES.md").write_text("\n".join([*_introduction(), *lines]) + "\n")
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/certificates", description="What the keeper makes of each state.")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="states whose names match")
    parser.add_argument("--actions", default=",".join(ACTIONS), help="some of: %(default)s")
    parser.add_argument("--stations", type=int, default=4, help="cells that are filled at the same time (%(default)s)")
    parser.add_argument("--write", action="store_true", help="write CERTIFICATES.md")
    return parser.parse_args()


def _fill(jobs: list[Job], stations: int) -> dict[Job, Cell]:
    waiting: dict[bool, queue.SimpleQueue[Job]] = {True: queue.SimpleQueue(), False: queue.SimpleQueue()}
    for job in jobs:
        waiting[is_brief(job[1])].put(job)
    cells: dict[Job, Cell] = {}
    # Half of the stations issue certificates that live for seconds; those cells mostly wait.
    workers = [
        threading.Thread(target=_work, args=(brief, waiting[brief], cells))
        for brief in (True, False)
        for _ in range(max(1, stations // 2))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return cells


def _work(brief: bool, jobs: queue.SimpleQueue[Job], cells: dict[Job, Cell]) -> None:
    with Station(brief=brief) as station:
        while True:
            try:
                job = jobs.get_nowait()
            except queue.Empty:
                return
            try:
                cells[job] = fill(station, *job)
            except Exception as error:
                cells[job] = Cell(job[0].name, job[1], "nothing", 0, "", f"it could not be tried: {error!r}")
            cell = cells[job]
            print(f"{cell.state:45} {cell.action:14} {cell.served:10} {cell.issued}  {cell.problem}", file=sys.stderr)


def _table(states: list[State], cells: dict[Job, Cell]) -> list[str]:
    lines = [
        f"| state | {' | '.join(ACTIONS)} | what was said |",
        f"| --- | {' | '.join('---' for _ in ACTIONS)} | --- |",
    ]
    for state in states:
        row = [cells.get((state, action)) for action in ACTIONS]
        said = next((cell.said for cell in reversed(row) if cell and cell.said), "")
        marks = [
            f"{SIGNS[cell.served]} {cell.issued}{' **!**' if cell.problem else ''}" if cell else "" for cell in row
        ]
        lines.append(f"| {state.name} | {' | '.join(marks)} | {said.replace('|', '/')} |")
    return lines


def _introduction() -> list[str]:
    return [
        "# Certificates: what the keeper makes of each state",
        "",
        "Written by `bench/certificates --write`, with the real certbot, nginx and Pebble. In each cell: which",
        "certificate a client accepts afterwards (= the same as before, or a new one, or none), and how many were",
        "issued. A certificate comes due and expires within seconds; the service does not wait between two tries.",
        "The last column has what was said first, if only a person can mend the state.",
        "",
    ]


if __name__ == "__main__":
    sys.exit(main())
