"""A Twilio number's webhooks. Source: https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from callgate.core.wire.twiml import INCOMING, INTERRUPTED, PROOF

NOTHING = "(nothing)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """A number's webhooks, under the REST API's names. An empty string means not set.

    While ``voice_application_sid`` or ``trunk_sid`` is set, Twilio ignores the voice URLs.
    """

    voice_url: str = ""
    voice_method: str = "POST"
    voice_fallback_url: str = ""
    voice_fallback_method: str = "POST"
    status_callback: str = ""
    status_callback_method: str = "POST"
    voice_application_sid: str = ""
    trunk_sid: str = ""

    @classmethod
    def of(cls, resource: object) -> Webhooks:
        """Return the webhooks of a number, as Twilio's REST API gives it."""
        return cls(**{name: getattr(resource, name) or getattr(cls(), name) for name in NAMES})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Webhooks:
        """Read what `as_json` returned. Raises `ValueError` for anything else."""
        if (
            not isinstance(value, dict)
            or set(value) != set(NAMES)
            or not all(isinstance(v, str) for v in value.values())
        ):
            raise ValueError("these are not the webhooks of a number")
        return cls(**value)

    def as_json(self) -> dict[str, str]:
        """Return all webhooks by name. These are also the parameters of the request that sets them."""
        return {name: getattr(self, name) for name in NAMES}

    def leads_as(self, other: Webhooks) -> bool:
        """Whether calls go to the same place, whatever else differs."""
        return (self.voice_url, self.voice_application_sid, self.trunk_sid) == (
            other.voice_url,
            other.voice_application_sid,
            other.trunk_sid,
        )

    def changes_to(self, other: Webhooks) -> list[tuple[str, str, str]]:
        """Return what differs: its name, the old value and the new value, masked so that they may be shown."""
        return [
            (name.replace("_", " "), shown(getattr(self, name)), shown(getattr(other, name)))
            for name in NAMES
            if getattr(self, name) != getattr(other, name)
        ]


NAMES = tuple(field.name for field in dataclasses.fields(Webhooks))


def wanted(base_url: str, fallback_url: str | None = None, *, proof: str = "") -> Webhooks:
    """Return the webhooks that a number should have.

    Twilio requests the fallback when any of the call's requests fails, the first or a later one. By default it is
    /call-interrupted, which resumes a known call where it was cut off, connects an unknown one to the agent, and ends
    one in which goodbye had been said. nginx answers it even while there is no backend. ``fallback_url``: an address on
    another machine, for when this one is gone. ``proof``: by which nginx recognizes the address
    (`signature.edge_proof`).
    """
    query = f"?{PROOF}={proof}" if proof else ""
    return Webhooks(
        voice_url=f"{base_url}{INCOMING}{query}",
        voice_fallback_url=fallback_url or f"{base_url}{INTERRUPTED}{query}",
        status_callback=f"{base_url}/call-status",
    )


def shown(text: str) -> str:
    """Return a URL without what may be secret in it: the login, and the query."""
    parts = urlsplit(text)
    if not text:
        return NOTHING
    if not parts.scheme:
        return text
    host = parts.netloc.rpartition("@")[2]
    login = "***@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{login}{host}{parts.path}{'?***' if parts.query else ''}"
