"""The responses of which the caller must not hear any more. Pure."""

from __future__ import annotations

from typing import Final

MOST: Final = 64  # responses that are remembered


class Muted:
    """The latest of them."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, response_id: object) -> bool:
        return response_id in self._ids

    def add(self, response_id: str) -> None:
        """Nothing more of this response is to be heard."""
        self._ids[response_id] = None
        if len(self._ids) > MOST:
            del self._ids[next(iter(self._ids))]

    def clear(self) -> None:
        """Another session serves the call: its responses have other names."""
        self._ids.clear()
