"""The webhook and the stream, requested as Twilio does, with a correct and with a wrong signature.

The requests are for a made-up call with a CallSid of its own, which is canceled at the end: nobody is rung, and nothing
is said to the model. (The backend opens a model session ahead of each call, and closes this one unused.)
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit
from xml.etree import ElementTree

from callgate.core.units import SECONDS
from callgate.core.wire import twiml
from callgate.errors import PhoneError
from callgate.operator.ask import Answer, UnreachableError
from callgate.peers.phone.options import FROM_NUMBER, NO_ACCOUNT, TO_NUMBER, TwilioLimits
from callgate.peers.phone.sids import new_sid
from callgate.peers.phone.simulation.codes import advice
from callgate.peers.phone.simulation.signing import sign_upgrade, sign_webhook, sign_wrongly
from callgate.peers.phone.stream import open_stream

from .finding import Finding, ok, skipped, warning, wrong
from .world import Case

SLOW: Final = 5 * SECONDS  # Twilio gives up after 15
RESTART: Final = (
    "The backend is running with other settings; restart it: docker compose -f docker-compose.prod.yml up -d backend"
)
READ_LOG: Final = "Read the backend's log: docker compose -f docker-compose.prod.yml logs backend"
NOT_CALLGATE: Final = "Find out what answers there: it is not Callgate"


async def stranger(case: Case) -> Sequence[Finding]:
    """Whether a request with a stranger's signature reaches the backend and is refused, without a redirect.

    nginx forwards such a request; one without any signature it refuses itself.
    """
    url, form = f"{case.config.base_url}/incoming-call", {"CallSid": new_sid("CA")}
    headers = {"X-Twilio-Signature": sign_webhook("not-the-auth-token", url, form)}
    try:
        answer = await case.world.ask("POST", url, at=case.edge, headers=headers, form=form)
    except UnreachableError as exc:
        return [wrong(f"{url} does not answer: {exc}", "an answer", READ_LOG)]
    if 300 <= answer.status < 400:
        where = answer.headers.get("location", "")
        return [
            wrong(
                f"{url} is redirected with status {answer.status} to {where.partition('?')[0]}",
                "an answer without a redirect, which would break Twilio's signature",
                "Set BASE_URL to the address that the redirect leads to, and give Twilio that address",
            )
        ]
    if answer.status == 403:
        return [ok("a request that is not from Twilio is refused with 403, and not redirected")]
    if answer.status == 200 and not _is_of_nginx(answer):
        found = f"{url} answers a request that is not from Twilio with status 200"
        return [wrong(found, "status 403: otherwise anybody could spend your money", NOT_CALLGATE)]
    if answer.status == 200:
        return [_answered_by_nginx()]
    do = "Find out what answers there. Does BASE_URL lead to the bundle's nginx, or to the tunnel?"
    found = f"{url} answers a request that is not from Twilio with status {answer.status}"
    return [wrong(found, "status 403 from the backend", do)]


async def webhook(case: Case) -> Sequence[Finding]:
    """Whether the voice webhook, signed as by Twilio, answers with TwiML that connects a stream."""
    if not case.config.twilio_auth_tokens:
        return [skipped("there is no auth token to sign requests with")]
    url = f"{case.config.base_url}/incoming-call"
    case.call_sid = new_sid("CA")
    try:
        answer = await _signed(case, url, {**_params(case), "CallStatus": "ringing"})
    except UnreachableError as exc:
        return [wrong(f"{url} does not answer: {exc}", "TwiML", READ_LOG)]
    if answer.status == 403:
        found = f"the backend rejects (403) a request for {url} that was signed with these settings"
        return [wrong(found, "a backend with this TWILIO_AUTH_TOKEN and this BASE_URL", RESTART)]
    if answer.status != 200:
        return [wrong(f"{url} answers with status {answer.status} (Twilio: 11200)", "status 200, with TwiML", READ_LOG)]
    if _is_of_nginx(answer):
        return [_answered_by_nginx()]
    return [_read(case, answer), *_in_time(answer)]


def _read(case: Case, answer: Answer) -> Finding:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("text/xml", "application/xml"):
        found = f"the answer's content type is {kind or 'missing'} (Twilio: 12300)"
        return wrong(found, "text/xml", NOT_CALLGATE)
    try:
        document = ElementTree.fromstring(answer.body)
    except ElementTree.ParseError as exc:
        return wrong(f"the TwiML is not well-formed: {exc} (Twilio: 12100)", "TwiML", READ_LOG)
    if (stream := document.find("./Connect/Stream")) is None:
        is_put_through = document.find("./Dial") is not None
        if is_put_through or twiml.BUSY.encode() in answer.body:
            found = "are put through to FALLBACK_DIAL" if is_put_through else "are told that all lines are busy"
            more = "Raise MAX_CALLS, or add a backend (see More calls in docs/operations.md)"
            return wrong(f"callers {found}", "room for one more call", more)
        return wrong("the TwiML does not connect a stream", "<Connect><Stream>", READ_LOG)
    case.stream_url = stream.get("url", "")
    wanted = f"wss://{case.host}"
    if not case.stream_url.startswith(f"{wanted}/"):
        parts = urlsplit(case.stream_url)
        found = f"the stream leads to {parts.scheme}://{parts.netloc} (Twilio: 31922, 31923)"
        return wrong(found, f"{wanted}, from BASE_URL", RESTART)
    return ok(f"it answers in {answer.seconds * 1000:.0f} ms with TwiML that connects a stream at {wanted}")


def _in_time(answer: Answer) -> list[Finding]:
    if answer.seconds < SLOW:
        return []
    found = f"the webhook took {answer.seconds:.0f} s"
    return [warning(found, "far less: Twilio gives up after 15 s", "Is this machine overloaded?")]


async def forged(case: Case) -> Sequence[Finding]:
    """Whether a WebSocket upgrade with a wrong signature is refused."""
    if not case.stream_url:
        return [skipped("there is no stream to open")]
    try:
        await _upgrade(case, sign_wrongly("not-the-auth-token", case.stream_url))
    except PhoneError as exc:
        if re.search(r"\bstatus 403\b", exc.reason):
            return [ok("an upgrade with a wrong signature is refused with 403")]
        return [skipped(f"an upgrade with a wrong signature failed before it was judged: {_hidden(case, exc.reason)}")]
    found = "an upgrade with a wrong signature is accepted"
    return [wrong(found, "status 403: otherwise anybody could talk to your model", NOT_CALLGATE)]


async def upgrade(case: Case) -> Sequence[Finding]:
    """Whether the stream's upgrade, signed as by Twilio, is answered with 101. Cancels the made-up call at the end."""
    if not case.stream_url:
        return [skipped("there is no stream to open")]
    try:
        took = await _upgrade(case, sign_upgrade(case.config.twilio_auth_tokens[0], case.stream_url))
    except PhoneError as exc:
        found = f"the stream can't be opened: {_hidden(case, exc.reason)} (Twilio: {exc.code})"
        return [wrong(found, "101 Switching Protocols", _how_to_upgrade(exc.code))]
    finally:
        await _take_back(case)
    return [ok(f"the stream's upgrade is answered with 101 after {took * 1000:.0f} ms")]


