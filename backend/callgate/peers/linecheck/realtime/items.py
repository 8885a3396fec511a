"""The conversation's items: what was said on both sides, in order. Pure.

Only the length of audio is kept, not the audio itself, so that the conversation of a long call stays small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from callgate.core.wire.media_stream import BYTES_PER_MS

from .schema import EventRefused, base64_audio, by, fields, list_of, nullable, one_of, string

MAX_ITEMS = 2_000  # about two hours of quick talk; beyond that, the oldest is discarded

_STATUS = one_of("completed", "incomplete", "in_progress")
_OBJECT = one_of("realtime.item")


def _message(**content: Any) -> Any:
    parts = list_of(by("type", content))
    return fields({"content": parts}, type=string, role=string, id=string, object=_OBJECT, status=_STATUS)


_ITEM = by(
    "type",
    {
        "message": by(
            "role",
            {
                "system": _message(input_text=fields({"text": string}, type=string)),
                "user": _message(
                    input_text=fields({"text": string}, type=string),
                    input_audio=fields({"audio": base64_audio}, type=string, transcript=nullable(string)),
                    input_image=fields({"image_url": string}, type=string, detail=one_of("auto", "low", "high")),
                ),
                "assistant": _message(output_text=fields({"text": string}, type=string)),
            },
        ),
        "function_call": fields(
            {"name": string, "arguments": string},
            type=string,
            call_id=string,
            id=string,
            object=_OBJECT,
            status=_STATUS,
        ),
        "function_call_output": fields(
            {"call_id": string, "output": string}, type=string, id=string, object=_OBJECT, status=_STATUS
        ),
    },
)

ITEM_CREATE = fields({"item": _ITEM}, type=string, event_id=string, previous_item_id=nullable(string))


@dataclass(slots=True)
class Item:
    """One item. ``audio_bytes``: how much of the model's audio the item has; `None` for an item without audio.
    ``audio_index``: which of its content parts that audio is."""

    resource: dict[str, Any]
    audio_bytes: int | None = None
    audio_index: int = 0

    @property
    def item_id(self) -> str:
        """The item's ``id``."""
        return str(self.resource["id"])


class Items:
    """The items of the default conversation."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    @property
    def last_id(self) -> str | None:
        """The id of the last item; `None` if there is none yet."""
        return self._items[-1].item_id if self._items else None

    def add(self, item: Item) -> str | None:
        """Append an item that the server made, and return the id of the one before it."""
        previous = self.last_id
        self._insert(len(self._items), item)
        return previous

    def create(self, resource: dict[str, Any], new_id: str, previous_item_id: str | None) -> tuple[Item, str | None]:
        """Add an item from the client (checked by `ITEM_CREATE`). Returns it, and the id of the one before it.

        Raises `EventRefused`.
        """
        item_id = resource.get("id", new_id)
        if self._find(item_id) is not None:
            message = f"Error adding item: an item with id '{item_id}' already exists."
            raise EventRefused("item_create_duplicate_item_id", message, param="item.id")
        self._check_call_id(resource)
        index = self._index_after(previous_item_id)
        # The real service echoes an item without its audio.
        content = [
            {name: value for name, value in part.items() if name != "audio"} for part in resource.get("content", ())
        ]
        echoed = {**resource, "id": item_id, "object": "realtime.item", "status": "completed"}
        if "content" in resource:
            echoed["content"] = content
        item = Item(echoed)
        before = self._items[index - 1].item_id if index else None
        self._insert(index, item)
        return item, before

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Keep only the audio that was heard. Raises `EventRefused` as the real service does.

        Sources of its messages: https://github.com/livekit/agents/issues/6157 (no audio yet),
        https://github.com/twilio-samples/speech-assistant-openai-realtime-api-python/issues/45 (longer than the audio).
        """
        item = self._find(item_id)
        if item is None:
            message = f"Error truncating item: the item with id '{item_id}' does not exist."
            raise EventRefused("item_truncate_invalid_item_id", message, param="item_id")
        if not item.audio_bytes:
            message = "Only model output audio messages can be truncated"
            raise EventRefused("unsupported_content_type", message)
        if content_index != item.audio_index:
            message = f"Invalid 'content_index': item '{item_id}' has no audio in a content part {content_index}."
            raise EventRefused("invalid_value", message, param="content_index")
        audio_ms = item.audio_bytes // BYTES_PER_MS
        if audio_end_ms > audio_ms:
            message = f"Audio content of {audio_ms}ms is already shorter than {audio_end_ms}ms"
            raise EventRefused("invalid_value", message, param="audio_end_ms")
        item.audio_bytes = audio_end_ms * BYTES_PER_MS

    def delete(self, item_id: str) -> None:
        """Remove an item. Raises `EventRefused`."""
        item = self._find(item_id)
        if item is None:
            message = f"Error deleting item: the item with id '{item_id}' does not exist."
            raise EventRefused("item_delete_invalid_item_id", message, param="item_id")
        self._items.remove(item)

    def get(self, item_id: str) -> Item:
        """Return the item with this id. Raises `EventRefused`."""
        item = self._find(item_id)
        if item is None:
            message = f"Error retrieving item: the item with id '{item_id}' does not exist."
            raise EventRefused("item_retrieve_invalid_item_id", message, param="item_id")
        return item

    def _find(self, item_id: str) -> Item | None:
        return next((item for item in reversed(self._items) if item.item_id == item_id), None)

    def _insert(self, index: int, item: Item) -> None:
        self._items.insert(index, item)
        if len(self._items) > MAX_ITEMS:
            del self._items[0]

    def _index_after(self, previous_item_id: str | None) -> int:
        if previous_item_id is None:
            return len(self._items)
        if previous_item_id == "root":
            return 0
        for index, item in enumerate(self._items):
            if item.item_id == previous_item_id:
                return index + 1
        message = f"Error adding item: the previous item with id '{previous_item_id}' does not exist."
        raise EventRefused("item_create_invalid_previous_item_id", message, param="previous_item_id")

    def _check_call_id(self, resource: dict[str, Any]) -> None:
        if resource["type"] != "function_call_output":
            return
        call_id = resource["call_id"]
        if not any(
            item.resource["type"] == "function_call" and item.resource.get("call_id") == call_id for item in self._items
        ):
            message = f"Tool call ID '{call_id}' not found in conversation."
            raise EventRefused("invalid_tool_call_id", message, param="item.call_id")
