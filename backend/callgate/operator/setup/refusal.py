"""Why a step can't go on."""

from __future__ import annotations

from callgate.errors import CallgateError


class SetupRefused(CallgateError):
    """A step can't go on. ``subject``: what this is about; then what was found, what was wanted, and what to do."""

    def __init__(self, subject: str, *, found: str, wanted: str, do: str) -> None:
        self.subject, self.found, self.wanted, self.do = subject, found, wanted, do
        super().__init__(f"{subject}: found {found}; wanted {wanted}: {do}")

    def report(self) -> str:
        """Return the refusal as it is shown: one line each for the subject, found, wanted and do."""
        return f"{self.subject}\n  found   {self.found}\n  wanted  {self.wanted}\n  do      {self.do}"
