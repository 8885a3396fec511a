"""Every error that an operator may be shown.

A name ends in ``Error``, or in ``Refused`` if a request was turned down.

CallgateError                   str() is one line an operator can act on
├── ConfigError                 settings that can't work; lists all of them
│   └── AgentsError             an agents' file that can't work (agents.problems)
├── RequestRefused              a request that is not allowed
├── ProtocolError               a peer broke its protocol
│   ├── MediaStreamError        Twilio's side of a Media Stream (or ours, as the phone sees it)
│   └── RealtimeError           the model's side of a Realtime session
├── UpstreamError               a model session can't be opened, or is lost
│   └── UpstreamRefused         the model's server refused; trying again changes nothing
├── ToolError                   a tool can't do what the model asked for; the model is told so
├── OutboundRefused             a call is not placed
│   └── CallInDoubtError        a call may or may not have been placed (outbound.rest)
├── TwilioError                 Twilio's REST API did not do what it was asked (network.twilio_rest)
│   ├── TwilioRefused           the API refused
│   └── TwilioUnreachableError  the API can't be reached, or does not answer
├── StoreError                  the store of calls can't be read or written, or not in time
│   └── StoreRefused            the database works, but does not accept the record
├── EventRefused                the line check does not accept an event (peers.linecheck)
├── PhoneError                  the simulated Twilio can't go on; carries Twilio's own error code
└── Raised by commands only, in callgate.peers.phone: RecordingError, PictureError, NotSimulatedError; in
    callgate.operator: UnreachableError (ask), ServiceError and ServiceUnheardError (service), DnsError
    (doctor.domain), SetupRefused (setup.refusal)
"""

from __future__ import annotations

from collections.abc import Sequence


class CallgateError(Exception):
    """The base of all errors raised on purpose."""


class ConfigError(CallgateError):
    """Settings that can't work. ``problems`` holds one sentence for each of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class RequestRefused(CallgateError):
    """A request that is not Twilio's, not for this account, or not for this call; it is answered with 403."""


class ProtocolError(CallgateError):
    """A peer sent what its protocol does not allow."""


class MediaStreamError(ProtocolError):
    """A Media Streams message that is not accepted. ``code`` is Twilio's own error code for it."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(f"{reason} (Twilio error {code})")


class RealtimeError(ProtocolError):
    """A Realtime event that is not accepted."""


class UpstreamError(CallgateError):
    """The model's session could not be opened, or was lost. ``retry_after``: how many seconds the server asks to
    wait."""

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(why)


class UpstreamRefused(UpstreamError):
    """The model's server refused for a reason that a retry does not change (key, quota, account)."""


class ToolError(CallgateError):
    """A tool can't do what it was asked for. The model is told the text."""


class OutboundRefused(CallgateError):
    """A request about an outbound call is refused. ``status``: the HTTP status to answer with; ``fix``: what to do
    about it; ``retry_after``: in seconds, if waiting helps."""

    def __init__(self, status: int, error: str, fix: str, retry_after: int | None = None) -> None:
        self.status, self.error, self.fix, self.retry_after = status, error, fix, retry_after
        super().__init__(f"{error} {fix}")


class StoreError(CallgateError):
    """The store of calls can't be opened, read or written, or does not answer in time."""


class StoreRefused(StoreError):
    """The database works, but refuses a record because of its content; trying again changes nothing."""


class PhoneError(CallgateError):
    """An error that stops the simulated Twilio. ``code``: Twilio's error code
    (https://www.twilio.com/docs/api/errors)."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"Twilio error {code}: {reason}")
