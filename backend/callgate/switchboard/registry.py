"""The calls of this process: who may come in, who is on the line, how each ended, and who is waited for at a stop.

A call is admitted by the webhook and begins with its stream, usually within a second; the place it was admitted to is
kept for it until then, but no longer than its stream token is good. Times are UNIX seconds, passed in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from typing import Protocol

from callgate.core.gate.once import Once
from callgate.core.gate.stream_token import LIFETIME, RepeatToken, StreamToken
from callgate.core.turns.commands import End, Outcome
from callgate.errors import RequestRefused

log = logging.getLogger(__name__)

ENDINGS_KEPT = 2_000  # how many ended calls are remembered for /call-interrupted, which comes within seconds
LET_GO_DEADLINE = 0.5  # seconds for a stream that Twilio has left to end
OVER_KEPT = 20_000  # how many calls of which Twilio said that they are over, and will never be again


class LiveCall(Protocol):
    """A live call, as far as the registry needs it."""

    @property
    def ending(self) -> End | None:
        """How it ended, as soon as that is decided: before its sockets are closed."""

    def shut_down(self) -> None:
        """End it now; it ends as `Outcome.SHUT_DOWN`."""


class Registry:
    """All calls of this process."""

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self._admitted: dict[str, float] = {}  # CallSid -> when its place is given up
        self._live: dict[str, LiveCall] = {}  # CallSid -> the session
        self._used: dict[str, float] = {}  # nonce of a redeemed token -> when it would have expired
        self._endings: OrderedDict[str, End] = OrderedDict()
        self._generations: OrderedDict[str, int] = OrderedDict()  # CallSid -> that of the last stream that began
        self._taken_up: OrderedDict[str, str] = OrderedDict()  # CallSid -> the webhook with which it went on last
        self._came = Once(OVER_KEPT)  # calls that were admitted
        self._over = Once(OVER_KEPT)
        self._ended = asyncio.Event()  # a stream ended; replaced by each
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False

    @property
    def live(self) -> int:
        """How many calls are on the line."""
        return len(self._live)

    def admit(self, call_sid: str, now: float) -> bool:
        """Keep a place for a call, if there is one. Asking again for the same call (Twilio retries) is no second, and
        keeps it no longer."""
        self._admitted = {sid: until for sid, until in self._admitted.items() if until > now}
        is_new = call_sid not in self._admitted and call_sid not in self._live
        if is_new and (self.draining or len(self._admitted) + len(self._live) >= self._max_calls):
            return False
        self._admitted.setdefault(call_sid, now + LIFETIME)
        self._came.is_new(call_sid)
        self._endings.pop(call_sid, None)  # it goes on
        return True

    @property
    def is_half_full(self) -> bool:
        """Whether half of the places are taken."""
        return 2 * (len(self._admitted) + len(self._live)) >= self._max_calls

    def came(self, call_sid: str) -> bool:
        """Whether the call was admitted before, as far as is known."""
        return call_sid in self._came

    def take_up(self, call_sid: str, webhook: str) -> bool:
        """The call goes on with this webhook; False where it did so before, as far as is known."""
        if self._taken_up.get(call_sid) == webhook:
            return False
        self._taken_up[call_sid] = webhook
        self._taken_up.move_to_end(call_sid)
        if len(self._taken_up) > ENDINGS_KEPT:
            self._taken_up.popitem(last=False)
        return True

    async def let_go(self, call_sid: str) -> None:
        """End the call's stream, if it has one: Twilio has left it, and we had not noticed. What it leaves on record is
        there when this returns."""
        call = self._live.get(call_sid)
        if call is None or call.ending is not None:
            return
        call.shut_down()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LET_GO_DEADLINE):
                while self._live.get(call_sid) is call:
                    await self._ended.wait()

    def give_up(self, call_sid: str) -> None:
        """The call does not come: its place is free."""
        self._admitted.pop(call_sid, None)

    def over(self, call_sid: str) -> None:
        """Twilio says that the call is over: it is never admitted again."""
        self.give_up(call_sid)
        self._over.is_new(call_sid)

    def is_over(self, call_sid: str) -> bool:
        """Whether Twilio has said so."""
        return call_sid in self._over

    def redeem(self, token: StreamToken | RepeatToken, now: float) -> None:
        """Take a token, which is good for once. Raises `RequestRefused` when it was taken before."""
        self._used = {nonce: expires for nonce, expires in self._used.items() if expires >= now}
        if token.nonce in self._used:
            raise RequestRefused("the token was used before")
        self._used[token.nonce] = token.expires

    def begin(self, call_sid: str, call: LiveCall, generation: int = 0) -> None:
        """The call's stream began; ``generation``: how many it had before. Raises `RequestRefused` when the call
        already has one that has not ended."""
        before = self._live.get(call_sid)
        if before is not None and before.ending is None:
            raise RequestRefused("the call already has a stream")
        self._admitted.pop(call_sid, None)
        self._live[call_sid] = call
        self._generations[call_sid] = generation
        self._generations.move_to_end(call_sid)
        if len(self._generations) > ENDINGS_KEPT + self._max_calls:
            self._generations.popitem(last=False)
        self._empty.clear()

    def end(self, call_sid: str, call: LiveCall, ending: End) -> None:
        """The call's stream ended, and is all closed; where another has begun since, that one counts."""
        if self._live.get(call_sid) is not call:
            return
        del self._live[call_sid]
        self._endings[call_sid] = ending
        self._endings.move_to_end(call_sid)
        if len(self._endings) > ENDINGS_KEPT:
            self._endings.popitem(last=False)
        self._ended.set()
        self._ended = asyncio.Event()
        if not self._live:
            self._empty.set()

    def ending(self, call_sid: str) -> End | None:
        """How the call's last stream ended; None where it has not, or this process did not see it."""
        if (call := self._live.get(call_sid)) is not None:
            return call.ending
        return self._endings.get(call_sid)

    def outcome(self, call_sid: str) -> Outcome | None:
        """The same, in short."""
        return ending.outcome if (ending := self.ending(call_sid)) is not None else None

    def generation(self, call_sid: str) -> int | None:
        """That of the last stream of the call that began here; None where none did, as far as is known."""
        return self._generations.get(call_sid)

    def is_talking(self, call_sid: str) -> bool:
        """Whether the call has a stream here that has not ended."""
        call = self._live.get(call_sid)
        return call is not None and call.ending is None

    async def drain(self, seconds: float) -> None:
        """Admit nobody more, and return when the last call has ended: by itself, or, after ``seconds``, by us."""
        self.draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            log.warning("%d calls are still on the line after %.0f s: ending them", self.live, seconds)
            for call in list(self._live.values()):
                call.shut_down()
            await self._empty.wait()

    def holds(self, call_sid: str) -> bool:
        """Whether the call is here: on the line, or admitted and awaited."""
        return call_sid in self._live or call_sid in self._admitted
