"""The command ``callgate phone``. Exit code 0: all promises were kept; 1: one was not; 2: the call can't be placed."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callgate.errors import CallgateError

if TYPE_CHECKING:
    from .options import PhoneOptions

_DESCRIPTION = """\
A simulated Twilio: it requests the voice webhook with Twilio's signature, executes the
TwiML, opens the media stream, speaks and listens, and prints a timeline at the end.
--say, --interrupt, --digits, --wait, --listen and --hold say what the caller does, in
this order; without them, the caller asks "Can you hear me?". Then the caller waits for
the end of the last reply, and hangs up. The auth token comes from --auth-token,
TWILIO_AUTH_TOKEN, .env, or the backend's token for rehearsals.
Exit code: 0 all promises were kept, 1 a promise was not, 2 the call can't be placed."""

_NO_EFFECT = argparse.SUPPRESS
_DIAL_OUTCOMES = ("answered", "busy", "no-answer", "failed")


class _Step(argparse.Action):
    """Keeps the steps of the script in their order on the command line."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:  # fmt: skip
        steps = list(namespace.steps or [])
        if self.dest == "after":
            if not steps or steps[-1][0] != "interrupt":
                parser.error("--after must follow an --interrupt")
            steps[-1] = ("interrupt", (steps[-1][1][0], values))
        else:
            steps.append((self.dest, (values, None) if self.dest == "interrupt" else values))
        namespace.steps = steps


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``phone`` to the subparsers of the ``callgate`` command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "phone",
        help="place a call as Twilio would, and check whether all promises are kept",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_arguments(parser)
    parser.set_defaults(run=run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command on its own."""
    parser = argparse.ArgumentParser(
        prog="callgate phone", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_arguments(parser)
    return run(parser.parse_args(arguments))


def run(args: argparse.Namespace) -> int:
    """Place the calls that the arguments describe. Returns the exit code."""
    from .settings import options_from

    try:
        options = options_from(args)
    except CallgateError as exc:
        print(f"callgate phone: {exc}", file=sys.stderr)
        return 2
    try:
        return _call(options, args)
    except CallgateError as exc:  # a CA file or an output that can't be used
        print(f"callgate phone: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("callgate phone: interrupted, so the call was dropped", file=sys.stderr)
        return 130


def _call(options: PhoneOptions, args: argparse.Namespace) -> int:
    import uvloop

    from . import output
    from .call import place_calls
    from .voices import each_its_own

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        calls = runner.run(place_calls(each_its_own(options, args.calls), stagger=args.stagger))
    output.write_files(calls, args.record, args.timeline, args.picture)
    print(output.as_json_text(calls) if args.json else output.as_text(calls))
    for line in output.broken_promises(calls):
        print(line, file=sys.stderr)
    return 0 if calls.kept else 1


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(steps=None)
    call = parser.add_argument_group("the call")
    call.add_argument("--to", metavar="URL", help="the voice webhook, or a stream's wss:// URL "
                      "(default: /incoming-call of BASE_URL, or of https://DOMAIN)")  # fmt: skip
    call.add_argument("--method", choices=("POST", "GET"), default="POST", help="the webhook's HTTP method")
    call.add_argument("--connect-to", metavar="HOST:PORT", help="connect there, whatever the URL says; names, "
                      "certificate checks and signatures are still the URL's (default: PHONE_CONNECT_TO)")  # fmt: skip
    call.add_argument(
        "--ca",
        metavar="FILE",
        type=Path,
        help="the CA to trust, instead of the system's (default: PHONE_CA, if that file exists)",
    )
    call.add_argument("--status-callback", metavar="URL", help="requested when the call is over")
    call.add_argument("--dial", metavar="OUTCOME", action="append", default=[], choices=_DIAL_OUTCOMES,
                      help="the outcome of a <Dial>: answered, busy, no-answer or failed; may be repeated, for each "
                      "<Dial> in order (default: answered)")  # fmt: skip
    call.add_argument("--parameter", metavar="NAME=VALUE", action="append", default=[],
                      help="a <Parameter> of the stream, if --to is a stream's URL")  # fmt: skip
    call.add_argument("--calls", metavar="N", type=_count, default=1, help="how many calls to place at once, each with "
                      "its own voice (default 1)")  # fmt: skip
    call.add_argument("--stagger", metavar="SECONDS", type=_seconds, default=0.02,
                      help="how long to wait before each further call (default 0.02)")  # fmt: skip
    _add_script(parser.add_argument_group("what the caller does, in this order"))
    _add_promises(parser.add_argument_group("what is expected"))
    _add_credentials(parser.add_argument_group("who calls"))
    _add_outputs(parser.add_argument_group("what is written"))


def _add_script(script: argparse._ArgumentGroup) -> None:
    script.add_argument("--say", metavar="FILE", action=_Step, type=Path, default=_NO_EFFECT,
                        help="speak when the agent has finished")  # fmt: skip
    script.add_argument("--interrupt", metavar="FILE", action=_Step, type=Path, default=_NO_EFFECT,
                        help="speak over the agent")  # fmt: skip
    script.add_argument("--after", metavar="SECONDS", action=_Step, type=_seconds, default=_NO_EFFECT,
                        help="follows an --interrupt: how far into the agent's speech (default 0.8)")  # fmt: skip
    script.add_argument("--digits", metavar="KEYS", action=_Step, type=_keys, default=_NO_EFFECT,
                        help="press keys when the agent has finished")  # fmt: skip
    for name in ("--wait", "--listen"):
        script.add_argument(name, metavar="SECONDS", action=_Step, type=_seconds, default=_NO_EFFECT,
                            help="listen for this long")  # fmt: skip
    script.add_argument("--hold", action=_Step, nargs=0, default=_NO_EFFECT, help="stay until the other side hangs up")


def _add_promises(promises: argparse._ArgumentGroup) -> None:
    promises.add_argument("--no-greeting", action="store_true", help="the caller speaks first")
    promises.add_argument("--expect-echo", action="store_true", help="each reply is the caller's own words, and not "
                          "another caller's")  # fmt: skip
    promises.add_argument("--reply-within", metavar="SECONDS", type=_seconds, default=10.0,
                          help="how long a reply may take (default 10)")  # fmt: skip
    promises.add_argument("--max-seconds", metavar="SECONDS", type=_seconds, default=120.0,
                          help="how long a call may take (default 120)")  # fmt: skip


def _add_credentials(who: argparse._ArgumentGroup) -> None:
    who.add_argument("--auth-token", metavar="TOKEN", help="the token that signs requests (default: TWILIO_AUTH_TOKEN, "
                     "which other users of this machine can't see)")  # fmt: skip
    who.add_argument("--account-sid", metavar="SID", help="the account (default: TWILIO_ACCOUNT_SID)")
    who.add_argument("--from", metavar="NUMBER", dest="from_number", help="the caller's number")
    who.add_argument("--called", metavar="NUMBER", help="the called number (default: TWILIO_PHONE_NUMBER)")


def _add_outputs(outputs: argparse._ArgumentGroup) -> None:
    outputs.add_argument("--record", metavar="FILE.wav", type=Path, help="record both sides: the caller left, the "
                         "agent right; several calls go to FILE-001.wav and so on")  # fmt: skip
    outputs.add_argument("--timeline", metavar="FILE.json", type=Path, help="write what --json prints to a file")
    outputs.add_argument(
        "--picture", metavar="FILE.png", type=Path, help="draw both sides over time (needs matplotlib)"
    )
    outputs.add_argument("--json", action="store_true", help="print the report as JSON, and nothing else")
    outputs.add_argument("--live", action="store_true", help="print each event as it happens, on standard error")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 4 * 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {4 * 3600}")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000")
    return int(text)


def _keys(text: str) -> str:
    if not text or text.strip("0123456789*#ABCD"):
        raise argparse.ArgumentTypeError(f"{text!r} has characters that are not telephone keys (0-9 * # A-D)")
    return text
