"""Records of what was seen before, so that it counts only once. Pure."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable

from callgate.errors import RequestRefused


class Once:
    """The last ``most`` things that were seen."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._met: OrderedDict[str, None] = OrderedDict()

    def is_new(self, thing: str) -> bool:
        """Whether this has not been seen before, or was forgotten since; it counts as seen from now on."""
        if thing in self._met:
            self._met.move_to_end(thing)
            return False
        self._met[thing] = None
        if len(self._met) > self._most:
            self._met.popitem(last=False)
        return True

    def __contains__(self, thing: str) -> bool:
        return thing in self._met


class Signatures:
    """The last ``most`` signatures, each with the request that it was for.

    Twilio signs a URL and its parameters as one text without separators, so another request, with other names and
    values, can be cut from the same text and carry the same signature. A signature is valid only for the request that
    it first came with.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._met: OrderedDict[str, bytes] = OrderedDict()

    def is_new(self, signature: str, target: str, params: Iterable[tuple[str, str]]) -> bool:
        """Whether this request has not been seen before, or was forgotten since. Raises `RequestRefused` if the
        signature came with another request."""
        what = hashlib.sha256(repr((target, sorted(params))).encode(errors="surrogatepass")).digest()
        known = self._met.setdefault(signature, what)
        self._met.move_to_end(signature)
        if known != what:
            raise RequestRefused("its signature was used for another request before")
        is_new = known is what
        if len(self._met) > self._most:
            self._met.popitem(last=False)
        return is_new
