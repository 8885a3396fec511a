"""Where the texts of the settings come from: the environment, an env file, files with one secret each, and the
rehearsal token in ``DATA_DIR``. No other module reads the environment."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from callgate.errors import ConfigError

from .env_file import WORDS, parse_env_file, read_env_file
from .owners import MEND, of_another_user

REHEARSAL_TOKEN_FILE: Final = "rehearsal-auth-token"
DEFAULT_ENV_FILE: Final = ".env"


def read_settings(
    environ: Mapping[str, str] | None = None, env_file: str | Path | None = DEFAULT_ENV_FILE
) -> dict[str, str]:
    """Read the texts of all settings: the environment overrides ``env_file``. ``-`` is the standard input, where
    scripts/doctor.sh shows a container the .env file that it does not have.

    Only the default file may be missing. Raises `ConfigError` if the file can't be read, or not by all alike.
    """
    values = {}
    if env_file == "-":
        values = parse_env_file(sys.stdin.buffer.read(), DEFAULT_ENV_FILE)
    elif env_file:
        if str(env_file) != DEFAULT_ENV_FILE and not Path(env_file).exists():
            raise ConfigError([f"--env-file {env_file}: there is no such file"])
        values = read_env_file(Path(env_file))
    values.update(os.environ if environ is None else environ)
    return values


def text_of(name: str, values: Mapping[str, str], *, secret: bool = False) -> str:
    """Return the text of one setting, "" if it is not set. A secret may also be in a file, named by ``NAME_FILE``.

    Raises `ValueError` if both are set, if the file can't be read, or if the text can't be any setting's.
    """
    text, path = values.get(name, "").strip(), values.get(f"{name}_FILE", "").strip()
    if not path or not secret:
        return _checked(text, one_line=name not in WORDS)
    if text:
        raise ValueError(f"{name}_FILE is set too: keep one of them")
    try:
        return read_secret(Path(path))
    except ValueError as exc:
        raise ValueError(f"{name}_FILE is {path}, which {exc}") from exc


def _checked(text: str, *, one_line: bool) -> str:
    # Python keeps the bytes of an environment that is not UTF-8 as surrogates. Docker replaces them.
    if any(char == "\ufffd" or "\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("it contains characters that are not UTF-8, perhaps Latin-1: save the file it is in as UTF-8")
    if not one_line:
        return text
    if len(text.splitlines()) > 1:
        raise ValueError("it has more than one line")
    # What other readers of env files make of NAME= # a comment, and of NAME='value'.
    if text.startswith("#"):
        raise ValueError("it begins with #: a comment after an empty value needs a line of its own")
    if len(text) > 1 and text[0] == text[-1] in ("'", '"'):
        raise ValueError("it has quotes around it: what read the file took them for part of the value, so remove them")
    return text


def read_secret(path: Path) -> str:
    """Return the secret in a file, "" if it is empty. Raises `ValueError` if it can't be read, or is not one line."""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except OSError as exc:
        raise ValueError(f"can't be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ValueError("is not UTF-8 text: write the secret into it again, and save it as UTF-8") from exc
    if len(text.splitlines()) > 1:
        raise ValueError("has more than one line: it must contain the secret, and nothing else")
    return text


def rehearsal_token(data_dir: Path) -> str | None:
    """Return the token that a service without ``TWILIO_AUTH_TOKEN`` generated, if one has run here."""
    try:
        return (data_dir / REHEARSAL_TOKEN_FILE).read_text().strip() or None
    except (OSError, UnicodeDecodeError):
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
    except UnicodeDecodeError as exc:
        raise ConfigError([f"DATA_DIR: {path} is not text: remove it, and a new one is made"]) from exc
    except OSError as exc:
        found = of_another_user([path.parent, path])
        says = (
            f"{found}: {MEND}"
            if found
            else f"{path.parent} can't be used ({exc.strerror}): name a directory this user can write"
        )
        raise ConfigError([f"DATA_DIR: {says}"]) from exc
