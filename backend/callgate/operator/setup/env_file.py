"""Reads the .env file, and changes it without touching its other lines."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dotenv import dotenv_values, set_key

from .private_file import PRIVATE, draft_of
from .refusal import SetupRefused

# Text that Compose and python-dotenv read alike without quotes.
PLAIN: Final = re.compile(r"[A-Za-z0-9_.:/+@,=-]+")
# In single quotes, both read everything literally except these characters: python-dotenv expands $NAME.
UNWRITABLE: Final = re.compile(r"['\\$\r\n\0]")

# python-dotenv warns about a bad line at every read. Compose reports it too, once, with its line number.
logging.getLogger("dotenv").setLevel(logging.ERROR)


class EnvFile:
    """The .env file at ``path``. ``template``: what a new one is made from (.env.example)."""

    def __init__(self, path: Path, template: Path) -> None:
        self.path = path
        self._template = template

    def read(self) -> dict[str, str]:
        """Return the settings that are not empty. Raises `SetupRefused` if the file can't be read."""
        try:
            self._read_text()
        except (OSError, UnicodeDecodeError) as exc:
            raise SetupRefused(
                str(self.path),
                found=f"it can't be read ({getattr(exc, 'strerror', None) or 'it is not UTF-8 text'})",
                wanted="lines of NAME=value",
                do="correct it, or move it away",
            ) from exc
        # Don't expand ${NAME}s, because the backend does not either.
        values = dotenv_values(self.path, interpolate=False)
        return {name: value.strip() for name, value in values.items() if value and value.strip()}

    def write(self, values: Mapping[str, str]) -> bool:
        """Set these, leave every other line as it is, and make the mode 0600. Returns whether anything was changed.

        Raises `SetupRefused` for a value that Compose and the backend would not read alike.
        """
        before = self.read()
        wanted = {name: value for name, value in values.items() if before.get(name) != value}
        if not wanted:
            return self._close_to_others()
        for name, value in wanted.items():
            _check_writable(name, value)
        with draft_of(self.path) as draft:
            draft.write_text(self._read_text() if self.path.exists() else self._fresh(wanted), encoding="utf-8")
            for name, value in wanted.items():
                set_key(draft, name, value, quote_mode="never" if PLAIN.fullmatch(value) else "always")
            written = dotenv_values(draft, interpolate=False)
            if any(written.get(name) != value for name, value in wanted.items()):
                raise SetupRefused(
                    str(self.path),
                    found="a line with an open quote, which swallows the lines after it",
                    wanted="lines of NAME=value",
                    do="close its quotes, or move the file away",
                )
        return True

    def _read_text(self) -> str:
        return self.path.read_text(encoding="utf-8") if self.path.exists() else ""

    def _fresh(self, wanted: Mapping[str, str]) -> str:
        """Return the template, with the settings in ``wanted`` uncommented."""
        text = self._template.read_text(encoding="utf-8") if self._template.exists() else ""
        for name in wanted:
            text = re.sub(rf"^# ?{name}=", f"{name}=", text, count=1, flags=re.MULTILINE)
        return text

    def _close_to_others(self) -> bool:
        if not self.path.exists() or self.path.stat().st_mode & 0o777 == PRIVATE:
            return False
        self.path.chmod(PRIVATE)
        return True


def _check_writable(name: str, value: str) -> None:
    if found := UNWRITABLE.search(value):
        raise SetupRefused(
            name,
            found=f"a value that contains {found[0]!r}",
            wanted="one line without single quotes, backslashes and dollar signs",
            do="use a value without them",
        )
