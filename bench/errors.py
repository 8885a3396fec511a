"""The errors of the benchmark."""

from callgate.errors import CallgateError


class BenchError(CallgateError):
    """Something could not be measured."""


class CallRefused(BenchError):
    """A relay did not take a call."""
