"""Twilio's account, asked over its REST API: the credentials, where the number leads, and what went wrong lately.

Sources: https://www.twilio.com/docs/iam/api/account, …/docs/phone-numbers/api/incomingphonenumber-resource,
…/docs/usage/monitor-alert. Nothing is changed.
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
NUMBERS: Final = "scripts/setup.sh sets it, or the Twilio console, under Phone Numbers"
CONSOLE: Final = "See the console's Monitor, Logs, Errors"

_OTHER_CODES: Final = {
    13227: ("a call to a country that this account may not call", "allow it under Voice, Geographic permissions"),
    20003: ("a wrong auth token was used", "check who uses this account"),
    20429: ("too many requests were made", "ask less often"),
    21210: ("the calling number is not this account's", "check TWILIO_PHONE_NUMBER"),
    21211: ("the number called is none", "check the number"),
    21215: ("a call to a country that this account may not call", "allow it under Voice, Geographic permissions"),
    21219: ("a trial account calls verified numbers only", "verify the number, or upgrade the account"),
    21220: ("a call that was over was to be changed", "nothing, where it is rare"),
}


async def account(case: Case) -> Sequence[Finding]:
    """Whether Twilio knows the account and its token, and lets it call."""
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
        do = "The console says why: a balance of nothing, or a violation of its terms"
        return [wrong(f"the account is {status or 'in no known state'}", "an active account", do)]
    if kind == "Trial":
        return [
            warning(
                "the account is a trial: calls end after ten minutes, begin with Twilio's own words, and only "
                "verified numbers can be rung",
                "a paid account, for callers in earnest",
                "Upgrade it in the console, or live with it while you test",
            )
        ]
    return [ok("Twilio knows account and auth token, and the account is active")]


def _unknown(exc: TwilioRefused) -> Finding:
    if exc.status in (401, 403) or exc.code in (20003, 20008):
        return wrong(
            f"Twilio does not know this pair of TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN ({exc})",
            "the auth token of this account: it signs every request that comes in",
            "Copy both from the Twilio console into .env, and restart the backend",
        )
    if exc.status == 404:
        do = "Copy TWILIO_ACCOUNT_SID from the Twilio console into .env, and restart the backend"
        return wrong(f"Twilio knows no such account ({exc})", "your account", do)
    return warning(f"Twilio's REST API answers {exc}", "an answer", "See https://status.twilio.com, and try again")


async def numbers(case: Case) -> Sequence[Finding]:
    """Where the number's calls go: its webhooks against BASE_URL."""
    if (why := why_not(case)) is not None:
        return [skipped(why)]
    number = case.config.twilio_phone_number
    query = {"PageSize": MOST_ALERTS, **({"PhoneNumber": number} if number else {})}
    path = f"/Accounts/{case.config.twilio_account_sid}/IncomingPhoneNumbers.json"
    try:
        page = await get(case, lambda client: client.api.v2010.fetch("GET", path, params=query))
    except TwilioRefused as exc:
        return [warning(f"the account's numbers can't be listed: {exc}", "the list", "Try again")]
    except TwilioUnreachableError as exc:
        return [no_way(exc)]
    owned = [entry for entry in page.get("incoming_phone_numbers", []) if isinstance(entry, dict)]
    if number:
        owned = [entry for entry in owned if entry.get("phone_number") == number]
        if not owned:
            found = f"TWILIO_PHONE_NUMBER ({mask_number(number)}) is not a number of this account"
            return [wrong(found, "a number of the account", "Correct it in .env: the console lists them")]
        return _judge(case, owned[0])
    return _judge_all(case, owned)


def _judge_all(case: Case, owned: Sequence[Mapping[str, Any]]) -> Sequence[Finding]:
    ours = [entry for entry in owned if _same(_text(entry, "voice_url"), f"{case.config.base_url}/incoming-call")]
    if ours:
        return [finding for entry in ours for finding in _judge(case, entry)]
    if len(owned) == 1:
        return _judge(case, owned[0])
    found = f"none of the account's {len(owned)} numbers leads to {case.config.base_url}/incoming-call"
    return [wrong(found, "a number that does", f"Set its voice webhook: {NUMBERS}")]


