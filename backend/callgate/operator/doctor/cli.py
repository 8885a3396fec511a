"""``callgate doctor``. Exit code 0: nothing is wrong; 1: something is; 2: it can't run with these options."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from callgate.errors import ConfigError

if TYPE_CHECKING:
    from callgate.peers.phone.options import Address

    from .world import World

WELL: Final = 0
WRONG: Final = 1

_DESCRIPTION = """\
Examines the whole chain of a call from the outside in, and names what is wrong first: settings,
clock, disk, DNS, ports, certificate, backend, webhook and stream (requested as Twilio does),
store, Twilio account and number, OpenAI key and model. Changes nothing.
Exit code: 0 nothing is wrong (there may be warnings), 1 something is wrong, 2 it can't
run with these options or settings."""


def add_parser(commands: Any) -> None:
    """Add ``doctor`` to the subparsers of the ``callgate`` command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        help="examine the whole chain of a call, and name the first thing that is wrong",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")
    calls = parser.add_mutually_exclusive_group()
    calls.add_argument(
        "--call", action="store_true", help="also place a test call, as Twilio would, and time its parts"
    )
    calls.add_argument(
        "--call-to", metavar="NUMBER", default="", help="have Twilio ring a number of TEST_CALL_TO, and follow the call"
    )
    parser.add_argument("--env-file", default=".env", help="the file with the settings that the environment lacks")
    parser.add_argument("--connect-to", metavar="HOST:PORT", help="where port 443 of BASE_URL is, whatever DNS says")
    parser.add_argument("--ca", metavar="FILE", type=Path, help="the CA to trust, instead of the system's")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the checks, and print what they found. Raises `ConfigError` if the doctor can't run with these arguments."""
    from callgate.config.settings import Config
    from callgate.config.sources import read_settings
    from callgate.logs.setup import Masking

    from .checks import examine
    from .report import as_json, as_text
    from .settings import env_file_of, secrets_in

    if args.env_file not in (".env", "-") and not Path(args.env_file).is_file():
        raise ConfigError([f"--env-file {args.env_file}: there is no such file"])
    in_file, bad_lines = dict[str, str](), tuple[str, ...]()
    try:
        in_file = read_settings({}, args.env_file)
    except ConfigError as exc:
        bad_lines = exc.problems
    values = {**in_file, **read_settings(env_file=None)}
    world = world_of(args, values)
    looking = examine(
        values,
        world,
        env_file=env_file_of(args.env_file),
        in_file=in_file,
        bad_lines=bad_lines,
        call=args.call,
        call_to=args.call_to.strip(),
    )
    examination = asyncio.run(looking)
    try:
        config = Config.parse(values)
    except ConfigError:
        config = None
    mask = Masking(secrets_in(values, config)).mask
    if args.json:
        print(json.dumps(as_json(examination, mask), indent=2, ensure_ascii=False))
    else:
        print(as_text(examination, mask))
    return WELL if examination.is_well else WRONG


def world_of(args: argparse.Namespace, values: Mapping[str, str]) -> World:
    """Return the real world. For a rehearsal in the bundle, the edge is where the phone finds it too."""
    from callgate.peers.phone.call import tls_context

    from .world import World

    named = values.get("DOMAIN", "").strip() or values.get("BASE_URL", "").strip()
    rehearsal = {} if named else {name: values.get(f"PHONE_{name}", "").strip() for name in ("CONNECT_TO", "CA")}
    where, ca = args.connect_to or rehearsal.get("CONNECT_TO", ""), args.ca
    if ca is None and (kept := rehearsal.get("CA")) and Path(kept).is_file():
        ca = Path(kept)
    tls_context(ca)  # raises if the file can't be used
    return World(edge=_address(where) if where else None, ca=ca)


def _address(text: str) -> Address:
    from callgate.peers.phone.options import Address

    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ConfigError([f"--connect-to {text!r} is not of the form HOST:PORT"])
    return Address(host, int(port))
