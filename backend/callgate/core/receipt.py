"""What a call amounted to: counted while it lasts, and reported as one log line and one record at its end. Pure.

Times are seconds on one monotonic clock, and are passed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Final

from .prices import PRICES_OF, Usage, estimate
from .turns.commands import Outcome

COUNTED: Final = ("duration_s", "interruptions", "reconnects", "frames_in", "frames_out", "frames_dropped")


@dataclass(frozen=True, slots=True)
class Receipt:
    """The totals of one call. ``model``: the models that served it, separated by commas; ``reason``: as in
    `commands.End`. It is wide because it is a table row, one line of the log and of the store for each call."""

    duration_s: float
    first_audio_ms: int | None  # from `start` to the first of the agent's audio sent; None: no audio was sent
    interruptions: int
    reconnects: int
    resumes: int
    frames_in: int  # the caller's, 20 ms each
    frames_out: int  # messages with the agent's audio, of any length
    frames_dropped: int  # the caller's frames that the model never received
    usage: Usage
    model: str
    cost_usd: Decimal | None  # an estimate; None: not known
    prices_of: str
    ended: Outcome
    reason: str

    def line(self) -> str:
        """Return the receipt as one line for the log."""
        return "Receipt: " + ", ".join(
            (
                f"{self.duration_s:.1f} s",
                "no audio" if self.first_audio_ms is None else f"first audio after {self.first_audio_ms} ms",
                _count(self.interruptions, "interruption"),
                _count(self.reconnects, "reconnect"),
                *((_count(self.resumes, "resume"),) if self.resumes else ()),
                f"{self.frames_in} frames in",
                f"{self.frames_out} out",
                *((f"{self.frames_dropped} dropped",) if self.frames_dropped else ()),
                self._tokens(),
                self._cost(),
                self._end(),
            )
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the receipt as a JSON-compatible record. ``cost_usd`` is a string, so that it stays exact."""
        return asdict(self) | {
            "duration_s": round(self.duration_s, 3),
            "cost_usd": None if self.cost_usd is None else f"{self.cost_usd:f}",
            "ended": self.ended.name.lower(),
        }

    def _tokens(self) -> str:
        used = self.usage
        if not used.total:
            return "0 tokens"
        return (
            f"{_count(used.total, 'token')} ({self.model}: {used.audio_in} audio and {used.text_in} text in, of them "
            f"{used.cached_audio_in + used.cached_text_in} cached; {used.audio_out} audio and {used.text_out} text out)"
        )

    def _cost(self) -> str:
        if self.cost_usd is None:
            return f"cost unknown (prices of {self.prices_of})"
        return f"about ${self.cost_usd:.4f} (prices of {self.prices_of})" if self.cost_usd else "no cost"

    def _end(self) -> str:
        reason = " ".join(self.reason.split())  # it may quote the model's server
        if reason.startswith(self.ended.value):
            return reason
        return f"{self.ended.value}: {reason}" if reason else self.ended.value


def added(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Mapping[str, Any]:
    """Merge the records of a call that had several streams: ``before`` is that of the earlier streams (None if there
    were none), ``after`` that of the last one. Counts, tokens and costs are summed; the first audio is the first
    stream's; how the call ended, and ``resumes``, which is cumulative already, are the last one's."""
    if before is None:
        return after
    total = {**after}
    for name in COUNTED:
        if name in before and name in after:
            total[name] = round(before[name] + after[name], 3)
    if "usage" in before and "usage" in after:
        total["usage"] = {kind: before["usage"].get(kind, 0) + count for kind, count in after["usage"].items()}
    if before.get("first_audio_ms") is not None:
        total["first_audio_ms"] = before["first_audio_ms"]
    if "model" in before and "model" in after:
        models = f"{before['model']}, {after['model']}".split(", ")
        total["model"] = ", ".join(dict.fromkeys(filter(None, models)))
    if "cost_usd" in before and "cost_usd" in after:
        costs = (before["cost_usd"], after["cost_usd"])
        total["cost_usd"] = None if None in costs else f"{sum(map(Decimal, costs)):f}"
    return total


@dataclass(slots=True)
class Counters:
    """The counters of a call in progress. ``started``: when its `start` message arrived."""

    started: float
    interruptions: int = 0
    reconnects: int = 0
    resumes: int = 0
    frames_in: int = 0
    frames_out: int = 0
    frames_dropped: int = 0
    _first_audio: float | None = field(default=None, init=False)
    _usage: dict[str, Usage] = field(default_factory=dict, init=False)  # by model, in the order in which they served

    def caller_audio_came(self) -> None:
        """A message with the caller's audio arrived."""
        self.frames_in += 1

    def agent_audio_sent(self, now: float) -> None:
        """A message with the agent's audio was sent."""
        self.frames_out += 1
        if self._first_audio is None:
            self._first_audio = now

    def served_by(self, model: str) -> None:
        """From now on a session of this model serves the call."""
        self.spent(model, Usage())

    def spent(self, model: str, usage: Usage) -> None:
        """Add the tokens that a response of this model used."""
        self._usage[model] = self._usage.get(model, Usage()) + usage

    def at_end(self, *, interruptions: int, reconnects: int, frames_dropped: int) -> None:
        """Take over the counts that others kept."""
        self.interruptions, self.reconnects, self.frames_dropped = interruptions, reconnects, frames_dropped

    def receipt(self, *, now: float, ended: Outcome, reason: str) -> Receipt:
        """Return the receipt of the call, if it ends now."""
        first = self._first_audio
        return Receipt(
            duration_s=now - self.started,
            first_audio_ms=None if first is None else round((first - self.started) * 1000),
            interruptions=self.interruptions,
            reconnects=self.reconnects,
            resumes=self.resumes,
            frames_in=self.frames_in,
            frames_out=self.frames_out,
            frames_dropped=self.frames_dropped,
            usage=sum(self._usage.values(), Usage()),
            model=", ".join(self._usage),
            cost_usd=self._cost(),
            prices_of=PRICES_OF,
            ended=ended,
            reason=reason,
        )

    def _cost(self) -> Decimal | None:
        """The cost of all models together; None if it is not known for one of them."""
        total = Decimal(0)
        for model, usage in self._usage.items():
            if (cost := estimate(model, usage)) is None:
                return None
            total += cost
        return total


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
