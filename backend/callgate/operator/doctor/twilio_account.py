"""The Twilio account, read over the REST API: the credentials, the number's webhooks, and recent errors.

Sources: https://www.twilio.com/docs/iam/api/account, …/docs/phone-numbers/api/incomingphonenumber-resource,
…/docs/usage/monitor-alert. The checks change nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urldefrag, urlsplit

from callgate.core.masking import mask_number
from callgate.core.wire.twiml import PROOF
from callgate.network.twilio_rest import TwilioError, TwilioRefused, TwilioUnreachableError
from callgate.operator.setup.webhooks import shown
from callgate.peers.phone.simulation.codes import MEANINGS

from .finding import Finding, ok, skipped, warning, wrong
from .twilio_api import get, no_way, why_not
from .world import Case, is_tunnel_name

LOOK_BACK: Final = timedelta(hours=24)
MOST_ALERTS: Final = "100"
MOST_SHOWN: Final = 5
NUMBERS: Final = "with scripts/setup.sh, or in the Twilio console under Phone Numbers"
CONSOLE: Final = "see Monitor, Logs, Errors in the Twilio console"

_OTHER_CODES: Final = {
    13227: ("a call to a country that this account may not call", "allow it under Voice, Settings, Geo permissions"),
    20003: ("a wrong auth token was used", "check who uses this account"),
    20429: ("too many requests were made", "ask less often"),
    21210: ("the calling number does not belong to this account", "check TWILIO_PHONE_NUMBER"),
    21211: ("the called number is not a valid number", "check the number"),
    21215: ("a call to a country that this account may not call", "allow it under Voice, Settings, Geo permissions"),
    21219: ("a trial account can call verified numbers only", "verify the number, or upgrade the account"),
    21220: ("a request to change a call that was already over", "ignore it, if it is rare"),
}


async def account(case: Case) -> Sequence[Finding]:
    """Whether Twilio accepts the account and its token, and lets it make calls."""
    if (why := why_not(case)) is not None:
        return [skipped(why)]
    try:
        found = await get(
            case, lambda client: client.api.v2010.fetch("GET", f"/Accounts/{case.config.twilio_account_sid}.json")
        )
    except TwilioRefused as exc:
        return [_unknown(exc)]
    except TwilioUnreachableError as exc:
        return [no_way(exc)]
    status, kind = str(found.get("status", "")), str(found.get("type", ""))
    if status != "active":
        do = "Look in the Twilio console for the reason: no balance left, or a violation of the terms"
        return [wrong(f"the account is {status or 'in an unknown state'}", "an active account", do)]
    if kind == "Trial":
        return [
            warning(
                "this is a trial account: calls begin with a message from Twilio and end after ten minutes, and only "
                "verified numbers can be called",
                "a paid account, for real callers",
                "Upgrade it in the Twilio console, or ignore this while you test",
            )
        ]
    return [ok("Twilio accepts the account SID and the auth token, and the account is active")]


def _unknown(exc: TwilioRefused) -> Finding:
    if exc.status in (401, 403) or exc.code in (20003, 20008):
        return wrong(
            f"Twilio does not accept this pair of TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN ({exc})",
            "the auth token of this account: Twilio signs every request with it",
            "Copy both from the Twilio console into .env, and restart the backend",
        )
    if exc.status == 404:
        do = "Copy TWILIO_ACCOUNT_SID from the Twilio console into .env, and restart the backend"
        return wrong(f"Twilio has no such account ({exc})", "your account's SID", do)
    do = "Check https://status.twilio.com, and try again"
    return warning(f"Twilio's REST API answers {exc}", "the account", do)


async def numbers(case: Case) -> Sequence[Finding]:
    """Whether the number's webhooks point to BASE_URL."""
    if (why := why_not(case)) is not None:
        return [skipped(why)]
    number = case.config.twilio_phone_number
    query = {"PageSize": MOST_ALERTS, **({"PhoneNumber": number} if number else {})}
    path = f"/Accounts/{case.config.twilio_account_sid}/IncomingPhoneNumbers.json"
    try:
        page = await get(case, lambda client: client.api.v2010.fetch("GET", path, params=query))
    except TwilioRefused as exc:
        return [warning(f"the account's numbers can't be listed: {exc}", "the list of numbers", "Try again")]
    except TwilioUnreachableError as exc:
        return [no_way(exc)]
    owned = [entry for entry in page.get("incoming_phone_numbers", []) if isinstance(entry, dict)]
    if number:
        owned = [entry for entry in owned if entry.get("phone_number") == number]
        if not owned:
            found = f"TWILIO_PHONE_NUMBER ({mask_number(number)}) does not belong to this account"
            do = "Correct it in .env: the Twilio console lists the account's numbers"
            return [wrong(found, "one of the account's numbers", do)]
        return _judge(case, owned[0])
    return _judge_all(case, owned)


def _judge_all(case: Case, owned: Sequence[Mapping[str, Any]]) -> Sequence[Finding]:
    ours = [entry for entry in owned if _same(_text(entry, "voice_url"), f"{case.config.base_url}/incoming-call")]
    if ours:
        return [finding for entry in ours for finding in _judge(case, entry)]
    if len(owned) == 1:
        return _judge(case, owned[0])
    found = f"none of the account's {len(owned)} numbers has the voice webhook {case.config.base_url}/incoming-call"
    return [wrong(found, "a number with this voice webhook", f"Set it {NUMBERS}")]


