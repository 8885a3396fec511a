"""The progress of outbound calls, as Twilio's callbacks report it, for the requests that wait for news."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any, Final

KEPT: Final = 1000  # calls; the oldest are forgotten
MOST_EVENTS: Final = 100  # per call
STAGES: Final = ("queued", "initiated", "ringing", "in-progress")
ENDS: Final = ("completed", "busy", "no-answer", "canceled", "failed")


@dataclass(frozen=True, slots=True)
class CallNews:
    """An event of a call. ``at``: seconds since the call was placed. ``text``: details, if any."""

    number: int
    at: float
    name: str
    text: str = ""


class Progress:
    """The progress of one call. ``status``: Twilio's ``CallStatus``; ``answered_by``: Twilio's ``AnsweredBy``, once it
    is known."""

    def __init__(self, call_sid: str) -> None:
        self.call_sid = call_sid
        self.status = ""
        self.answered_by: str | None = None
        self.talked = False
        self.events: list[CallNews] = []
        self._began = time.monotonic()
        self._news = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.status in ENDS

    def stands(self, status: str, seconds: str = "0") -> None:
        """Note the status that Twilio reports. A late or repeated report is ignored. ``seconds``: the call's
        duration."""
        if self.over or status not in (*STAGES, *ENDS) or self._rank(status) <= self._rank(self.status):
            return
        self.status = status
        text = f"{status}, after {seconds} s" if status == "completed" else status
        self.happened("ended" if status in ENDS else "answered" if status == "in-progress" else status,
                      text if status in ENDS else "")  # fmt: skip

    def answered(self, by: str) -> None:
        """Note who has answered, as Twilio reports it."""
        if self.answered_by is None:
            self.answered_by = by
            self.happened(by.partition("_")[0], by if "_" in by else "")

    def talks(self) -> None:
        """Note that the agent's stream has begun."""
        if not self.talked:
            self.talked = True
            self.happened("talking")

    def happened(self, name: str, text: str = "") -> None:
        """Add an event, and wake whoever waits for one."""
        if len(self.events) < MOST_EVENTS:
            self.events.append(CallNews(len(self.events) + 1, round(time.monotonic() - self._began, 2), name, text))
        self._news.set()
        self._news = asyncio.Event()

    async def wait(self, after: int, seconds: float) -> bool:
        """Wait up to ``seconds`` for an event later than number ``after``, or for the call's end. Return whether there
        is such an event."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self.events) <= after and not self.over:
                    await self._news.wait()
        return len(self.events) > after

    def as_dict(self, after: int) -> dict[str, Any]:
        """Return the call's state, and the events later than number ``after``, for JSON."""
        return {
            "call_sid": self.call_sid,
            "status": self.status,
            "answered_by": self.answered_by,
            "over": self.over,
            "events": [asdict(event) for event in self.events[max(0, after) :]],
        }

    @staticmethod
    def _rank(status: str) -> int:
        return STAGES.index(status) if status in STAGES else len(STAGES) if status in ENDS else -1


class PlacedCalls:
    """The outbound calls that this process has placed or has been asked about."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Progress] = OrderedDict()

    def get(self, call_sid: str) -> Progress | None:
        """Return the progress of a call, if it is known."""
        return self._known.get(call_sid)

    def ended(self, call_sid: str) -> str | None:
        """Return the final status of a call; None if it has not ended or is not known."""
        progress = self._known.get(call_sid)
        return progress.status if progress is not None and progress.over else None

    def follow(self, call_sid: str) -> Progress:
        """Return the progress of a call, and start tracking the call if it is new."""
        if call_sid not in self._known:
            self._known[call_sid] = Progress(call_sid)
            self._known[call_sid].stands("queued")
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return self._known[call_sid]
