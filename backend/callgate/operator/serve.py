"""``callgate serve``: the service, with the line check if the settings name no model server."""

from __future__ import annotations

import argparse
import logging
from typing import Any

import uvloop

from callgate.config.settings import Config
from callgate.logs.setup import set_up_logging
from callgate.peers.linecheck import LineCheck
from callgate.web.server import serve


def add_parser(commands: Any) -> None:
    """Add ``serve`` to the subparsers of the ``callgate`` command."""
    parser = commands.add_parser("serve", help="answer calls (settings from the environment and .env)")
    parser.add_argument("--env-file", default=".env", help="the file with the settings that the environment lacks")
    parser.set_defaults(run=_serve)


def _serve(args: argparse.Namespace) -> int:
    config = Config.load(env_file=args.env_file)
    set_up_logging(config)
    try:
        uvloop.run(serve(config, LineCheck))
    finally:
        logging.shutdown()  # writes the rest of the log before the process ends
    return 0
