"""The settings: whether they can be used, include all that a real call needs, and are readable only by their owner."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from callgate.config.settings import Config, settings
from callgate.config.sources import rehearsal_token
from callgate.errors import ConfigError

from .finding import Finding, Result, ok, skipped, warning, wrong
from .world import Case, is_tunnel_name

NAME: Final = "settings"
TITLE: Final = "Settings"
ENV_MODE: Final = "DOCTOR_ENV_MODE"  # octal
RESTART_ALL: Final = "Correct it, and restart all services: docker compose -f docker-compose.prod.yml up -d"
EDIT: Final = "Correct it in .env (see docs/configuration.md), and restart the backend"


def read(values: Mapping[str, str], bad_lines: Sequence[str] = ()) -> tuple[Config | None, Result]:
    """Return the settings, or None if they can't be used, with a finding for each bad one.

    ``bad_lines``: why the settings' file can't be read."""
    if bad_lines:
        wanted = "a file that Docker Compose and the backend read alike (docs/configuration.md has the rules)"
        return None, Result(NAME, TITLE, tuple(wrong(line, wanted, RESTART_ALL) for line in bad_lines))
    try:
        config = Config.parse(values)
    except ConfigError as exc:
        return None, Result(NAME, TITLE, tuple(_bad(problem) for problem in exc.problems))
    return config, Result(NAME, TITLE, (ok("all of them can be used"),))


def _bad(problem: str) -> Finding:
    name, _, reason = problem.partition(": ")
    return wrong(f"{name}: {reason or problem}", f"a {name} that can be used", EDIT)


async def address(case: Case) -> Sequence[Finding]:
    """Whether the settings name an address that Twilio can reach."""
    config = case.config
    if case.is_rehearsal:
        return [
            wrong(
                "neither DOMAIN nor BASE_URL is set: this is a rehearsal on localhost, which Twilio can't reach",
                "a public host name, to which Twilio sends calls",
                "Set DOMAIN in .env. Behind a tunnel, set BASE_URL to the tunnel's https:// address instead",
            )
        ]
    if case.is_tunnel and config.domain != "localhost" and not is_tunnel_name(case.host):
        return [
            warning(
                f"BASE_URL is {config.base_url}, but DOMAIN is {config.domain}",
                "the same host name in both: the certificate is issued for DOMAIN",
                "Remove BASE_URL from .env; or, if your own tunnel or proxy answers there, remove DOMAIN",
            )
        ]
    kind = "a tunnel or your own proxy" if case.is_tunnel else "your own domain"
    return [ok(f"{config.base_url} ({kind})")]


async def for_real_calls(case: Case) -> Sequence[Finding]:
    """Whether all that a real call needs is set."""
    config, found = case.config, []
    if config.rehearsal or not config.twilio_auth_tokens:
        found.append(
            wrong(
                "TWILIO_AUTH_TOKEN is not set: only rehearsal calls are answered",
                "the auth token of your Twilio account",
                "Copy it from the Twilio console into .env, and restart the backend",
            )
        )
    if config.twilio_account_sid is None:
        found.append(
            warning(
                "TWILIO_ACCOUNT_SID is not set: calls for any account are taken, and yours can't be checked",
                "the SID of your Twilio account",
                "Copy it from the Twilio console into .env, and restart the backend",
            )
        )
    if config.uses_line_check:
        found.append(
            warning(
                "OPENAI_API_KEY is not set: the line check answers calls, and repeats what the caller says",
                "an OpenAI key, or Azure OpenAI",
                "Set OPENAI_API_KEY in .env, and restart the backend",
            )
        )
    return found or [ok("the account, the auth token and the model are set")]


async def privacy(case: Case) -> Sequence[Finding]:
    """Whether only its owner can read the file with the secrets."""
    name, mode = _env_mode(case)
    if mode is None:
        return [skipped("there is no settings file: the settings are in the environment")]
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        return [
            warning(
                f"{name} can be read by other users of this machine (mode {mode:04o})",
                "mode 0600, because it contains secrets",
                f"chmod 600 {name}",
            )
        ]
    return [ok(f"only you can read {name}")]


def _env_mode(case: Case) -> tuple[str, int | None]:
    """Return the file's name and mode. A container has only the settings, not the file: doctor.sh passes the mode."""
    path = case.env_file
    if path is not None and path.is_file():
        return path.name, stat.S_IMODE(os.stat(path).st_mode)
    try:
        return ".env", int(case.values.get(ENV_MODE, ""), 8)
    except ValueError:
        return ".env", None


def secrets_in(values: Mapping[str, str], config: Config | None) -> tuple[str, ...]:
    """Return every secret in the settings, even if the settings can't be used."""
    named = [values.get(field.metadata["env"], "") for field in settings() if field.metadata["secret"]]
    parts = [part.strip() for text in named for part in (text, *text.split(","))]
    password = _password(values.get("DATABASE_URL", ""))
    return tuple({*filter(None, parts), *(config.secrets if config else ()), *([password] if password else [])})


def _password(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def env_file_of(text: str) -> Path | None:
    """Return the file that settings are read from, if it exists."""
    path = Path(text)
    return path if path.is_file() else None


def with_kept_token(config: Config) -> Config:
    """Return the settings with the backend's rehearsal token if no auth token is set and the backend has run here."""
    kept = None if config.twilio_auth_tokens else rehearsal_token(config.data_dir)
    return config if kept is None else dataclasses.replace(config, twilio_auth_tokens=(kept,), rehearsal=True)
