"""``callgate call``: has the running service place a call, shows how it goes, and ends it on Ctrl-C.

The service places it, not this process: so the guards, the counts and the model's session are where they belong.
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

import aiohttp

from callgate.config.settings import Config
from callgate.errors import CallgateError, ConfigError

from .ready import backend_url

SECONDS = 1.0
REQUEST_DEADLINE: Final = 30 * SECONDS
WAIT: Final = 6 * SECONDS  # for news, in one request
NEWS_DEADLINE: Final = 60 * SECONDS  # without any answer of the service's
END_DEADLINE: Final = 15 * SECONDS  # after Ctrl-C
PAUSE: Final = 1 * SECONDS  # before the service is asked again that was not heard

URL: Final = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?", re.IGNORECASE)
NEAR: Final = (".localhost", ".local", ".internal", ".home.arpa")  # RFC 6761, 6762, 8375, and ICANN's .internal
IN_ITS_PLACE: Final = (502, 503, 504)  # statuses of those that stand before a service

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
    "unknown": "it can't be told whether a human answered",
    "message": "the message is left",
    "hung up": "it is hung up on",
    "ended": "ended",
}


class NotDone(CallgateError):
    """The service did not do what was asked, in one sentence."""


class NotHeard(NotDone):
    """The service was asked, and was not heard: it may have done what was asked. Another try may succeed."""


def add_parser(commands: Any) -> None:
    """Add ``call`` to the subparsers of the ``callgate`` command."""
    parser = commands.add_parser("call", help="call a number, and follow the call to its end (Ctrl-C ends it)")
    parser.add_argument("to", metavar="NUMBER", help="whom to call, as +15551230000; docs/outbound.md says who may be")
    parser.add_argument("--from", dest="from_number", metavar="NUMBER", help="from another number of the account")
    parser.add_argument("--voicemail", metavar="TEXT|hang-up|talk", help="what a machine that answers gets")
    parser.add_argument("--limit", metavar="SECONDS", type=int, help="how long the call may last")
    parser.add_argument("--key", metavar="KEY", help="an idempotency key: with the same one, it is the same call")
    parser.add_argument("--url", help="the service, where it is not the one on this machine")
    parser.add_argument("--json", action="store_true", help="print JSON at the end, and nothing else")
    parser.add_argument("--env-file", default=".env", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Place the call, and follow it. Returns the exit code."""
    config = Config.load(env_file=args.env_file)
    url = service_url(args.url) if args.url is not None else backend_url(config)
    try:
        return asyncio.run(_call(args, config, url))
    except NotDone as exc:
        print(f"callgate: {exc}", file=sys.stderr)
        return NOT_DONE


def service_url(url: str) -> str:
    """Where the service is, as ``--url`` says it. Raises `ConfigError`, also where the admin token would travel
    through a public network for all to read."""
    found = URL.fullmatch(url)
    if found is None or int(found[3] or 0) > 65535:
        raise ConfigError(["--url is not usable: write it as https://voice.example.com, without a path"])
    if found[1].lower() == "http" and not _is_near(found[2].lower()):
        raise ConfigError(["--url is http:// to a public host, where ADMIN_TOKEN can be read on the way: use https://"])
    return url.removesuffix("/")


def _is_near(host: str) -> bool:
    """Whether a host is of this machine's own network, as far as its name tells."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_private
    except ValueError:
        return host.endswith(NEAR) or ("." not in host and host[0].isalpha())


async def _call(args: argparse.Namespace, config: Config, url: str) -> int:
    wanted = {"to": args.to, "from": args.from_number, "voicemail": args.voicemail, "limit": args.limit}
    async with _service(url, config.admin_token) as service, _interrupts() as interrupted:
        key = args.key or secrets.token_hex(16)
        request = {name: value for name, value in wanted.items() if value is not None}
        try:
            placed = await service.ask("POST", "/calls", json=request, headers={"Idempotency-Key": key})
        except NotHeard as exc:
            raise NotDone(f"the call may have been placed (the same again with --key {key} follows it): {exc}") from exc
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


class Service:
    """The service's addresses for calls."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The answer. Raises `NotDone` with what the service says, or why it says nothing, and `NotHeard`."""
        try:
            async with self._http.request(method, path, allow_redirects=False, **options) as response:
                status, body = response.status, await response.read()
        except aiohttp.ClientConnectorError as exc:
            raise self._silent(NotDone, exc) from exc
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise self._silent(NotHeard, exc) from exc
        try:
            answer = json.loads(body)
            if not isinstance(answer, dict):
                raise ValueError("no object")
        except ValueError as exc:
            if status in IN_ITS_PLACE:
                raise NotHeard(f"what stands before the service answers in its place, with status {status}") from exc
            raise NotDone("something else than the service answers at its address: check --url") from exc
        if status >= 400:
            refusal = NotHeard if status == 504 else NotDone
            raise refusal(f"{answer.get('error')} {answer.get('fix')}")
        return answer

    @staticmethod
    def _silent(kind: type[NotDone], exc: Exception) -> NotDone:
        return kind(f"the service does not answer ({type(exc).__name__}): is it running?")


