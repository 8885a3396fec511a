"""What the backend and nginx wrote while something was looked at, and what of it is amiss."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_ERROR = re.compile(r"^\S+ \S+ (?:ERROR|CRITICAL) - .*$", re.MULTILINE)
_ALERT = re.compile(r"^.*\[(?:crit|alert|emerg)\].*$", re.MULTILINE)


class Log:
    """A log file, from where it ended when this was made."""

    def __init__(self, file: Path) -> None:
        self._file, self._begin = file, file.stat().st_size

    def text(self) -> str:
        """What has been written since."""
        with self._file.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")


def tracebacks(text: str) -> tuple[str, ...]:
    """The last line of each."""
    found = []
    lines = iter(text.splitlines())
    for line in lines:
        if "Traceback (most recent call last):" in line:
            found.append(_last_of(lines))
    return tuple(found)


def _last_of(lines: Iterator[str]) -> str:
    """The first line behind a traceback's beginning that is not part of the stack; of a group's too."""
    for line in lines:
        bare = re.sub(r"^[ +|-]*\| ", "", line)
        if bare and not bare.startswith(" "):
            return bare[:200]
    return ""


def errors(text: str) -> tuple[str, ...]:
    """Lines of the backend's log at level ERROR and above."""
    return tuple(_ERROR.findall(text))


def alerts(text: str) -> tuple[str, ...]:
    """Lines of nginx's error log at level crit and above."""
    return tuple(_ALERT.findall(text))
