"""``callgate ready``: whether the backend on this machine would answer a call now."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from callgate.config.settings import Config

from .ask import UnreachableError, ask

DEADLINE = 4.0  # seconds
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def add_parser(commands: Any) -> None:
    """Add ``ready`` to the subparsers of the ``callgate`` command."""
    parser = commands.add_parser("ready", help="ask the backend here whether it would answer a call (a healthcheck)")
    parser.add_argument("--env-file", default=".env", help=argparse.SUPPRESS)
    parser.set_defaults(run=_ready)


def _ready(args: argparse.Namespace) -> int:
    problems, warnings = readiness(Config.load(env_file=args.env_file))
    for warning in warnings:
        print(f"Warning: {warning}")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def backend_url(config: Config) -> str:
    """Return the URL of the backend on this machine."""
    host = ANY_ADDRESS.get(config.host, config.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{config.port}"


def readiness(config: Config) -> tuple[list[str], list[str]]:
    """Return why the backend would not answer a call now, one sentence per reason, [] if it would; and what else is
    wrong, such as a record of calls that can't be written."""
    url = f"{backend_url(config)}/readyz"
    try:
        answer = asyncio.run(ask("GET", url, timeout=DEADLINE))
    except UnreachableError as exc:
        return [f"The backend does not answer at {url}: {exc}"], []
    state = answer.document or {}
    problems, warnings = state.get("problems"), state.get("warnings")
    if not isinstance(problems, list) or not isinstance(warnings, list):
        return ["Something other than the backend answers on its port."], []
    return [str(problem) for problem in problems], [str(warning) for warning in warnings]
