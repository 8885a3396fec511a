"""The settings: can they be read, do they name what a real call needs, and who else can read them."""

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
EDIT: Final = "Correct it in .env (docs/configuration.md), and restart the backend"


def read(values: Mapping[str, str]) -> tuple[Config | None, Result]:
    """The settings, where they can be read. What can't is found wrong, each by itself."""
    try:
        config = Config.parse(values)
    except ConfigError as exc:
        return None, Result(NAME, TITLE, tuple(_bad(problem) for problem in exc.problems))
    return config, Result(NAME, TITLE, (ok("all of them can be read"),))


def _bad(problem: str) -> Finding:
    name, _, reason = problem.partition(": ")
    return wrong(f"{name}: {reason or problem}", f"a {name} that can be used", EDIT)


async def address(case: Case) -> Sequence[Finding]:
    """Whether there is an address that Twilio can reach."""
    config = case.config
    if case.is_rehearsal:
        return [
            wrong(
                "neither DOMAIN nor BASE_URL is set: this is a rehearsal on localhost, which Twilio can't reach",
                "the host name that callers' calls reach",
                "Set DOMAIN in .env; behind a tunnel, set BASE_URL to its https:// address",
            )
        ]
    if case.is_tunnel and config.domain != "localhost" and not is_tunnel_name(case.host):
        return [
            warning(
                f"BASE_URL is {config.base_url}, and DOMAIN is {config.domain}",
                "one name: the certificate is issued for DOMAIN",
                "Remove BASE_URL from .env, unless a tunnel or a proxy of yours answers there; then remove DOMAIN",
            )
        ]
    kind = "a tunnel, or a proxy of your own" if case.is_tunnel else "your own domain"
    return [ok(f"{config.base_url} ({kind})")]


async def for_real_calls(case: Case) -> Sequence[Finding]:
    """Whether what a real call needs is set at all."""
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
                "TWILIO_ACCOUNT_SID is not set: calls of any account are taken, and Twilio can't be asked about yours",
                "the SID of your Twilio account",
                "Copy it from the Twilio console into .env, and restart the backend",
            )
        )
    if config.uses_line_check:
        found.append(
            warning(
                "OPENAI_API_KEY is not set: the line check answers, and says the caller's words back",
                "a key of OpenAI's, or Azure OpenAI",
                "Set OPENAI_API_KEY in .env, and restart the backend",
            )
        )
    return found or [ok("account, auth token and model are set")]


async def privacy(case: Case) -> Sequence[Finding]:
    """Whether only its owner can read the file with the secrets."""
    name, mode = _env_mode(case)
    if mode is None:
        return [skipped("there is no file: the settings are in the environment")]
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        return [
            warning(
                f"{name} can be read by other users of this machine (mode {mode:04o})",
                "mode 0600: it holds secrets",
                f"chmod 600 {name}",
            )
        ]
    return [ok(f"only you can read {name}")]


def _env_mode(case: Case) -> tuple[str, int | None]:
    """The file's name and mode. A container has its settings only: who started it may say the mode (doctor.sh)."""
    path = case.env_file
    if path is not None and path.is_file():
        return path.name, stat.S_IMODE(os.stat(path).st_mode)
    try:
        return ".env", int(case.values.get(ENV_MODE, ""), 8)
    except ValueError:
        return ".env", None


def secrets_in(values: Mapping[str, str], config: Config | None) -> tuple[str, ...]:
    """Every secret in the settings, also in those that can't be used."""
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
    """The file that settings are read from, where there is one."""
    path = Path(text)
    return path if path.is_file() else None


def with_kept_token(config: Config) -> Config:
    """Where no auth token is set, with the one that the backend made for rehearsals, if it has run here."""
    kept = None if config.twilio_auth_tokens else rehearsal_token(config.data_dir)
    return config if kept is None else dataclasses.replace(config, twilio_auth_tokens=(kept,), rehearsal=True)
