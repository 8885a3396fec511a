"""The errors that a model's server reports, and what follows from their codes. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from callgate.core.foreign import described

from .retry_after import in_words

# Harmless races: what we requested had already happened, or is in progress.
ALREADY_RESPONDING: Final = "conversation_already_has_active_response"
BENIGN_ERRORS: Final = frozenset({"response_cancel_not_active", ALREADY_RESPONDING})

# Retrying can't help.
FATAL_ERRORS: Final = frozenset(
    {
        "insufficient_quota",
        "invalid_api_key",
        "account_deactivated",
        "billing_hard_limit_reached",
        "beta_api_shape_disabled",
        "model_not_found",
    }
)

UNKNOWN: Final = "unknown"  # where the server told neither code nor type
SESSION_EXPIRED: Final = "session_expired"  # the 60-minute limit; the server then closes with 1001


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """The server could not do something; most errors leave the session as it was. ``message`` may quote what was said;
    use `why` for the log. ``event_id``: of the client event that it is about, if that had one."""

    code: str
    message: str = field(repr=False)
    type: str | None = field(default=None, compare=False)
    param: str | None = field(default=None, compare=False)
    event_id: str | None = field(default=None, compare=False)

    @property
    def why(self) -> str:
        """The error without its message."""
        return described(self.code, self.type, self.param, self.message)

    @property
    def retry_after(self) -> float | None:
        """How many seconds the server asks to wait; None: it does not say."""
        return in_words(self.message)

    @property
    def benign(self) -> bool:
        """Whether it is a harmless race that needs no action."""
        return self.code in BENIGN_ERRORS

    @property
    def says_nothing(self) -> bool:
        """Whether the server told nothing at all about it."""
        return self.code == UNKNOWN and not self.message

    @property
    def ends_session(self) -> bool:
        """Whether nothing more will come of this session."""
        return self.code in FATAL_ERRORS or self.code == SESSION_EXPIRED


@dataclass(frozen=True, slots=True)
class CallerTranscriptFailed:
    """What the caller said could not be transcribed; its text never arrives. ``message`` may quote what was said; use
    `why` for the log."""

    item_id: str
    code: str
    message: str = field(default="", repr=False)
    type: str | None = field(default=None, compare=False)
    param: str | None = field(default=None, compare=False)

    @property
    def why(self) -> str:
        """The error without its message."""
        return described(self.code, self.type, self.param, self.message)
