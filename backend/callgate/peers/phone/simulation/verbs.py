"""The verbs of voice TwiML that the phone simulates, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callgate.core.masking import mask_number

from .timeline import mask_url

_CHARACTERS_A_SECOND: Final = 15  # of text, spoken
_KEY_SECONDS: Final = {"w": 0.5, "W": 1.0}  # pauses; any other key is a tone and the gap after it
_TONE_SECONDS: Final = 0.2
DIAL_TIMEOUT: Final = 30  # seconds, the default of <Dial>


@dataclass(frozen=True, slots=True)
class Say:
    """Read a text to the caller."""

    text: str

    @property
    def seconds(self) -> float:
        """About how long that takes, in seconds."""
        return len(self.text) / _CHARACTERS_A_SECOND


@dataclass(frozen=True, slots=True)
class Play:
    """Play a recording, or key tones."""

    url: str
    digits: str

    @property
    def seconds(self) -> float:
        """About how long the keys take, in seconds."""
        return sum(_KEY_SECONDS.get(key, _TONE_SECONDS) for key in self.digits)


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait silently for some seconds."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Redirect:
    """Continue with another document. An empty ``url`` means the current one."""

    url: str
    method: str


@dataclass(frozen=True, slots=True)
class Hangup:
    """End the call."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the call."""

    reason: str


@dataclass(frozen=True, slots=True)
class Dial:
    """Ring somebody else, for ``timeout`` seconds. ``number`` may be a SIP address or a client's name."""

    number: str
    action: str | None
    method: str
    timeout: int = DIAL_TIMEOUT


@dataclass(frozen=True, slots=True)
class Record:
    """Record a message."""

    action: str | None
    method: str


@dataclass(frozen=True, slots=True)
class Stream:
    """Open a Media Stream."""

    url: str
    name: str
    parameters: tuple[tuple[str, str], ...]
    status_callback: str | None
    status_callback_method: str


@dataclass(frozen=True, slots=True)
class Connect:
    """Hold the call on a bidirectional stream until the app closes it."""

    stream: Stream
    action: str | None
    method: str


Verb = Say | Play | Pause | Redirect | Hangup | Reject | Dial | Record | Connect


def describe(verb: Verb) -> str:
    """Return the verb as the timeline shows it, without tokens, numbers and the values of parameters."""
    match verb:
        case Connect(stream=stream):
            secrets = [value for _, value in stream.parameters]
            names = ", ".join(name for name, _ in stream.parameters)
            return f"<Connect><Stream> to {mask_url(stream.url, secrets)}" + (f" with {names}" if names else "")
        case Say():
            return f"<Say> {verb.text!r}, about {verb.seconds:.1f} s"
        case Play():
            return f"<Play> {'keys' if verb.digits else mask_url(verb.url)}"
        case Pause():
            return f"<Pause> {verb.seconds} s"
        case Redirect():
            return f"<Redirect> to {mask_url(verb.url) or 'the same document'}"
        case Reject():
            return f"<Reject> {verb.reason}"
        case Dial():
            return f"<Dial> {mask_number(verb.number)}"
        case Record() | Hangup():
            return f"<{type(verb).__name__}>"