async def _upgrade(case: Case, signature: str | None) -> float:
    """Open and close the stream. Returns how long TCP, TLS and the upgrade took, in seconds. Raises `PhoneError`."""
    opened = await open_stream(case.stream_url, signature, case.world.trust(), TwilioLimits(), case.edge)
    await opened.connection.close()
    return opened.tcp_seconds + opened.tls_seconds + opened.upgrade_seconds


async def _take_back(case: Case) -> None:
    """Tell the backend that the call is over, so that it closes the session waiting for it now."""
    over = {**_params(case), "CallStatus": "canceled", "CallDuration": "0"}
    try:
        await _signed(case, f"{case.config.base_url}/call-status", over)
    except UnreachableError:
        await asyncio.sleep(0)  # the session is closed by itself within a minute


async def _signed(case: Case, url: str, form: dict[str, str]) -> Answer:
    signature = sign_webhook(case.config.twilio_auth_tokens[0], url, form)
    return await case.world.ask("POST", url, at=case.edge, headers={"X-Twilio-Signature": signature}, form=form)


def _params(case: Case) -> dict[str, str]:
    return {
        "AccountSid": case.config.twilio_account_sid or NO_ACCOUNT,
        "CallSid": case.call_sid,
        "From": FROM_NUMBER,
        "To": case.config.twilio_phone_number or TO_NUMBER,
        "Direction": "inbound",
    }


def _is_of_nginx(answer: Answer) -> bool:
    """Whether nginx answered instead of the backend: its TwiML counts how often the caller has waited."""
    return b"<Redirect" in answer.body and b"waited=" in answer.body


def _answered_by_nginx() -> Finding:
    return wrong(
        "nginx answers instead of the backend, and asks callers to wait",
        "the backend's own TwiML",
        "The backend is down, too slow, or not where nginx expects it: docker compose -f docker-compose.prod.yml ps",
    )


def _how_to_upgrade(code: int) -> str:
    if code == 31920:
        return "Make the proxy forward Upgrade and Connection (deploy/nginx/snippets/proxy-headers.conf). " + READ_LOG
    return f"{advice(code)[:1].upper()}{advice(code)[1:]}"


def _hidden(case: Case, text: str) -> str:
    return text.replace(case.stream_url, f"wss://{case.host}{twiml.STREAM}/***")
