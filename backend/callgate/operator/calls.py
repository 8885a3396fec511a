"""``callgate calls``: lists, shows or deletes the records of calls."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import re
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from callgate.config.settings import Config
from callgate.core.masking import mask_number
from callgate.core.withheld import WITHHELD, is_withheld
from callgate.errors import StoreError
from callgate.store import Archive, CallRecord, StoredCall, StoredMessage, StoredTurn

DONE, NOT_DONE = 0, 1

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
COLUMNS: Final = ("STARTED (UTC)", "LENGTH", "CALL", "FROM", "TO", "ENDED", "MESSAGES")
SPEAKERS: Final = {"caller": "Caller", "agent": "Agent", "note": "--"}


def add_parser(commands: Any) -> None:
    """Add ``calls`` and its verbs to the subparsers of the ``callgate`` command."""
    parser = commands.add_parser("calls", help="list, show or delete the records of calls")
    verbs = parser.add_subparsers(dest="verb", required=True)

    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--env-file", default=".env", help=argparse.SUPPRESS)
    shared.add_argument("--json", action="store_true", help="print JSON, and nothing else")

    listing = verbs.add_parser("list", parents=[shared], help="list the newest calls, one per line")
    listing.add_argument("--limit", metavar="COUNT", type=_count, default=20, help="how many (default 20)")
    listing.add_argument("--since", metavar="WHEN", type=_since, help="only calls that started since then: 2026-11-23, "
                         "2026-11-23T10:00 (UTC), or 30m, 2h, 7d ago")  # fmt: skip
    listing.set_defaults(run=_command(_list))

    showing = verbs.add_parser(
        "show", parents=[shared], help="show a call: what was said, how it ended, and its receipt"
    )
    showing.add_argument("call_sid", metavar="SID")
    showing.set_defaults(run=_command(_show))

    for verb in (listing, showing):
        verb.add_argument("--numbers", action="store_true", help="show phone numbers in full")

    deleting = verbs.add_parser(
        "delete", parents=[shared], help="permanently delete calls and all that was said in them"
    )
    deleting.add_argument("call_sids", metavar="SID", nargs="+")
    deleting.set_defaults(run=_command(_delete))


Verb = Callable[[Archive, argparse.Namespace], Coroutine[Any, Any, int]]


def _command(verb: Verb) -> Callable[[argparse.Namespace], int]:
    async def with_archive(args: argparse.Namespace) -> int:
        async with Archive.of(Config.load(env_file=args.env_file)) as archive:
            return await verb(archive, args)

    def run(args: argparse.Namespace) -> int:
        try:
            return asyncio.run(with_archive(args))
        except StoreError as exc:
            return _complain(str(exc))

    return run


# The verbs. Each returns the exit code.


async def _list(archive: Archive, args: argparse.Namespace) -> int:
    calls = await archive.calls(args.limit, args.since)
    left = await archive.messages_left([call.call_sid for call in calls])
    if args.json:
        _print_json([{**_call_values(call, args.numbers), "messages": left.get(call.call_sid, 0)} for call in calls])
    elif calls:
        _print_table([COLUMNS, *((*_row(call, args.numbers), str(left.get(call.call_sid, "-"))) for call in calls)])
    else:
        print("No calls.")
    return DONE


async def _show(archive: Archive, args: argparse.Namespace) -> int:
    found = await archive.call(args.call_sid)
    if found is None:
        return _complain(_no_such_call(args.call_sid))
    if args.json:
        turns = [dataclasses.asdict(turn) for turn in found.turns]
        messages = [_message_values(message, args.numbers) for message in found.messages]
        _print_json({**_call_values(found.call, args.numbers), "turns": turns, "messages": messages})
    else:
        print("\n".join(transcript_lines(found, args.numbers)))
    return DONE


async def _delete(archive: Archive, args: argparse.Namespace) -> int:
    code, deleted = DONE, []
    for call_sid in args.call_sids:
        turns = await archive.delete(call_sid)
        if turns is None:
            code = _complain(_no_such_call(call_sid))
            continue
        deleted.append({"call_sid": call_sid, "turns": turns})
        if not args.json:
            print(f"Deleted {call_sid}: the call and {_counted(turns, 'turn')}.")
    if args.json:
        _print_json(deleted)
    return code


# For people.


def _row(call: CallRecord, numbers: bool) -> Sequence[str]:
    return (
        f"{call.started_at:%Y-%m-%d %H:%M:%S}",
        _length(call),
        call.call_sid,
        _caller(call, numbers) or "-",
        _number(call.to_number, numbers) or "-",
        _printable(call.outcome or "in progress"),
    )


def transcript_lines(found: StoredCall, numbers: bool = False) -> Iterable[str]:
    """Return a call for people to read. ``numbers``: show phone numbers in full."""
    call = found.call
    who = f"{_caller(call, numbers) or '?'} to {_number(call.to_number, numbers) or '?'}"
    yield f"{call.call_sid}  {call.direction}  {who}".replace("    ", "  ")
    yield f"started {call.started_at:%Y-%m-%d %H:%M:%S} UTC, {_ending(call)}"
    if call.resumes:
        yield f"interrupted and resumed {_counted(call.resumes, 'time')}"
    yield ""
    for turn in found.turns:
        yield _said(turn, call.started_at)
    for message in found.messages:
        yield from _message_lines(message, numbers)
    if call.receipt:
        yield from ("", "Receipt")
        yield from (f"  {name}  {value}" for name, value in _aligned(_flat(call.receipt)))


def _message_lines(message: StoredMessage, numbers: bool) -> Iterable[str]:
    yield from ("", f"Message, {message.at:%Y-%m-%d %H:%M:%S} UTC")
    yield f"  {_printable(message.text)}"
    if message.name:
        yield f"  from {_printable(message.name)}"
    if message.callback:
        yield f"  call back at {_number(message.callback, numbers)}"


def _ending(call: CallRecord) -> str:
    if call.ended_at is None:
        return "in progress"
    return f"ended after {_length(call)}: {_printable(call.reason or call.outcome or 'reason unknown')}"


def _said(turn: StoredTurn, started_at: datetime) -> str:
    """Return a line such as ``   2.2 s  Agent   Hello! How can I — the caller cut in after 2.2 s``."""
    text = _printable(turn.text) or "…"
    if turn.cut:
        text += " — the caller cut in" + (f" after {turn.heard_ms / 1000:.1f} s" if turn.heard_ms is not None else "")
    return f"{(turn.at - started_at).total_seconds():8.1f} s  {SPEAKERS[turn.role]:<6}  {text}"


def _length(call: CallRecord) -> str:
    if call.ended_at is None:
        return "-"
    minutes, seconds = divmod(round((call.ended_at - call.started_at).total_seconds()), 60)
    return f"{minutes}:{seconds:02d}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Return each value in nested objects with its path, such as ``tokens.audio_in``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _printable(str(value))


def _aligned(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    known = list(pairs)
    width = max((len(name) for name, _ in known), default=0)
    return ((f"{name:<{width}}", value) for name, value in known)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    print("\n".join(line.rstrip() for line in lines))


def _number(number: str, whole: bool) -> str:
    return _printable(number if whole else mask_number(number))


def _caller(call: CallRecord, whole: bool) -> str:
    number = call.from_number
    return WITHHELD if number and is_withheld(number) else _number(number, whole)


def _printable(text: str) -> str:
    """Return the text on one line, without control characters, which a terminal might act on."""
    return re.sub(r" +", " ", "".join(sign if sign.isprintable() else " " for sign in text)).strip()


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


# For programs.


def _call_values(call: CallRecord, numbers: bool) -> dict[str, Any]:
    values = dataclasses.asdict(call)
    del values["next_step"]  # internal, from one webhook to the next
    if not numbers:
        values |= {"from_number": _caller(call, numbers), "to_number": mask_number(call.to_number)}
    return values


def _message_values(message: StoredMessage, numbers: bool) -> dict[str, Any]:
    values = dataclasses.asdict(message)
    return values if numbers else values | {"callback": mask_number(message.callback)}


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=datetime.isoformat))


def _complain(problem: str) -> int:
    print(f"callgate: {problem}", file=sys.stderr)
    return NOT_DONE


def _no_such_call(call_sid: str) -> str:
    return f"there is no call {_printable(call_sid)}: callgate calls list shows those that are kept"


# Arguments.


def _since(text: str) -> datetime:
    if ago := re.fullmatch(r"([0-9]{1,5})([mhd])", text):
        return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time: write 2026-11-23, 2026-11-23T10:00, or how long ago, such as 2h or 7d"
        ) from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 999999")
    return int(text)
