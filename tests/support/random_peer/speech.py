"""The events of one response, and when its server sends them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import cache
from itertools import pairwise, zip_longest

from callgate.core.protocols.realtime import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    FunctionCall,
    RemoteCallBegan,
    ResponseDone,
    ServerEvent,
)
from callgate.core.wire.media_stream import BYTES_PER_MS

from .truth import MS_PER_WORD, Part, Response

PIECE_MS = 400  # of audio in a delta
FASTER = 8  # times: the audio arrives that much faster than it is spoken

# The seconds since the event before, the event, and the part and bytes of it if it is audio.
Step = tuple[float, ServerEvent, Part | None]

TOOLS = {
    "calls a tool": ("get_weather",),
    "speaks and calls a tool": ("order",),
    "calls two tools": ("get_weather", "order"),
    "calls an unknown tool": ("guess",),
    "takes a message": ("take_message",),
    "hangs up": ("hang_up",),
    "says goodbye": ("hang_up",),
    "puts through": ("transfer_call",),
    "puts through to nobody": ("transfer_call",),
    "sends keys": ("send_digits",),
    "the same call twice": ("get_weather", "get_weather"),
}
SPEAKS_FIRST = frozenset(
    {"speaks and calls a tool", "says goodbye", "puts through", "sends keys", "the same call twice", "breaks off",
     "fails in the middle"}
)  # fmt: skip
SPEAKS = SPEAKS_FIRST | {"speaks", "two items by turns", "a second content", "only a second content"}
ARGUMENTS = {"take_message": '{"text": "Call me."}', "send_digits": '{"digits": "1w2"}'}
ENDS = {
    "empty": ("completed", None, None, ""),
    "incomplete": ("incomplete", "max_output_tokens", None, ""),
    "an unfinished call": ("incomplete", "max_output_tokens", None, ""),
    "failed": ("failed", None, "server_error", "The server had an error."),
    "over its limits": ("failed", None, "rate_limit_exceeded", "Rate limit reached."),
    "cancelled": ("cancelled", None, None, ""),
    "breaks off": ("incomplete", "content_filter", None, ""),
    "fails in the middle": ("failed", None, "server_error", "The server had an error."),
}


def is_good(what: str) -> bool:
    """Whether an answer of this kind is one that the caller can use."""
    return what in SPEAKS - {"breaks off", "fails in the middle"} or what in TOOLS or what == "calls a remote tool"


def steps(response: Response, parts: list[Part], text: str) -> list[Step]:
    """Return what the server sends, from the first sign of life after ``response.created`` to the end. ``text``: as in
    `Habits`."""
    answer = response.answer
    found: list[Step] = []
    if answer.what in SPEAKS:
        found += _speech(response, parts, text)
    for number, name in enumerate(TOOLS.get(answer.what, ())):
        found.append((0.05, _call(response, name, 0 if answer.what == "the same call twice" else number), None))
    if answer.what == "calls a remote tool":
        found.append((0.05, RemoteCallBegan(f"mcp_{response.number}"), None))
    found.append((0.02, ending(response), None))
    first = found[0]
    return [(answer.thinking, *first[1:]), *found[1:]]


def ending(response: Response, status: str = "") -> ResponseDone:
    """Return the end of a response, with this status instead of its own if one is given."""
    answer = response.answer
    if status:
        return ResponseDone(response.id, status, "turn_detected")
    status, reason, code, message = ENDS.get(answer.what, ("completed", None, None, ""))
    if code and answer.wait:
        message += f" Please try again in {answer.wait}s."
    return ResponseDone(
        response.id, status, reason, code, message or None, unfinished_call=answer.what == "an unfinished call"
    )


def end_of_part(response: Response, part: Part, text: str, size: int) -> Iterator[ServerEvent]:
    """Yield what ends a part, as far as the server has got with it: its audio, and its text."""
    item, index = place(part)
    yield AudioDone(response.id, item, index)
    if text != "never":
        size = min(part.planned, size + (PIECE_MS * BYTES_PER_MS if text == "ahead" else 0))
        yield AgentTranscript(item, part.text(0, size // (MS_PER_WORD * BYTES_PER_MS)), True, index, response.id)


def place(part: Part) -> tuple[str, int]:
    """Return the item of a part, and its index there."""
    item, _, index = part.name.partition("/")
    return item, int(index or 0)


def part_names(response: Response) -> list[str]:
    """Return the names of the parts that a response speaks in."""
    item = f"item_{response.number}"
    match response.answer.what:
        case "two items by turns":
            return [f"{item}a", f"{item}b"]
        case "a second content":
            return [item, f"{item}/1"]
        case "only a second content":
            return [f"{item}/1"]
    return [item]


def _speech(response: Response, parts: list[Part], text: str) -> list[Step]:
    seconds = response.answer.seconds / len(parts)
    spoken = [_part(response, part, text, seconds) for part in parts]
    if response.answer.what == "two items by turns":
        return [step for together in zip_longest(*spoken) for step in together if step is not None]
    return [step for each in spoken for step in each]


def _part(response: Response, part: Part, text: str, seconds: float) -> list[Step]:
    item, index = place(part)
    lengths = _lengths(round(seconds * 1000) // MS_PER_WORD * MS_PER_WORD or MS_PER_WORD)
    part.planned = sum(lengths) * BYTES_PER_MS
    ends = [sum(lengths[: at + 1]) // MS_PER_WORD for at in range(len(lengths))]
    texts = [part.text(*between) for between in pairwise([0, *ends])]
    pieces: list[Step] = [(0.0, AgentTranscript(item, each, False, index, response.id), None) for each in texts]
    found: list[Step] = []
    for at, length in enumerate(lengths):
        if text == "with it":
            found.append(pieces[at])
        elif text == "ahead":
            found += pieces[:2] if not at else pieces[at + 1 : at + 2]
        found.append((length / 1000 / FASTER, AudioDelta(response.id, item, audio(length), index), part))
        if text == "behind":
            found.append(pieces[at])
    return [*found, *((0.0, event, None) for event in end_of_part(response, part, text, part.planned))]


def _lengths(milliseconds: int) -> list[int]:
    whole, rest = divmod(milliseconds, PIECE_MS)
    return [PIECE_MS] * whole + ([rest] if rest else [])


def _call(response: Response, name: str, number: int) -> FunctionCall:
    arguments = ARGUMENTS.get(name, "{}")
    if name == "transfer_call":
        arguments = '{"to": "nobody"}' if response.answer.what == "puts through to nobody" else '{"to": "Front desk"}'
    return FunctionCall(f"call_{response.number}_{number}", name, arguments, response.id)


@cache
def audio(milliseconds: int) -> str:
    """Return speech of that length, base64 µ-law."""
    return base64.b64encode(b"\x7f" * (milliseconds * BYTES_PER_MS)).decode()
