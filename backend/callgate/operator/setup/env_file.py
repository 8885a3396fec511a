"""Reads the .env file, and changes it without touching its other lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from dotenv import set_key

from callgate.config.env_file import read_env_file, spelled
from callgate.errors import ConfigError

from .private_file import PRIVATE, draft_of
from .refusal import SetupRefused


class EnvFile:
    """The .env file at ``path``. ``template``: what a new one is made from (.env.example)."""

    def __init__(self, path: Path, template: Path) -> None:
        self.path = path
        self._template = template

    def read(self) -> dict[str, str]:
        """Return the settings that are not empty. Raises `SetupRefused` if the file can't be read, or if Compose and
        the backend would not read it alike."""
        try:
            values = read_env_file(self.path)
        except ConfigError as exc:
            raise SetupRefused(
                str(self.path),
                found="; ".join(problem.removeprefix(f"{self.path}, ") for problem in exc.problems),
                wanted="lines of NAME=value that Compose and the backend read alike",
                do="correct it (docs/configuration.md has the rules), or move it away",
            ) from exc
        return {name: value.strip() for name, value in values.items() if value.strip()}

    def write(self, values: Mapping[str, str]) -> bool:
        """Set these, leave every other line as it is, and make the mode 0600. Returns whether anything was changed.

        Raises `SetupRefused` for a value that can't be written so that Compose and the backend read it alike.
        """
        before = self.read()
        wanted = {name: value for name, value in values.items() if before.get(name) != value}
        if not wanted:
            return self._close_to_others()
        lines = {name: _spelled(name, value) for name, value in wanted.items()}
        with draft_of(self.path) as draft:
            draft.write_bytes(self._text(wanted).encode())
            for name, line in lines.items():
                set_key(draft, name, line, quote_mode="never", encoding="utf-8")
        return True

    def _text(self, wanted: Mapping[str, str]) -> str:
        if not self.path.exists():
            return self._fresh(wanted)
        text = self.path.read_text(encoding="utf-8-sig")
        return text if text.endswith("\n") or not text else f"{text}\n"

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


def _spelled(name: str, value: str) -> str:
    try:
        return spelled(value)
    except ValueError as exc:
        raise SetupRefused(
            name,
            found=f"a value that .env can't hold: {exc}",
            wanted="a value that Compose and the backend read alike",
            do="use a value without them",
        ) from exc
