"""The ``callgate`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from callgate import __version__
from callgate.errors import ConfigError
from callgate.operator import agents, call, calls, ready, serve
from callgate.operator.doctor import cli as doctor
from callgate.peers.phone import cli as phone


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit code: 0 done, 1 failed, 2 wrong arguments or settings."""
    parser = argparse.ArgumentParser(prog="callgate", description="Your own domain between Twilio and a voice model.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    for verb in (serve, ready, phone, calls, call, agents, doctor):
        verb.add_parser(commands)
    args = parser.parse_args(argv)
    try:
        code: int = args.run(args)
    except ConfigError as exc:
        for problem in exc.problems:
            print(f"callgate: {problem}", file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    sys.exit(main())