def _judge(case: Case, entry: Mapping[str, Any]) -> list[Finding]:
    base, number = case.config.base_url, mask_number(_text(entry, "phone_number"))
    wanted = f"{base}/incoming-call"
    if not (entry.get("capabilities") or {}).get("voice", True):
        found = f"{number} can't be called, because it has no voice capability"
        return [wrong(found, "a number with voice", "Buy a number with voice")]
    for name, what in (("trunk_sid", "a SIP trunk"), ("voice_application_sid", "a TwiML application")):
        if entry.get(name):
            found = f"calls to {number} go to {what} ({entry[name]}), not to its webhook"
            return [wrong(found, f"the voice webhook {wanted}", f"Have incoming calls go to it {NUMBERS}")]
    url = _text(entry, "voice_url")
    if not _same(url, wanted):
        found = f"the voice webhook of {number} is {shown(url) if url else 'not set'}{_remark(case, url)}"
        return [wrong(found, wanted, f"Set the number's voice webhook {NUMBERS}")]
    findings = [ok(f"the voice webhook of {number} is {wanted}")]
    if case.config.fallback_dial is not None and f"{PROOF}={case.config.edge_proof}" not in url:
        found = f"the voice webhook of {number} does not prove to nginx that requests come from Twilio"
        why = "the proof in its address: without it, FALLBACK_DIAL is not rung while no backend answers"
        findings.append(warning(found, why, "Run scripts/setup.sh number"))
    if _text(entry, "voice_method") not in ("", "POST"):
        found = f"the voice webhook uses HTTP {entry['voice_method']}, which puts phone numbers into logs on the way"
        findings.append(warning(found, "HTTP POST", f"Change it {NUMBERS}"))
    status = _text(entry, "status_callback")
    if not _same(status, f"{base}/call-status"):
        found = f"the number's status callback is {shown(status) if status else 'not set'}"
        why = f"{base}/call-status, so that a call that ends before its stream starts is cleaned up at once"
        findings.append(warning(found, why, f"Set it {NUMBERS}"))
    return [*findings, *_fallback(case, _text(entry, "voice_fallback_url"))]


def _fallback(case: Case, url: str) -> list[Finding]:
    """Judge the URL that Twilio requests when a call's webhook fails. It may well be on another machine."""
    why = f"{case.config.base_url}/call-interrupted, or another https:// URL, so that interrupted calls can be resumed"
    if not url:
        return [warning("the number has no fallback URL", why, f"Set it {NUMBERS}")]
    remark = _remark(case, url) or ("" if url.startswith("https://") else ", which is not encrypted")
    return [warning(f"the number's fallback URL is {shown(url)}{remark}", why, f"Set it {NUMBERS}")] if remark else []


def _same(url: str, wanted: str) -> bool:
    """Whether two URLs are the same but for the fragment (Twilio's connection overrides) and the proof (for nginx)."""
    return re.sub(f"[?]{PROOF}=[0-9a-f]*$", "", urldefrag(url).url) == wanted


def _remark(case: Case, url: str) -> str:
    host = urlsplit(url).hostname or ""
    if is_tunnel_name(host) and host != case.host:
        return ", an old tunnel's address"
    if host == case.host and url.startswith("http://"):
        return ", which is not encrypted"
    return ""


async def alerts(case: Case) -> Sequence[Finding]:
    """The errors that Twilio logged in the last 24 hours, by code."""
    if (why := why_not(case)) is not None:
        return [skipped(why)]
    since = datetime.fromtimestamp(case.world.now(), UTC) - LOOK_BACK
    query = {"LogLevel": "error", "StartDate": f"{since:%Y-%m-%dT%H:%M:%SZ}", "PageSize": MOST_ALERTS}
    try:
        page = await get(case, lambda client: client.monitor.v1.fetch("GET", "/Alerts", params=query))
    except TwilioError as exc:
        return [skipped(f"Twilio's error log can't be read: {exc}")]
    noted = [entry for entry in page.get("alerts", []) if isinstance(entry, dict)]
    if not noted:
        return [ok("Twilio logged no error in the last 24 hours")]
    counts = Counter(_text(entry, "error_code") for entry in noted)
    newest = {code: max(_text(e, "date_created") for e in noted if _text(e, "error_code") == code) for code in counts}
    return [_alert(code, count, newest[code]) for code, count in counts.most_common(MOST_SHOWN)]


def _alert(code: str, count: int, newest: str) -> Finding:
    number = int(code) if code.isdecimal() else 0
    meaning, advice = MEANINGS.get(number) or _OTHER_CODES.get(number) or ("see Twilio's page on this code", CONSOLE)
    times = "once" if count == 1 else f"{count} times"
    found = f"Twilio logged error {code} {times} in the last 24 hours, last at {newest or 'an unknown time'}"
    do = f"{advice[:1].upper()}{advice[1:]}. https://www.twilio.com/docs/api/errors/{code}"
    return warning(f"{found}: {meaning}", "no errors; ignore those from before you fixed something", do)


def _text(entry: Mapping[str, Any], name: str) -> str:
    return str(entry.get(name) or "")
