"""The ``callgate`` command."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import uvloop

from . import __version__
from .agents.cli import add_parser as add_agents_parser
from .call import add_parser as add_call_parser
from .calls import add_parser as add_calls_parser
from .config import Config
from .doctor.cli import add_parser as add_doctor_parser
from .errors import ConfigError
from .health import readiness_problems
from .logs import set_up_logging
from .phone.cli import add_parser as add_phone_parser
from .server import serve


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit code: 0 done, 1 not done, 2 it can't be done like this."""
    parser = argparse.ArgumentParser(prog="callgate", description="Your own domain between Twilio and a voice model.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve_parser = commands.add_parser("serve", help="answer calls (settings from the environment and .env)")
    serve_parser.add_argument("--env-file", default=".env", help="where settings are read that the environment lacks")
    serve_parser.set_defaults(run=_serve)
    ready_parser = commands.add_parser(
        "ready", help="ask the backend here whether it would answer a call (a healthcheck)"
    )
    ready_parser.add_argument("--env-file", default=".env", help=argparse.SUPPRESS)
    ready_parser.set_defaults(run=_ready)
    add_phone_parser(commands)
    add_calls_parser(commands)
    add_call_parser(commands)
    add_agents_parser(commands)
    add_doctor_parser(commands)
    args = parser.parse_args(argv)
    try:
        code: int = args.run(args)
    except ConfigError as exc:
        for problem in exc.problems:
            print(f"callgate: {problem}", file=sys.stderr)
        return 2
    return code


def _serve(args: argparse.Namespace) -> int:
    config = Config.load(env_file=args.env_file)
    set_up_logging(config)
    try:
        uvloop.run(serve(config))
    finally:
        logging.shutdown()  # the log's end is written first, in time
    return 0


def _ready(args: argparse.Namespace) -> int:
    problems = readiness_problems(Config.load(env_file=args.env_file))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
