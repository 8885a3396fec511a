"""Find the most calls that a relay serves without audible trouble: bracket, then bisect to within five percent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from callgate.core.units import SECONDS

from .contenders import Door, Relay
from .errors import CallRefused
from .rig import Rig
from .window import Window

FIRST_GUESS = 100  # calls
# Factors between tries while no limit is bracketed: without a guess, and starting from one.
FAR_STEP, CLOSE_STEP = 1.6, 1.1
ALMOST_BUSY = 0.95  # of the relay's core: no step goes beyond the calls that this would allow
NEAR = 1.05  # a bracket this narrow ends the search
WARM_UP = 0.7 * SECONDS
LOOK = 2 * SECONDS
HALF_LOOK = 3 * SECONDS
TIME_LEFT = 0.85  # of the relay's core: a measurement that failed with less than this used is repeated
MOST_LOOKS = 14


@dataclass(slots=True)
class Search:
    """Chooses the number of calls to try next. Pure. ``calls`` is that number, until the search is ``done``."""

    calls: int
    step: float = FAR_STEP  # the factor of the next step, while no bracket is found
    good: int = 0  # the most calls that went well
    bad: int = 0  # the fewest calls that did not, if any

    @classmethod
    def near(cls, guess: int | None) -> Search:
        """Start a search without a guess, or from the result of an earlier one."""
        return cls(guess, CLOSE_STEP) if guess else cls(FIRST_GUESS)

    @property
    def done(self) -> bool:
        """Whether the bracket is narrow enough."""
        return 0 < self.bad <= max(self.good + 1, self.good * NEAR)

    def tell(self, well: bool, busy: float) -> None:
        """Record whether the calls went well. ``busy`` is the share of the relay's core that was used."""
        if well:
            self.good = self.calls
        else:
            self.bad = self.calls
        if self.good and self.bad:
            self.calls = (self.good + self.bad) // 2
        elif self.bad:
            self.calls = max(1, int(self.bad / self.step))
            self.step = FAR_STEP
        else:
            # No step goes beyond what the core will bear, but each adds at least one call.
            step = min(self.step, max(CLOSE_STEP, ALMOST_BUSY / busy))
            self.calls = max(self.good + 1, round(self.good * step))
            self.step = FAR_STEP


@dataclass(frozen=True, slots=True)
class Trial:
    """Relays with calls running through them. Of several relays, only the first one's CPU time is measured."""

    rig: Rig
    relays: Sequence[Relay]
    door: Door

    def kill(self) -> None:
        """Kill the relays instead of stopping them gracefully: an overloaded one recovers slowly."""
        for relay in self.relays:
            relay.kill()


@dataclass(frozen=True, slots=True)
class Most:
    """The result of a search. ``half`` is a measurement at half as many calls."""

    calls: int
    note: str
    half: Window | None


async def most_calls(
    start: Callable[[], contextlib.AbstractAsyncContextManager[Trial]], guess: int | None = None
) -> Most:
    """Find the limit of what ``start`` starts. The first try is at ``guess`` calls, the result of an earlier search."""
    search, note, half, refused_at = Search.near(guess), "", None, 0
    async with contextlib.AsyncExitStack() as stack:
        trial: Trial | None = None
        for _ in range(MOST_LOOKS):
            if trial is None:
                trial = await stack.enter_async_context(start())
            window = await look(trial, search.calls)
            print(f"     {window or f'{search.calls} calls could not all be opened'}", flush=True)
            well = window is not None and window.good
            if window is None and search.calls != refused_at:  # perhaps the relay was only slow to start: try once more
                refused_at = search.calls
            else:
                search.tell(well, window.busy if window is not None else 1.0)
            if not well:
                trial.kill()
                await stack.aclose()
                trial = None
            if window is not None and window.generator_bound and not well:  # it may bear more than was found
                note = window.doubt
            if search.done:
                break
        if search.good > 1:
            if trial is None:
                trial = await stack.enter_async_context(start())
            half = await look(trial, search.good // 2, HALF_LOOK)
    return Most(search.good, note, half)


async def look(trial: Trial, calls: int, seconds: float = LOOK) -> Window | None:
    """Measure this many calls, or return None if they can't all be opened. Repeat the measurement once if the first
    failed without a full core."""
    rig, relay = trial.rig, trial.relays[0]
    try:
        await rig.set_calls(relay, calls, trial.door)
    except CallRefused:
        return None
    await asyncio.sleep(WARM_UP)
    window = await rig.window(relay, seconds)
    if window.good or window.busy > TIME_LEFT or window.generator_bound:
        return window
    return await rig.window(relay, seconds) if await rig.calm() else window
