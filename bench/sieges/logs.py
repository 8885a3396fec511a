"""The logs of the backend and nginx during a measurement, and the problems in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_ERROR = re.compile(r"^\S+ \S+ (?:ERROR|CRITICAL) - .*$", re.MULTILINE)
_ALERT = re.compile(r"^.*\[(?:crit|alert|emerg)\].*$", re.MULTILINE)


class Log:
    """A log file, from the end it had when this object was made."""

    def __init__(self, file: Path) -> None:
        self._file, self._begin = file, file.stat().st_size

    def text(self) -> str:
        """Return what has been written since."""
        with self._file.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")


def tracebacks(text: str) -> tuple[str, ...]:
    """Return the last line of each traceback."""
    found = []
    lines = iter(text.splitlines())
    for line in lines:
        if "Traceback (most recent call last):" in line:
            found.append(_last_of(lines))
    return tuple(found)


def _last_of(lines: Iterator[str]) -> str:
    """Return the first line after a traceback's stack, also in an exception group."""
    for line in lines:
        bare = re.sub(r"^[ +|-]*\| ", "", line)
        if bare and not bare.startswith(" "):
            return bare[:200]
    return ""


def errors(text: str) -> tuple[str, ...]:
    """Return the lines of the backend's log at level ERROR and above."""
    return tuple(_ERROR.findall(text))


def alerts(text: str) -> tuple[str, ...]:
    """Return the lines of nginx's error log at level crit and above."""
    return tuple(_ALERT.findall(text))
