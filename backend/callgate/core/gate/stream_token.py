"""Tokens: the proof that a Media Stream belongs to a call this service answered, and that Twilio asks now. Pure.

It names the call and a moment after which it is void, signed with a key made from the account's auth token, so that
every backend of the service can check it without asking the one that issued it. A nonce tells one from another; that
it is used once is for the registry to see. It stands in the stream's path, where it is checked before the upgrade is
accepted, and again as ``<Parameter name="token">`` for the plain path.

A `RepeatToken` stands in an address that Twilio is sent to when what a webhook says can't be true of its call: somebody
may have captured it and send it again. Only Twilio can sign that address, so whoever comes back with it is Twilio.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

from callgate.core.tools.toolbox import NEVER_AWAY, Absences
from callgate.errors import RequestRefused

LIFETIME = 60.0  # seconds from the TwiML to the stream; Twilio opens it within about one


@dataclass(frozen=True, slots=True)
class StreamToken:
    """What a token says. ``expires``: UNIX time in seconds. ``resumed``: how often the call was taken up again.
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
    """What a repeat token says: as a `StreamToken`'s."""

    call_sid: str
    nonce: str
    expires: float


def generation(resumed: int, absences: Absences) -> int:
    """How many streams a call had before the one with these counts: each interruption and each absence is followed by
    one."""
    return resumed + absences.transfers + absences.sendings


class StreamTokens:
    """Issues and checks stream tokens. The first auth token signs; any of them may have signed."""

    def __init__(self, auth_tokens: Iterable[str]) -> None:
        self._serializer = _serializer(auth_tokens, "callgate.stream")

    def issue(self, call_sid: str, now: float, resumed: int = 0, absences: Absences = NEVER_AWAY) -> str:
        """A new token for a call, in characters that a URL path takes."""
        away = () if absences == NEVER_AWAY else (absences.transfers, absences.sendings, absences.back)
        claims = [call_sid, secrets.token_urlsafe(9), int(now + LIFETIME), resumed, *away]
        text: str | bytes = self._serializer.dumps(claims)
        return text if isinstance(text, str) else text.decode()

    def read(self, text: str, now: float) -> StreamToken:
        """What a token says, if it is ours and still good. Raises `RequestRefused`."""
        try:
            call_sid, nonce, expires, resumed, *away = self._serializer.loads(text)
            absences = Absences(*away)
        except (BadData, ValueError, TypeError) as exc:
            raise RequestRefused("the stream token is not one this service issued") from exc
        if now > expires:
            raise RequestRefused(f"the stream token expired {now - expires:.0f} s ago")
        return StreamToken(call_sid, nonce, expires, resumed, absences)


class RepeatTokens:
    """Issues and checks repeat tokens, signed as stream tokens are; neither serves as the other."""

    def __init__(self, auth_tokens: Iterable[str]) -> None:
        self._serializer = _serializer(auth_tokens, "callgate.repeat")

    def issue(self, call_sid: str, now: float) -> str:
        """A new token for a call, in characters that a query takes."""
        text: str | bytes = self._serializer.dumps([call_sid, secrets.token_urlsafe(9), int(now + LIFETIME)])
        return text if isinstance(text, str) else text.decode()

    def read(self, text: str, now: float) -> RepeatToken:
        """What a token says, if it is ours and still good. Raises `RequestRefused`."""
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
