"""The calls of this process: which are admitted, which are on the line, how each ended, and which a shutdown awaits.

A call is admitted by its webhook and begins with its stream, usually within a second. Its line is reserved until then,
but no longer than its stream token is valid. Times are UNIX seconds, passed in.
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

ENDINGS_KEPT = 2_000  # ended calls that are remembered for /call-interrupted, which comes within seconds
LET_GO_DEADLINE = 0.5  # seconds for a stream that Twilio has left to end
OVER_KEPT = 20_000  # calls that are remembered as over, and never admitted again


class LiveCall(Protocol):
    """A live call, as far as the registry needs it."""

    @property
    def ending(self) -> End | None:
        """How the call ended, set as soon as it is decided: before its sockets are closed."""

    def shut_down(self) -> None:
        """End the call now, as `Outcome.SHUT_DOWN`."""


class Registry:
    """All calls of this process."""

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self._admitted: dict[str, float] = {}  # CallSid -> when its reservation expires
        self._live: dict[str, LiveCall] = {}  # CallSid -> the session
        self._used: dict[str, float] = {}  # nonce of a redeemed token -> when it would have expired
        self._endings: OrderedDict[str, End] = OrderedDict()
        self._generations: OrderedDict[str, int] = OrderedDict()  # CallSid -> generation of the last stream that began
        self._taken_up: OrderedDict[str, str] = OrderedDict()  # CallSid -> the webhook that last resumed it
        self._came = Once(OVER_KEPT)  # calls that were admitted
        self._over = Once(OVER_KEPT)
        self._ended = asyncio.Event()  # set when a stream ends, and then replaced
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False

    @property
    def live(self) -> int:
        """The number of calls on the line."""
        return len(self._live)

    def admit(self, call_sid: str, now: float) -> bool:
        """Reserve a line for a call. Return whether one was free.

        Asking again for the same call (Twilio retries) takes no second line, and does not extend the reservation.
        """
        self._admitted = {sid: until for sid, until in self._admitted.items() if until > now}
        is_new = call_sid not in self._admitted and call_sid not in self._live
        if is_new and (self.draining or len(self._admitted) + len(self._live) >= self._max_calls):
            return False
        self._admitted.setdefault(call_sid, now + LIFETIME)
        self._came.is_new(call_sid)
        self._endings.pop(call_sid, None)  # the call goes on
        return True

    @property
    def share(self) -> float:
        """Of all lines, how many are taken, from 0 to 1."""
        return (len(self._admitted) + len(self._live)) / self._max_calls

    def came(self, call_sid: str) -> bool:
        """Whether the call is known to have been admitted before."""
        return call_sid in self._came

    def take_up(self, call_sid: str, webhook: str) -> bool:
        """Note that this webhook resumes the call. Return False if the call was last resumed by the same webhook."""
        if self._taken_up.get(call_sid) == webhook:
            return False
        self._taken_up[call_sid] = webhook
        self._taken_up.move_to_end(call_sid)
        if len(self._taken_up) > ENDINGS_KEPT:
            self._taken_up.popitem(last=False)
        return True

    async def let_go(self, call_sid: str) -> None:
        """End the call's stream, if it has one, because Twilio has left it unnoticed. Return when it has ended and its
        record is complete, or at the deadline."""
        call = self._live.get(call_sid)
        if call is None or call.ending is not None:
            return
        call.shut_down()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LET_GO_DEADLINE):
                while self._live.get(call_sid) is call:
                    await self._ended.wait()

    def give_up(self, call_sid: str) -> None:
        """Free the line of a call that does not come."""
        self._admitted.pop(call_sid, None)

    def over(self, call_sid: str) -> None:
        """Note that Twilio says the call is over, so that no webhook admits it again (`is_over`)."""
        self.give_up(call_sid)
        self._over.is_new(call_sid)

    def is_over(self, call_sid: str) -> bool:
        """Whether Twilio has said that the call is over."""
        return call_sid in self._over

    def redeem(self, token: StreamToken | RepeatToken, now: float) -> None:
        """Use up a token, which is valid once. Raises `RequestRefused` if it was used before."""
        self._used = {nonce: expires for nonce, expires in self._used.items() if expires >= now}
        if token.nonce in self._used:
            raise RequestRefused("the token was used before")
        self._used[token.nonce] = token.expires

    def begin(self, call_sid: str, call: LiveCall, generation: int = 0) -> None:
        """Note that the call's stream has begun. ``generation``: how many streams the call had before. Raises
        `RequestRefused` if the call already has a stream that has not ended."""
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
        """Note that the call's stream has ended and both sockets are closed. Ignored if another stream has begun
        since."""
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
        """How the call's last stream ended; None if it has not ended, or this process did not see it end."""
        if (call := self._live.get(call_sid)) is not None:
            return call.ending
        return self._endings.get(call_sid)

    def outcome(self, call_sid: str) -> Outcome | None:
        """The outcome of the call's last stream; None if `ending` knows none."""
        return ending.outcome if (ending := self.ending(call_sid)) is not None else None

    def generation(self, call_sid: str) -> int | None:
        """The generation of the call's last stream that began here; None if none is known."""
        return self._generations.get(call_sid)

    async def drain(self, seconds: float) -> None:
        """Admit no more calls, and return when the last one has ended. Calls that last longer than ``seconds`` are
        shut down."""
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
        """Whether this process has the call: on the line, or admitted and awaited."""
        return call_sid in self._live or call_sid in self._admitted
