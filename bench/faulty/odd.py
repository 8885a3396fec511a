"""Messages that no documentation describes: JSON of other types, events of other shapes, events that nobody knows.

A server may begin to send such a thing on any day. None of them is a reason to leave a model that goes on speaking.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from support.fake_openai import Event, Message


def _event(type: str, /, **fields: object) -> str:
    return json.dumps({"type": type, "event_id": "event_odd", **fields})


def _done(**fields: object) -> str:
    return _event("response.done", response={"id": "resp_odd", "status": "failed", **fields})


#: Each is sent just before a proper event; a function gets that event.
ODD: Final[dict[str, Message | Callable[[Event], Message]]] = {
    "a number": "7",
    "null": "null",
    "a list": "[]",
    "bytes": b"\x00\x01",
    "no type": "{}",
    "a number as the type": '{"type": 5}',
    "an unknown event": _event("response.hologram.delta", response_id="resp_odd", delta="AAAA"),
    "an event of the beta": _event("response.audio.delta", response_id="resp_odd", item_id="item_odd", delta="AAAA"),
    "an event's type alone": lambda event: json.dumps({"type": event["type"]}),
    "an event with null in each field": lambda event: _event(
        event["type"], **dict.fromkeys(event.keys() - {"type", "event_id"})
    ),
    "error null": _event("error", error=None),
    "error text": _event("error", error="Something went wrong."),
    "an error without a code": _event("error", error={"type": None, "code": None, "message": "Something."}),
    "status_details text": _done(status_details="rate limited"),
    "usage text": _done(status_details=None, usage="none"),
    "a response null": _event("response.done", response=None),
    "an item null": _event("response.output_item.done", response_id="resp_odd", output_index=0, item=None),
    "audio that is not base64": _event("response.output_audio.delta", response_id="resp_odd", item_id="i", delta="%%"),
    "a session null": _event("session.updated", session=None),
}
