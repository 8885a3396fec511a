"""``callgate call``: has the running service place a call, shows its progress, and ends it on Ctrl-C.

The service places the call, not this process, because the service has the limits, the counts and the model sessions.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from callgate.config.settings import Config
from callgate.core.units import SECONDS
from callgate.errors import ConfigError

from .ready import backend_url
from .service import PAUSE, Service, ServiceError, ServiceUnheardError

END_DEADLINE: Final = 15 * SECONDS  # after Ctrl-C

URL: Final = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?", re.IGNORECASE)
NEAR: Final = (".localhost", ".local", ".internal", ".home.arpa")  # RFC 6761, 6762, 8375, and ICANN's .internal

DONE, NOT_DONE, INTERRUPTED = 0, 1, 130
WORDS: Final = {
    "queued": "queued",
    "initiated": "being dialled",
    "ringing": "ringing",
    "answered": "answered",
    "talking": "the agent talks",
    "human": "a human answered",
    "machine": "a machine answered",
    "fax": "a fax answered",
    "unknown": "a human or a machine answered",
    "message": "the message was left",
    "hung up": "hung up on it",
    "ended": "ended",
}


def add_parser(commands: Any) -> None:
    """Add ``call`` to the subparsers of the ``callgate`` command."""
    parser = commands.add_parser("call", help="call a number, and follow the call to its end (Ctrl-C ends it)")
    parser.add_argument(
        "to", metavar="NUMBER", help="the number to call, as +15551230000 (docs/outbound.md: which ones)"
    )
    parser.add_argument("--from", dest="from_number", metavar="NUMBER", help="call from another number of the account")
    parser.add_argument("--voicemail", metavar="TEXT|hang-up|talk", help="what to do if a machine answers")
    parser.add_argument("--limit", metavar="SECONDS", type=int, help="how long the call may last")
    parser.add_argument("--key", metavar="KEY", help="an idempotency key: the same key always means the same call")
    parser.add_argument("--url", help="the service's address, if it is not on this machine")
    parser.add_argument("--json", action="store_true", help="print JSON at the end, and nothing else")
    parser.add_argument("--env-file", default=".env", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Place the call, and follow it. Returns the exit code."""
    config = Config.load(env_file=args.env_file)
    url = service_url(args.url) if args.url is not None else backend_url(config)
    try:
        return asyncio.run(_call(args, config, url))
    except ServiceError as exc:
        print(f"callgate: {exc}", file=sys.stderr)
        return NOT_DONE


def service_url(url: str) -> str:
    """Return the service's address given with ``--url``. Raises `ConfigError` if it is not usable, or would send the
    admin token unencrypted through a public network."""
    found = URL.fullmatch(url)
    if found is None or int(found[3] or 0) > 65535:
        raise ConfigError(["--url is not usable: write it as https://voice.example.com, without a path"])
    if found[1].lower() == "http" and not _is_near(found[2].lower()):
        raise ConfigError(["--url is http:// to a public host, so ADMIN_TOKEN can be read on the way: use https://"])
    return url.removesuffix("/")


def _is_near(host: str) -> bool:
    """Whether a host is in a private network, judging by its name or address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_private
    except ValueError:
        return host.endswith(NEAR) or ("." not in host and host[0].isalpha())


async def _call(args: argparse.Namespace, config: Config, url: str) -> int:
    if config.admin_token is None:
        raise ServiceError("ADMIN_TOKEN is not set.", "Set it in .env to a long random text, and restart the service.")
    service = Service(url, config.admin_token)
    wanted = {"to": args.to, "from": args.from_number, "voicemail": args.voicemail, "limit": args.limit}
    async with _interrupts() as interrupted:
        key = args.key or secrets.token_hex(16)
        request = {name: value for name, value in wanted.items() if value is not None}
        try:
            placed = await service.ask("POST", "/calls", document=request, headers={"Idempotency-Key": key})
        except ServiceUnheardError as exc:
            error = f"The call may have been placed. The same command with --key {key} follows it. {exc.error}"
            raise ServiceError(error, exc.fix) from exc
        if not args.json:
            print(f"Calling {placed['to']}: {placed['call_sid']}", flush=True)
        follower = Follower(service, placed["call_sid"], quiet=args.json)
        await follower.follow(interrupted)
    if args.json:
        print(json.dumps(follower.as_dict(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(follower.receipt_lines()))
    if interrupted.is_set():
        return INTERRUPTED
    return DONE if follower.news.get("status") == "completed" else NOT_DONE


@contextlib.asynccontextmanager
async def _interrupts() -> AsyncIterator[asyncio.Event]:
    """An event that is set when Ctrl-C is pressed. A second Ctrl-C ends the command as usual."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()

    def interrupt() -> None:
        interrupted.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        loop.remove_signal_handler(signal.SIGINT)


class Follower:
    """Follows a call to its end. ``quiet``: print nothing meanwhile."""

    def __init__(self, service: Service, call_sid: str, *, quiet: bool) -> None:
        self._service, self._call_sid, self._quiet = service, call_sid, quiet
        self.news: dict[str, Any] = {"call_sid": call_sid}
        self.events: list[dict[str, Any]] = []

    async def follow(self, interrupted: asyncio.Event) -> None:
        """Follow the call, and end it if ``interrupted``. Raises `ServiceError` if either fails."""
        following = asyncio.create_task(self._follow())
        pressed = asyncio.create_task(interrupted.wait())
        try:
            await asyncio.wait({following, pressed}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                if not self._quiet:
                    print("\nEnding the call.", flush=True)
                await self._end()
                await asyncio.wait({following}, timeout=END_DEADLINE)
            if not following.done():
                raise ServiceError(
                    "The service was told to end the call, but has not confirmed that it ended.",
                    "The call may still be going on.",
                )
            following.result()
        finally:
            for task in (following, pressed):
                task.cancel()
            await asyncio.gather(following, pressed, return_exceptions=True)

    async def _end(self) -> None:
        until = asyncio.get_running_loop().time() + END_DEADLINE
        while True:
            try:
                await self._service.ask("DELETE", f"/calls/{self._call_sid}")
            except ServiceError as exc:
                if not isinstance(exc, ServiceUnheardError) or asyncio.get_running_loop().time() > until:
                    raise ServiceError(f"The call may still be going on: {exc.error}", exc.fix) from exc
                await asyncio.sleep(PAUSE)
            else:
                return

    async def _follow(self) -> None:
        async for news in self._service.news(self._call_sid):
            self.news = news
            for event in news["events"]:
                self.events.append(event)
                if not self._quiet:
                    print(event_line(event), flush=True)

    def as_dict(self) -> dict[str, Any]:
        """Return all that is known about the call, for JSON."""
        return {**self.news, "events": self.events}

    def receipt_lines(self) -> list[str]:
        """Return the receipt, for people."""
        receipt: Mapping[str, Any] = self.news.get("receipt") or {}
        shown = {name: value for name, value in receipt.items() if not isinstance(value, Mapping)}
        width = max(map(len, shown), default=0)
        return ["Receipt", *(f"  {name:<{width}}  {value}" for name, value in shown.items())] if shown else []


def event_line(event: Mapping[str, Any]) -> str:
    """Return a line such as ``  3.1 s  ringing``."""
    what = WORDS.get(event["name"], event["name"])
    more = f" ({event['text']})" if event["text"] else ""
    return f"{event['at']:7.1f} s  {what}{more}"
