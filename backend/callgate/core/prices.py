"""An estimate of what a call's tokens cost, from one dated price table. Pure.

The table holds OpenAI's list prices in USD per million tokens, as documented in November 2026; None means that the
price is not known. An estimate is not a bill: Azure and private agreements have their own prices, and the transcription
of the caller's speech and Twilio's minutes are charged separately.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Final

PRICES_OF: Final = "2026-11"
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more responses. Cached tokens are also counted in ``text_in`` and ``audio_in``."""

    text_in: int = 0
    audio_in: int = 0
    cached_text_in: int = 0
    cached_audio_in: int = 0
    text_out: int = 0
    audio_out: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Usage)))

    @property
    def total(self) -> int:
        """The number of all tokens, as ``total_tokens`` counts them."""
        return self.text_in + self.audio_in + self.text_out + self.audio_out


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens of each kind; None means not known."""

    text_in: Decimal | None = None
    cached_text_in: Decimal | None = None
    text_out: Decimal | None = None
    audio_in: Decimal | None = None
    cached_audio_in: Decimal | None = None
    audio_out: Decimal | None = None

    def of(self, usage: Usage) -> Decimal | None:
        """Return what these tokens cost in USD, or None if some are of a kind whose price is not known."""
        parts = (
            (usage.text_in - usage.cached_text_in, self.text_in),
            (usage.cached_text_in, self.cached_text_in),
            (usage.text_out, self.text_out),
            (usage.audio_in - usage.cached_audio_in, self.audio_in),
            (usage.cached_audio_in, self.cached_audio_in),
            (usage.audio_out, self.audio_out),
        )
        cost = Decimal(0)
        for tokens, price in parts:
            if tokens and price is None:
                return None
            cost += tokens * (price or 0)
        return cost / MILLION


PRICES: Final[Mapping[str, Price]] = {
    "gpt-realtime-2.1": Price(
        text_in=Decimal(4),
        cached_text_in=Decimal("0.40"),
        text_out=Decimal(24),
        audio_in=Decimal(32),
        cached_audio_in=Decimal("0.40"),
        audio_out=Decimal(64),
    ),
    "gpt-realtime-2.1-mini": Price(
        text_in=Decimal("0.60"),
        cached_text_in=Decimal("0.06"),
        text_out=Decimal("2.40"),
        audio_in=Decimal(10),
        cached_audio_in=Decimal("0.30"),
        audio_out=Decimal(20),
    ),
    "line-check": Price(*[Decimal(0)] * len(fields(Price))),  # this service's own
}


def estimate(model: str, usage: Usage) -> Decimal | None:
    """Estimate what these tokens cost in USD, at the prices of `PRICES_OF`; None if the price is not known. ``model``:
    an id, or an Azure deployment named after one.

    An id may have a suffix, such as the date of a snapshot: the longest known id that it starts with is used.
    """
    known = [name for name in PRICES if model == name or model.startswith(f"{name}-")]
    price = PRICES[max(known, key=len)] if known else Price()
    return price.of(usage)


def usage_of(usage: object) -> Usage:
    """Read the tokens from ``response.usage`` of a ``response.done``. None, for a response without usage, is zero
    tokens.

    Missing or nonsensical counts are zero. Cached tokens of an unstated kind count as not cached.
    """
    tokens_in, tokens_out = _details(usage, "input_token_details"), _details(usage, "output_token_details")
    cached = _details(tokens_in, "cached_tokens_details")
    text_in, audio_in = _tokens(tokens_in, "text_tokens"), _tokens(tokens_in, "audio_tokens")
    return Usage(
        text_in=text_in,
        audio_in=audio_in,
        cached_text_in=min(_tokens(cached, "text_tokens"), text_in),
        cached_audio_in=min(_tokens(cached, "audio_tokens"), audio_in),
        text_out=_tokens(tokens_out, "text_tokens"),
        audio_out=_tokens(tokens_out, "audio_tokens"),
    )


def _details(of: object, key: str) -> Mapping[str, object]:
    details = of.get(key) if isinstance(of, Mapping) else None
    return details if isinstance(details, Mapping) else {}


def _tokens(details: Mapping[str, object], key: str) -> int:
    count = details.get(key)
    return count if type(count) is int and count > 0 else 0
