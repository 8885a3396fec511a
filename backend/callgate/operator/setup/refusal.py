"""Why a step does not go on."""

from __future__ import annotations

from callgate.errors import CallgateError


class SetupRefused(CallgateError):
    """A step can't go on. ``subject``: what it is about; then what was found, what was wanted, and what to do."""

    def __init__(self, subject: str, *, found: str, wanted: str, do: str) -> None:
        self.subject, self.found, self.wanted, self.do = subject, found, wanted, do
        super().__init__(f"{subject}: found {found}; wanted {wanted}: {do}")

    def report(self) -> str:
        """The refusal as it is shown: a line for what it is about, and one for each of the three."""
        return f"{self.subject}\n  found   {self.found}\n  wanted  {self.wanted}\n  do      {self.do}"
