"""What happened already, so that it counts once. Pure."""

from __future__ import annotations

from collections import OrderedDict


class Once:
    """The last ``most`` things that were met."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._met: OrderedDict[str, None] = OrderedDict()

    def is_new(self, thing: str) -> bool:
        """Whether this is met for the first time, as far as is known; from now on it is known."""
        if thing in self._met:
            self._met.move_to_end(thing)
            return False
        self._met[thing] = None
        if len(self._met) > self._most:
            self._met.popitem(last=False)
        return True

    def __contains__(self, thing: str) -> bool:
        return thing in self._met