def _judge(case: Case, entry: Mapping[str, Any]) -> list[Finding]:
    base, number = case.config.base_url, mask_number(_text(entry, "phone_number"))
    wanted = f"{base}/incoming-call"
    if not (entry.get("capabilities") or {}).get("voice", True):
        return [wrong(f"{number} can't be called: it has no voice", "a number with voice", "Buy one with voice")]
    for name, what in (("trunk_sid", "a SIP trunk"), ("voice_application_sid", "a TwiML application")):
        if entry.get(name):
            found = f"calls of {number} go to {what} ({entry[name]}), and not to its webhook"
            return [wrong(found, f"the voice webhook {wanted}", f"Choose Webhook for incoming calls: {NUMBERS}")]
    url = _text(entry, "voice_url")
    if not _same(url, wanted):
        found = f"calls of {number} go to {shown(url) if url else 'no webhook at all'}{_remark(case, url)}"
        return [wrong(found, wanted, f"Set the number's voice webhook: {NUMBERS}")]
    findings = [ok(f"calls of {number} come to {wanted}")]
    if case.config.fallback_dial is not None and f"{PROOF}={case.config.edge_proof}" not in url:
        found = f"the address that {number} is given does not show nginx that it is Twilio who asks"
        why = "the proof in it: without it, FALLBACK_DIAL is not rung for who calls while no backend answers"
        findings.append(warning(found, why, "scripts/setup.sh number"))
    if _text(entry, "voice_method") not in ("", "POST"):
        found = f"the voice webhook is asked by {entry['voice_method']}, which writes numbers into every log on the way"
        findings.append(warning(found, "HTTP POST", f"Change it: {NUMBERS}"))
    status = _text(entry, "status_callback")
    if not _same(status, f"{base}/call-status"):
        found = f"the number's status callback is {shown(status) if status else 'not set'}"
        why = f"{base}/call-status: a call that ends before its stream is forgotten at once"
        findings.append(warning(found, why, f"Set it: {NUMBERS}"))
    return [*findings, *_fallback(case, _text(entry, "voice_fallback_url"))]


def _fallback(case: Case, url: str) -> list[Finding]:
    """What Twilio asks when a request of a call fails. It may well be another machine's."""
    why = f"{case.config.base_url}/call-interrupted, or another machine's over https://: it takes up calls that fail"
    if not url:
        return [warning("the number has no fallback URL", why, f"Set it: {NUMBERS}")]
    remark = _remark(case, url) or ("" if url.startswith("https://") else ", which is not encrypted")
    return [warning(f"the number's fallback URL is {shown(url)}{remark}", why, f"Set it: {NUMBERS}")] if remark else []


def _same(url: str, wanted: str) -> bool:
    """The fragment is Twilio's own (connection overrides), and not part of the address; the proof is for nginx."""
    return re.sub(f"[?]{PROOF}=[0-9a-f]*$", "", urldefrag(url).url) == wanted


def _remark(case: Case, url: str) -> str:
    host = urlsplit(url).hostname or ""
    if is_tunnel_name(host) and host != case.host:
        return ", an old tunnel's address"
    if host == case.host and url.startswith("http://"):
        return ", which is not encrypted"
    return ""


async def alerts(case: Case) -> Sequence[Finding]:
    """What Twilio noted as errors in the last day, by code."""
    if (why := why_not(case)) is not None:
        return [skipped(why)]
    since = datetime.fromtimestamp(case.world.now(), UTC) - LOOK_BACK
    query = {"LogLevel": "error", "StartDate": f"{since:%Y-%m-%dT%H:%M:%SZ}", "PageSize": MOST_ALERTS}
    try:
        page = await get(case, lambda client: client.monitor.v1.fetch("GET", "/Alerts", params=query))
    except TwilioError as exc:
        return [skipped(f"Twilio's Monitor can't be asked: {exc}")]
    noted = [entry for entry in page.get("alerts", []) if isinstance(entry, dict)]
    if not noted:
        return [ok("Twilio noted no error in the last 24 hours")]
    counts = Counter(_text(entry, "error_code") for entry in noted)
    newest = {code: max(_text(e, "date_created") for e in noted if _text(e, "error_code") == code) for code in counts}
    return [_alert(code, count, newest[code]) for code, count in counts.most_common(MOST_SHOWN)]


def _alert(code: str, count: int, newest: str) -> Finding:
    number = int(code) if code.isdecimal() else 0
    meaning, advice = MEANINGS.get(number) or _OTHER_CODES.get(number) or ("see Twilio's page of the code", CONSOLE)
    times = "once" if count == 1 else f"{count} times"
    found = f"Twilio noted error {code} {times} in the last 24 hours, last at {newest or 'a time it does not say'}"
    do = f"{advice[:1].upper()}{advice[1:]}. https://www.twilio.com/docs/api/errors/{code}"
    return warning(f"{found}: {meaning}", "no error; one from before a change needs nothing more", do)


def _text(entry: Mapping[str, Any], name: str) -> str:
    return str(entry.get(name) or "")
