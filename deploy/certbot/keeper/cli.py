"""The command line. It exits with 0 on success, 1 on failure, 2 if the options or settings can't work."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from keeper.adopt import adopt
from keeper.errors import KeeperError, PreflightError, UsageError
from keeper.health import health, patience
from keeper.issue import Request, issue, rollback
from keeper.keeper import Keeper
from keeper.loop import Service
from keeper.settings import Settings

GOOD: Final = 0
FAILED: Final = 1
UNUSABLE: Final = 2

HEALTH_INTERVAL: Final = 0.5


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run one verb and return the exit status."""
    options = _parser().parse_args(argv)
    set_up_logging(with_time=options.verb == "run")
    # nginx and the backend run as other users. Secret files get stricter modes.
    os.umask(0o022)
    try:
        keeper = Keeper(Settings.parse(os.environ if environ is None else environ))
        verb: Callable[[Keeper, argparse.Namespace], int] = options.run
        return verb(keeper, options)
    except (UsageError, PreflightError) as error:
        return _say(UNUSABLE, str(error))
    except KeeperError as error:
        return _say(FAILED, str(error))
    except OSError as error:
        return _say(FAILED, f"{error}: make room there, or give it to the user that the keeper runs as")


def _say(status: int, what: str) -> int:
    print(f"keeper: {what}", file=sys.stderr)
    return status


def set_up_logging(*, with_time: bool) -> None:
    """Log to standard output, as a container's logs are read; ``with_time``: each line begins with the time."""
    form = "%(asctime)s %(levelname)s keeper: %(message)s" if with_time else "%(message)s"
    logging.basicConfig(level=logging.INFO, format=form, stream=sys.stdout, force=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="keeper", description="keeps the certificate that nginx serves")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = verbs.add_parser("run", help="the service: gets the certificate and renews it, for as long as it runs")
    run.set_defaults(run=_run)
    step = verbs.add_parser("issue", help="get the certificate now; a good one is kept")
    step.set_defaults(run=_issue)
    step.add_argument(
        "--domain", action="append", default=[], dest="domains", help="a host name, once for each (DOMAIN)"
    )
    step.add_argument("--email", help="the account's e-mail address (ACME_EMAIL)")
    step.add_argument("--staging", action="store_true", help="a certificate nobody trusts, from the staging server")
    step.add_argument("--dry-run", action="store_true", help="a rehearsal: nothing served or kept is changed")
    step.add_argument("--ip", action="store_true", help="the certificate is for an IPv4 address")
    step.add_argument("--profile", help="the authority's profile: classic, tlsserver, shortlived (ACME_PROFILE)")
    step.add_argument("--force", action="store_true", help="issue even if it is not due")
    verbs.add_parser("rollback", help="go back to the pair published before").set_defaults(run=_rollback)
    about = "take over the certificate and the accounts from a tar archive of /etc/letsencrypt on standard input"
    verbs.add_parser("adopt", help=about).set_defaults(run=_adopt)
    check = verbs.add_parser("health", help="is the service alive, and its certificate good?")
    check.set_defaults(run=_health)
    check.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="while the service is at work on it, wait (0)"
    )
    return parser


def _run(keeper: Keeper, options: argparse.Namespace) -> int:
    _until_done(Service(keeper).run())
    return GOOD


def _issue(keeper: Keeper, options: argparse.Namespace) -> int:
    request = Request.of(
        keeper.settings,
        domains=options.domains,
        email=options.email,
        profile=options.profile,
        ip=options.ip,
        staging=options.staging,
        dry_run=options.dry_run,
        force=options.force,
    )
    if _until_done(issue(keeper, request)):
        return GOOD
    return _say(FAILED, "ended by a signal; nginx goes on serving what it served before")


def _adopt(keeper: Keeper, options: argparse.Namespace) -> int:
    return GOOD if _until_done(adopt(keeper, sys.stdin.buffer)) else _say(FAILED, "ended by a signal")


def _rollback(keeper: Keeper, options: argparse.Namespace) -> int:
    return GOOD if _until_done(rollback(keeper)) else _say(FAILED, "ended by a signal")


def _health(keeper: Keeper, options: argparse.Namespace) -> int:
    began = time.monotonic()
    while True:
        longest = min(options.wait, patience(keeper))  # asked first, so that the last line is no older than the end
        is_good, says = health(keeper)
        if is_good or time.monotonic() - began >= longest:
            break
        time.sleep(HEALTH_INTERVAL)
    print(says)
    return GOOD if is_good else FAILED


def _until_done(work: Awaitable[None]) -> bool:
    """Run ``work``, which SIGTERM and SIGINT cancel at once. Return whether it was completed."""
    return asyncio.run(_with_signals(work))


async def _with_signals(work: Awaitable[None]) -> bool:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return False
    return True
