"""The two phone numbers of a call. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parties:
    """The parties of a call. ``called``: our number, which determines the agent. ``caller``: the other side's number as
    Twilio writes it, also in an outbound call."""

    called: str
    caller: str
    outbound: bool = False

    @classmethod
    def of(cls, direction: str, from_number: str, to_number: str) -> Parties:
        """Return the parties for Twilio's ``Direction``, ``From`` and ``To``."""
        if direction.startswith("outbound"):
            return cls(from_number, to_number, outbound=True)
        return cls(to_number, from_number)

    def as_parameters(self) -> dict[str, str]:
        """Return the parties as stream parameters, by name."""
        return {"called": self.called, "caller": self.caller, **({"outbound": "yes"} if self.outbound else {})}

    @classmethod
    def of_parameters(cls, parameters: Mapping[str, str]) -> Parties | None:
        """Return the parties from stream parameters; None if they are not in there."""
        if "called" not in parameters:
            return None
        return cls(parameters["called"], parameters.get("caller", ""), "outbound" in parameters)

    @classmethod
    def of_webhook(cls, params: Mapping[str, str]) -> Parties:
        """Return the parties from the parameters of a Twilio webhook."""
        return cls.of(params.get("Direction", ""), params.get("From", ""), params.get("To", ""))