@contextlib.asynccontextmanager
async def _service(url: str, admin_token: str | None) -> AsyncIterator[Service]:
    if admin_token is None:
        raise NotDone("ADMIN_TOKEN is not set: set it in .env to a long random text, and restart the service")
    timeout = aiohttp.ClientTimeout(total=REQUEST_DEADLINE)
    headers = {"Authorization": f"Bearer {admin_token}"}
    async with aiohttp.ClientSession(url, timeout=timeout, headers=headers) as http:
        yield Service(http)


@contextlib.asynccontextmanager
async def _interrupts() -> AsyncIterator[asyncio.Event]:
    """What is set when Ctrl-C is pressed. Pressed again, it ends the command as usual."""
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
    """A call that was placed, followed to its end. ``quiet``: nothing is printed on the way."""

    def __init__(self, service: Service, call_sid: str, *, quiet: bool) -> None:
        self._service, self._path, self._quiet = service, f"/calls/{call_sid}", quiet
        self.news: dict[str, Any] = {"call_sid": call_sid}
        self.events: list[dict[str, Any]] = []

    async def follow(self, interrupted: asyncio.Event) -> None:
        """Follow it; when ``interrupted``, end it. Raises `NotDone` where that can't be done, or is not heard of."""
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
                raise NotDone("the service was told to end the call, and has not told that it ended")
            following.result()
        finally:
            for task in (following, pressed):
                task.cancel()
            await asyncio.gather(following, pressed, return_exceptions=True)

    async def _end(self) -> None:
        until = asyncio.get_running_loop().time() + END_DEADLINE
        while True:
            try:
                await self._service.ask("DELETE", self._path)
            except NotDone as exc:
                if not isinstance(exc, NotHeard) or asyncio.get_running_loop().time() > until:
                    raise NotDone(f"the call may go on: {exc}") from exc
                await asyncio.sleep(PAUSE)
            else:
                return

    async def _follow(self) -> None:
        heard = asyncio.get_running_loop().time()
        while not self.news.get("over"):
            try:
                after = f"?after={len(self.events)}&wait={WAIT:.0f}"
                self.news = await self._service.ask("GET", self._path + after)
            except NotDone as exc:
                if asyncio.get_running_loop().time() - heard > NEWS_DEADLINE:
                    raise NotDone(f"the call may go on, and is followed no further: {exc}") from exc
                await asyncio.sleep(PAUSE)  # the service may be restarting
                continue
            heard = asyncio.get_running_loop().time()
            for event in self.news["events"]:
                self.events.append(event)
                if not self._quiet:
                    print(event_line(event), flush=True)

    def as_dict(self) -> dict[str, Any]:
        """All that is known, for JSON."""
        return {**self.news, "events": self.events}

    def receipt_lines(self) -> list[str]:
        """The receipt, for people."""
        receipt: Mapping[str, Any] = self.news.get("receipt") or {}
        shown = {name: value for name, value in receipt.items() if not isinstance(value, Mapping)}
        width = max(map(len, shown), default=0)
        return ["Receipt", *(f"  {name:<{width}}  {value}" for name, value in shown.items())] if shown else []


def event_line(event: Mapping[str, Any]) -> str:
    """``  3.1 s  ringing``"""
    what = WORDS.get(event["name"], event["name"])
    more = f" ({event['text']})" if event["text"] else ""
    return f"{event['at']:7.1f} s  {what}{more}"
