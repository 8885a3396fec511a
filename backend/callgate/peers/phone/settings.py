"""Reads the options of a call from the command line, the environment and ``.env``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from callgate.config.settings import Config
from callgate.config.sources import read_settings, rehearsal_token
from callgate.errors import ConfigError

from .options import FROM_NUMBER, NO_ACCOUNT, TO_NUMBER, Address, PhoneOptions
from .simulation.script import Digits, Hold, Interrupt, Speak, Step, Wait
from .simulation.timeline import Event
from .wav import read_ulaw

# What the caller says without a script: "Hello. Can you hear me?", made with flite's voice rms, µ-law at 8 kHz.
REHEARSAL = Path(__file__).with_name("rehearsal.wav")
DEFAULT_AFTER = 0.8  # seconds into the agent's speech


def options_from(args: argparse.Namespace, environ: Mapping[str, str] | None = None) -> PhoneOptions:
    """Read all that a call needs. Raises `ConfigError` or `RecordingError`, with what is wrong."""
    settings = read_settings(environ)
    connect_to = args.connect_to or settings.get("PHONE_CONNECT_TO", "").strip()
    for path in (args.record, args.timeline, args.picture):
        _check_directory(path)
    return PhoneOptions(
        to=_check_target(args.to or _default_target(settings)),
        auth_token=_auth_token(args.auth_token, settings),
        script=_script(args.steps or [("say", REHEARSAL)]),
        method=args.method,
        account_sid=_account_sid(args.account_sid or settings.get("TWILIO_ACCOUNT_SID", "").strip() or NO_ACCOUNT),
        from_number=args.from_number or FROM_NUMBER,
        to_number=args.called or settings.get("TWILIO_PHONE_NUMBER", "").strip() or TO_NUMBER,
        parameters=_parameters(args.parameter),
        status_callback=None if args.status_callback is None else _check_target(args.status_callback),
        connect_to=_address(connect_to) if connect_to else None,
        ca=args.ca or _default_ca(settings),
        dials=tuple(args.dial),
        greeting=not args.no_greeting,
        echo=args.expect_echo,
        reply_within=args.reply_within,
        max_seconds=args.max_seconds,
        on_event=_print_event if args.live else None,
    )


def _script(steps: list[tuple[str, Any]]) -> tuple[Step, ...]:
    recordings: dict[Path, bytes] = {}

    def recording(path: Path) -> bytes:
        if path not in recordings:
            recordings[path] = read_ulaw(path)
        return recordings[path]

    script: list[Step] = []
    for name, value in steps:
        match name:
            case "say":
                script.append(Speak(recording(value), value.name))
            case "interrupt":
                path, after = value
                script.append(Interrupt(recording(path), path.name, DEFAULT_AFTER if after is None else after))
            case "digits":
                script.append(Digits(value))
            case "wait" | "listen":
                script.append(Wait(value))
            case "hold":
                script.append(Hold())
    return tuple(script)


def _default_ca(settings: Mapping[str, str]) -> Path | None:
    """Return ``PHONE_CA`` if that file exists: the rehearsal's CA is removed when there is a real certificate."""
    path = Path(settings.get("PHONE_CA", "").strip() or "/nonexistent")
    return path if path.is_file() else None


def _default_target(settings: Mapping[str, str]) -> str:
    base = settings.get("BASE_URL", "").strip().rstrip("/")
    return f"{base or 'https://' + (settings.get('DOMAIN', '').strip() or 'localhost')}/incoming-call"


def _check_target(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("https", "http", "wss", "ws") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise ConfigError([f"{url!r} is not a URL to call: use https://HOST/incoming-call, or a stream's wss:// URL"])
    return url


def _auth_token(given: str | None, settings: Mapping[str, str]) -> str:
    secret = {name: text for name, text in settings.items() if name in ("TWILIO_AUTH_TOKEN", "TWILIO_AUTH_TOKEN_FILE")}
    for token in ((given or "").strip(), *Config.parse(secret).twilio_auth_tokens):
        if token:
            return token
    kept = rehearsal_token(Path(settings.get("DATA_DIR", "").strip() or "data"))
    if kept is None:
        raise ConfigError(["no auth token to sign with: set TWILIO_AUTH_TOKEN, or give --auth-token (a backend without "
                           "a token makes one in DATA_DIR at its first start)"])  # fmt: skip
    return kept


def _account_sid(text: str) -> str:
    if not re.fullmatch(r"AC[0-9a-fA-F]{32}", text):
        raise ConfigError(["the account SID must be AC and 32 hexadecimal digits"])
    return text


def _parameters(pairs: list[str]) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    if not all(name and separator for name, separator, _ in split):
        raise ConfigError(["--parameter must be of the form NAME=VALUE"])
    return {name: value for name, _, value in split}


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError([f"--connect-to {text!r} is not of the form HOST:PORT"])
    return Address(host, int(port))


def _check_directory(path: Path | None) -> None:
    if path is not None and not path.parent.is_dir():
        raise ConfigError([f"{path} can't be written: there is no directory {path.parent}"])


def _print_event(event: Event) -> None:
    print(event.as_line(), file=sys.stderr, flush=True)
