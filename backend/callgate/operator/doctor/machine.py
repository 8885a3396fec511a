"""This machine: its clock, its disk, and its store of calls."""

from __future__ import annotations

import asyncio
import email.utils
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from callgate.config.owners import MEND, of_another_user
from callgate.core.units import SECONDS
from callgate.errors import StoreError
from callgate.operator.ask import UnreachableError
from callgate.store import Archive

from .finding import Finding, ok, skipped, warning, wrong
from .handshake import unjudging
from .world import OPENAI_API, TWILIO_API, Case

CLOCK_SUSPICIOUS: Final = 60 * SECONDS
CLOCK_WRONG: Final = 3600 * SECONDS

MEGABYTE: Final = 1_000_000
SPACE_NEEDED: Final = 10 * MEGABYTE
SPACE_WANTED: Final = 200 * MEGABYTE  # enough for a renewal, an image, and weeks of records
FREE_SPACE: Final = "Free some space: run docker system prune, delete old logs"


async def clock(case: Case) -> Sequence[Finding]:
    """Compare this machine's clock with the Date that Twilio and OpenAI send (RFC 9110, section 6.6.1).

    Their certificates are not verified here, because with a clock that is far off none would be valid.
    """
    asked = await asyncio.gather(*(_offset(case, url) for url in (TWILIO_API, OPENAI_API)))
    offsets = [offset for offset in asked if offset is not None]
    if not offsets:
        return [skipped("neither Twilio nor OpenAI could be asked for the time")]
    off = min(offsets, key=abs)
    if abs(off) < CLOCK_SUSPICIOUS:
        return [ok("it agrees with the time that Twilio and OpenAI give")]
    found = f"this machine's clock is {_duration(abs(off))} {'fast' if off > 0 else 'slow'}"
    severity = wrong if abs(off) >= CLOCK_WRONG else warning
    wanted = "the right time, which decides whether certificates are valid"
    return [severity(found, wanted, "Have NTP set it: timedatectl set-ntp on")]


async def _offset(case: Case, url: str) -> float | None:
    try:
        answer = await case.world.ask("HEAD", url, tls=unjudging())
        return case.world.now() - email.utils.parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (UnreachableError, ValueError):
        return None


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


async def disk(case: Case) -> Sequence[Finding]:
    """Whether there is free space where the backend keeps what must outlive it."""
    folder = case.config.data_dir.absolute()
    at = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        space = os.statvfs(at)
    except OSError as exc:
        return [skipped(f"DATA_DIR can't be examined: {exc.strerror}")]
    free = space.f_bavail * space.f_frsize
    if free < SPACE_NEEDED or (space.f_files and not space.f_favail):
        return [_no_room(free, folder)]
    if not os.access(at, os.W_OK | os.X_OK):
        wanted = "a folder that the backend's user can write to"
        return [wrong(f"{_shown(folder)} (DATA_DIR) is not writable", wanted, f"chown {at.name} to that user")]
    if folder.is_dir() and (found := of_another_user(sorted(folder.iterdir()))):
        return [wrong(found, "files of the backend's own user: otherwise no call is kept", MEND.capitalize())]
    if free < SPACE_WANTED:
        found = f"only {free // MEGABYTE} MB are free on the disk of DATA_DIR"
        return [warning(found, f"{SPACE_WANTED // MEGABYTE} MB", FREE_SPACE)]
    return [ok(f"{free // MEGABYTE} MB are free on the disk of DATA_DIR")]


def _no_room(free: int, folder: Path) -> Finding:
    return wrong(
        f"the disk of DATA_DIR ({_shown(folder)}) is full: {free // 1000} kB are free",
        f"{SPACE_WANTED // MEGABYTE} MB: without space, records of calls are lost and certificates can't be renewed",
        FREE_SPACE,
    )


def _shown(folder: Path) -> str:
    return folder.name or str(folder)


async def store(case: Case) -> Sequence[Finding]:
    """Whether the record of calls can be read."""
    config = case.config
    if not config.store:
        return [ok("it is off (STORE): no record of calls is kept")]
    if config.database_url is None and not (config.data_dir / "calls.sqlite3").exists():
        return [skipped("there is no record of calls here yet")]
    try:
        async with Archive.of(config) as archive:
            kept = await archive.calls(limit=1)
    except StoreError as exc:
        do = "See docs/store.md. Is DATABASE_URL right, and is the server up?"
        return [wrong(f"the store can't be read: {exc}", "a working store: interrupted calls are resumed from it", do)]
    newest = f"; the newest call is of {kept[0].started_at:%Y-%m-%d %H:%M} UTC" if kept else "; it is empty"
    return [ok(f"the record of calls can be read{newest}")]
