"""Tokens that prove that a Media Stream belongs to a call this service answered, and that Twilio asks for it now. Pure.

A stream token names the call and an expiry time, signed with a key derived from the account's auth token, so that every
backend of the service can check it without asking the one that issued it. A nonce tells tokens apart; the registry sees
to it that each is used only once. The token is in the stream's path, where it is checked before the upgrade is
accepted, and again in ``<Parameter name="token">`` for the plain path.

A `RepeatToken` is in a URL that Twilio is redirected to when a webhook's claims can't be true of its call: somebody may
have captured the webhook and replayed it. Only Twilio can sign the new URL, so whoever comes back with the token is
Twilio.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

from callgate.core.absences import NEVER_AWAY, Absences
from callgate.errors import RequestRefused

LIFETIME = 60.0  # seconds from the TwiML to the stream; Twilio opens it within about one


@dataclass(frozen=True, slots=True)
class StreamToken:
    """The contents of a stream token. ``expires``: UNIX time in seconds. ``resumed``: how often the call was resumed.
    ``absences``: how often the agent left it and came back."""

    call_sid: str
    nonce: str
    expires: float
    resumed: int = 0
    absences: Absences = NEVER_AWAY

    @property
    def goes_on(self) -> bool:
        """Whether the call had a stream before."""
        return bool(self.resumed) or self.absences != NEVER_AWAY

    @property
    def generation(self) -> int:
        """How many streams the call had before this one."""
        return generation(self.resumed, self.absences)


@dataclass(frozen=True, slots=True)
class RepeatToken:
    """The contents of a repeat token; the fields are as in `StreamToken`."""

    call_sid: str
    nonce: str
    expires: float


def generation(resumed: int, absences: Absences) -> int:
    """Return how many streams a call had before the one with these counts: each interruption and each absence leads to
    one more."""
    return resumed + absences.transfers + absences.sendings


class StreamTokens:
    """Issues and checks stream tokens. The first auth token signs; any of them may have signed."""

    def __init__(self, auth_tokens: Iterable[str]) -> None:
        self._serializer = _serializer(auth_tokens, "callgate.stream")

    def issue(self, call_sid: str, now: float, resumed: int = 0, absences: Absences = NEVER_AWAY) -> str:
        """Issue a token for a call, in characters that a URL path may contain."""
        away = () if absences == NEVER_AWAY else (absences.transfers, absences.sendings, absences.back)
        claims = [call_sid, secrets.token_urlsafe(9), int(now + LIFETIME), resumed, *away]
        text: str | bytes = self._serializer.dumps(claims)
        return text if isinstance(text, str) else text.decode()

    def read(self, text: str, now: float) -> StreamToken:
        """Return the contents of a token, if this service issued it and it has not expired. Raises `RequestRefused`."""
        try:
            call_sid, nonce, expires, resumed, *away = self._serializer.loads(text)
            absences = Absences(*away)
        except (BadData, ValueError, TypeError) as exc:
            raise RequestRefused("the stream token is not one this service issued") from exc
        if now > expires:
            raise RequestRefused(f"the stream token expired {now - expires:.0f} s ago")
        return StreamToken(call_sid, nonce, expires, resumed, absences)


class RepeatTokens:
    """Issues and checks repeat tokens, which are signed like stream tokens; neither can serve as the other."""

    def __init__(self, auth_tokens: Iterable[str]) -> None:
        self._serializer = _serializer(auth_tokens, "callgate.repeat")

    def issue(self, call_sid: str, now: float) -> str:
        """Issue a token for a call, in characters that a query may contain."""
        text: str | bytes = self._serializer.dumps([call_sid, secrets.token_urlsafe(9), int(now + LIFETIME)])
        return text if isinstance(text, str) else text.decode()

    def read(self, text: str, now: float) -> RepeatToken:
        """Return the contents of a token, if this service issued it and it has not expired. Raises `RequestRefused`."""
        try:
            token = RepeatToken(*self._serializer.loads(text))
        except (BadData, ValueError, TypeError) as exc:
            raise RequestRefused("the repeat token is not one this service issued") from exc
        if now > token.expires:
            raise RequestRefused("the repeat token expired")
        return token


def _serializer(auth_tokens: Iterable[str], salt: str) -> URLSafeSerializer:
    newest_last = list(auth_tokens)[::-1]
    return URLSafeSerializer(newest_last, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})
