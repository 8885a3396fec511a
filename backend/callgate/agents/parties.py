"""Who speaks with whom in a call. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parties:
    """``called``: the number of ours, which tells the agent. ``caller``: the other side's, as Twilio writes it, also
    where it is we who call (``outbound``)."""

    called: str
    caller: str
    outbound: bool = False

    @classmethod
    def of(cls, direction: str, from_number: str, to_number: str) -> Parties:
        """As Twilio's parameters ``Direction``, ``From`` and ``To`` say it."""
        if direction.startswith("outbound"):
            return cls(from_number, to_number, outbound=True)
        return cls(to_number, from_number)

    def as_parameters(self) -> dict[str, str]:
        """As parameters of a stream, by name."""
        return {"called": self.called, "caller": self.caller, **({"outbound": "yes"} if self.outbound else {})}

    @classmethod
    def of_parameters(cls, parameters: Mapping[str, str]) -> Parties | None:
        """As the parameters of a stream say it; None where they do not."""
        if "called" not in parameters:
            return None
        return cls(parameters["called"], parameters.get("caller", ""), "outbound" in parameters)

    @classmethod
    def of_webhook(cls, params: Mapping[str, str]) -> Parties:
        """As a webhook of Twilio's says it."""
        return cls.of(params.get("Direction", ""), params.get("From", ""), params.get("To", ""))
