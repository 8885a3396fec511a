"""Where the texts of the settings come from: the environment, an env file, files with one secret each, and the
rehearsal token in ``DATA_DIR``. No other module reads the environment."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from callgate.errors import ConfigError

REHEARSAL_TOKEN_FILE: Final = "rehearsal-auth-token"


def read_settings(environ: Mapping[str, str] | None = None, env_file: str | Path | None = ".env") -> dict[str, str]:
    """Read the texts of all settings: the environment overrides ``env_file``, if there is one."""
    values = {key: value or "" for key, value in dotenv_values(env_file).items()} if env_file else {}
    values.update(os.environ if environ is None else environ)
    return values


def text_of(name: str, values: Mapping[str, str], *, secret: bool = False) -> str:
    """Return the text of one setting, "" if it is not set. A secret may also be in a file, named by ``NAME_FILE``.

    Raises `ValueError` if both are set, or if the file can't be read.
    """
    text, path = values.get(name, "").strip(), values.get(f"{name}_FILE", "").strip()
    if not path or not secret:
        return text
    if text:
        raise ValueError(f"{name}_FILE is set too: keep one of them")
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"{name}_FILE is {path}, which can't be read: {getattr(exc, 'strerror', exc)}") from exc


def rehearsal_token(data_dir: Path) -> str | None:
    """Return the token that a service without ``TWILIO_AUTH_TOKEN`` generated, if one has run here."""
    try:
        return (data_dir / REHEARSAL_TOKEN_FILE).read_text().strip() or None
    except OSError:
        return None


def make_rehearsal_token(data_dir: Path) -> str:
    """Return that token, generated at random if there is none yet. Raises `ConfigError` if ``data_dir`` is not
    writable."""
    return _written_once(data_dir / REHEARSAL_TOKEN_FILE, secrets.token_hex(16))


def _written_once(path: Path, value: str) -> str:
    """Return the contents of ``path``; if it does not exist, write ``value`` there first. Safe between processes."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft.touch(mode=0o600)
            draft.write_text(value + "\n")
            try:
                os.link(draft, path)  # fails if another process was first
            except FileExistsError:
                logging.getLogger(__name__).debug("%s was made by another process", path.name)
            draft.unlink()
        return path.read_text().strip()
    except OSError as exc:
        raise ConfigError(
            [f"DATA_DIR: {path.parent} can't be used ({exc.strerror}): name a directory this user can write"]
        ) from exc
