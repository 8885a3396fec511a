"""What a broken or hostile Twilio does, to test the other side. Pure values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .signing import UpgradeSigner, sign_upgrade


@dataclass(frozen=True, slots=True)
class Injection:
    """A frame that is sent unchanged, ``after`` seconds into the stream: text, or bytes for a binary frame.

    A frame that has to name the stream is a function of the streamSid.
    """

    after: float
    frame: str | bytes | Callable[[str], str | bytes]

    def frame_for(self, stream_sid: str) -> str | bytes:
        """Return the frame to send."""
        return self.frame(stream_sid) if callable(self.frame) else self.frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How this Twilio differs from the real one. By default, it doesn't."""

    sign_upgrade: UpgradeSigner = sign_upgrade
    stream_url: Callable[[str], str] | None = None  # changes the URL in the TwiML; the new one is signed
    parameters: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None  # other <Parameter> values
    starts: int = 1  # how many start messages are sent; with 0, nothing is sent after connected
    injections: tuple[Injection, ...] = ()
    drop_after: float | None = None  # seconds into the stream: the TCP connection is reset
    stop_reading_after: float | None = None  # seconds into the stream: from then on, nothing is read


NO_FAULTS = Faults()
