"""The command line of ``scripts/setup.sh``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from callgate.config.sources import read_settings
from callgate.logs.setup import Masking

from .bundle import Bundle, get_certificate, start_bundle
from .call_step import place_test_call
from .env_file import EnvFile
from .env_step import option_of, write_env
from .number_step import point_number, undo
from .outside import Outside
from .refusal import SetupRefused
from .settings import FIELDS, SECRETS, Settings, read_secret
from .setup import Setup
from .terminal import Terminal

DONE, NOT_DONE, INTERRUPTED = 0, 1, 130

STEPS: Final = ("env", "cert", "start", "number", "call")
ASKED_FOR: Final = (
    "DOMAIN", "ACME_EMAIL", "BASE_URL", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER",
    "OPENAI_API_KEY", "ADMIN_TOKEN", "TEST_CALL_TO",
)  # fmt: skip
OVERRIDE: Final = "CALLGATE_COMPOSE_OVERRIDE"

DESCRIPTION: Final = """\
From nothing to a number that is answered. The steps, all of which run if none is named:

  env      asks for what is missing in .env, checks each answer at once, and writes it
  cert     gets the certificate (scripts/issue-cert.sh)
  start    starts nginx, certbot and the backend, and waits until they are healthy
  number   points the Twilio number here, after showing the old and new webhooks and asking
  call     places the test call

  undo     (only on its own) restores the number's previous webhooks

Each step checks first, and changes only what differs, so it can be run again. Secrets are typed, or come from a file or
from the environment (TWILIO_AUTH_TOKEN, OPENAI_API_KEY, ADMIN_TOKEN)."""
EPILOG: Final = (
    "Exit status: 0 done, 1 a step could not go on (it says what it found, what it wanted, and what to do), "
    "2 wrong usage."
)


def main(argv: Sequence[str] | None = None, *, terminal: Terminal | None = None, outside: Outside | None = None) -> int:
    """Run the steps. Returns the exit code."""
    options = _parse(argv)
    terminal = terminal or Terminal(assume_yes=options.yes)
    try:
        setup = _setup(options, terminal, outside or Outside())
        _run(setup, options.steps, _bundle(setup))
    except SetupRefused as refusal:
        print(f"setup.sh: {Masking().mask(refusal.report())}", file=sys.stderr)
        return NOT_DONE
    except KeyboardInterrupt:
        print("setup.sh: interrupted. To continue, run it again.", file=sys.stderr)
        return INTERRUPTED
    return DONE


def _run(setup: Setup, steps: Sequence[str], bundle: Bundle) -> None:
    if steps == ["undo"]:
        undo(setup)
        return
    if not {"cert", "start"}.isdisjoint(steps):
        bundle.check_docker()  # before anybody is asked anything
    actions: dict[str, Callable[[], bool]] = {
        "env": lambda: write_env(setup),
        "cert": lambda: get_certificate(setup, bundle),
        "start": lambda: start_bundle(setup, bundle),
        "number": lambda: point_number(setup),
    }
    changed = [actions[step]() for step in STEPS if step in steps and step in actions]
    if overriding := setup.settings.overriding(read_settings(env_file=None)):
        setup.terminal.say(
            f"{', '.join(overriding)}: this shell has exported another value than .env has. This script used .env's, "
            f"but docker compose in this shell would use the other one. To prevent that: unset {' '.join(overriding)}"
        )
    if "call" in steps and (setup.wanted_call or any(changed) or setup.terminal.can_ask):
        changed.append(place_test_call(setup))
    elif "call" in steps:
        setup.terminal.say("No test call, because nothing has changed. To place one: scripts/setup.sh call")
    if not any(changed):
        setup.terminal.say(
            "Nothing was changed."
            if "cert" not in steps
            else "Apart from the certificate (see above), nothing was changed."
        )


def _bundle(setup: Setup) -> Bundle:
    """Return the bundle, which is run with the settings in .env, whatever this shell has exported."""
    environ = read_settings(env_file=None)

    def without_overriding() -> dict[str, str]:
        overriding = setup.settings.overriding(environ)
        return {name: text for name, text in environ.items() if name not in overriding}

    return Bundle(setup.folder, environ.get(OVERRIDE, ""), without_overriding)


def _setup(options: argparse.Namespace, terminal: Terminal, outside: Outside) -> Setup:
    folder: Path = options.folder
    given = {}
    for name in ASKED_FOR:
        if (text := getattr(options, name)) is not None:
            given[name] = read_secret(option_of(name), options.invoked_from / text) if name in SECRETS else text
    environ = read_settings(env_file=None)
    known = {name: text for name, text in environ.items() if name.removesuffix("_FILE") in ASKED_FOR}
    settings = Settings(EnvFile(folder / ".env", folder / ".env.example"), given, known)
    return Setup(
        folder=folder,
        settings=settings,
        terminal=terminal,
        outside=outside,
        fallback_url=options.fallback_url,
        wanted_call="call" in options.named,
    )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="setup.sh",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("named", nargs="*", metavar="STEP", help="env, cert, start, number, call; or undo")
    parser.add_argument("--yes", action="store_true", help="ask nothing, and answer every question with yes")
    for name in ASKED_FOR:
        parser.add_argument(
            option_of(name),
            dest=name,
            metavar="FILE" if name in SECRETS else name,
            help=f"{FIELDS[name].metadata['help']}"
            + (" (the name of a file that contains it)" if name in SECRETS else ""),
        )
    parser.add_argument(
        "--fallback-url", metavar="URL", type=_https, help="what Twilio requests if this service fails "
        "(default: this service's /call-interrupted)",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, default=Path(), help=argparse.SUPPRESS)
    parser.add_argument("--invoked-from", type=Path, default=Path(), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    unknown = [step for step in options.named if step not in (*STEPS, "undo")]
    if unknown:
        parser.error(f"there is no step {unknown[0]!r}; the steps are {', '.join(STEPS)}, and undo")
    if "undo" in options.named and options.named != ["undo"]:
        parser.error("undo can't be run together with other steps")
    options.steps = options.named or list(STEPS)
    return options


def _https(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is not an https:// address")
    return text
