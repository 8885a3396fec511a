"""`keeper health`: whether the service is alive and its certificate good, and for how long a bad answer may be waited
out. The container's health check waits inside (`--wait`), so that it answers as soon as something is known."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from keeper import alarm
from keeper.keeper import EDGE_TIMEOUT, Keeper
from keeper.loop import TURN_INTERVAL
from keeper.words import describe, when

#: How old a heartbeat may be before the service counts as dead.
HEARTBEAT_LIMIT: Final = 60.0
#: Less than this is no room: a certificate with its chain and its key takes four files.
ROOM: Final = 64_000
#: How the failure of a try that has not ended yet is recorded ends (see `attempt`).
UNFINISHED: Final = "was interrupted"


def health(keeper: Keeper) -> tuple[bool, str]:
    """Return whether the service is alive and its certificates good, and one line about it."""
    if lost := not_ours(keeper):
        return False, lost
    age = keeper.store.heartbeat_age(keeper.clock())
    if age is None or age > HEARTBEAT_LIMIT:
        heard = "has never run" if age is None else f"gave no sign of life for {age:.0f} s"
        return False, f"the keeper's service {heard}: see its log"
    looks = [_certificate(one) for one in keeper.all]
    says = [f"{one.label}: {said}" if one.label else said for one, (_, said) in zip(keeper.all, looks, strict=True)]
    return all(is_good for is_good, _ in looks), " | ".join(says)


def _certificate(keeper: Keeper) -> tuple[bool, str]:
    now, name = keeper.clock(), keeper.settings.domain
    state, published = keeper.recall(), keeper.published.certificate()
    trouble = f"; the last try failed: {state.failure}; next try {when(state.ladder.next_try)}" if state.failure else ""
    if state.trouble and not state.failure:
        trouble = f": {state.trouble}"
    trouble += no_room(keeper)
    if published is None:
        return False, f"no certificate is published for {name}{trouble}"
    if not published.good_for(name, now):
        return False, f"the published certificate is not good for {name} now ({describe(published)}){trouble}"
    if state.unserved:
        return False, state.unserved
    if alarming := alarm.alarms(state, published, name, now):
        return True, "; ".join(alarming.values())
    hint = f"; {state.not_offered}" if state.not_offered else ""
    return True, f"{describe(published)}{hint}{trouble}"


def patience(keeper: Keeper) -> float:
    """Return for how many seconds a bad answer of `health` may only mean that the service is still at work.

    0: nothing will change before somebody acts, or before the next try.
    """
    now = keeper.clock()
    if not_ours(keeper) or no_room(keeper):
        return 0.0
    age = keeper.store.heartbeat_age(now)
    if age is None or age > HEARTBEAT_LIMIT:
        return HEARTBEAT_LIMIT  # the service may be starting
    return min((_patience(one) for one in keeper.all if not _certificate(one)[0]), default=0.0)


def _patience(keeper: Keeper) -> float:
    now = keeper.clock()
    state, published = keeper.recall(), keeper.published.certificate()
    if state.unserved and published is not None and published.good_for(keeper.settings.domain, now):
        return EDGE_TIMEOUT + TURN_INTERVAL  # nginx may be starting
    if state.trouble and not state.failure:
        return 0.0
    if keeper.first and keeper.waits_for_first and not keeper.first.recall().failure.endswith(UNFINISHED):
        return 0.0
    is_at_work = not state.failure or state.failure.endswith(UNFINISHED) or state.ladder.due(now)
    return math.inf if is_at_work else 0.0


def not_ours(keeper: Keeper) -> str:
    """Return one sentence about a file of another user that this one can't write; "" if there is none.

    Such files are left by a copy that was made as root, for example with `docker compose cp`.
    """
    settings, user = keeper.settings, os.getuid()
    for folder in (settings.state, settings.published, settings.webroot, settings.rehearsal):
        for path in _all(folder):
            if os.path.lexists(path) and path.lstat().st_uid != user and not os.access(path, os.W_OK):
                return (
                    f"{path} belongs to user {path.lstat().st_uid}, and the keeper, which is user {user}, can't write "
                    f"it: run scripts/own-volumes.sh (without the bundle: chown -R {user} {folder})"
                )
    return ""


def no_room(keeper: Keeper) -> str:
    """Return what to add about a full disk; "" if there is room. While there is none, no failure can be recorded."""
    for folder in (keeper.settings.state, keeper.settings.published):
        try:
            space = os.statvfs(folder)
        except OSError:
            continue  # it is not there yet
        if space.f_bavail * space.f_frsize < ROOM or (space.f_files and not space.f_favail):
            return f"; the disk of {folder} is full: make room on it"
    return ""


def _all(folder: Path) -> Iterator[Path]:
    """Yield a folder and everything in it except links, as far down as it can be listed."""
    yield folder
    for at, folders, files in os.walk(folder):
        yield from (path for name in (*folders, *files) if not (path := Path(at) / name).is_symlink())
