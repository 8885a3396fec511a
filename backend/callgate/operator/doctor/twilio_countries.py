"""Whether the account may call the countries it needs: https://www.twilio.com/docs/voice/api/dialingpermissions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from callgate.core.masking import mask_number
from callgate.network.twilio_rest import TwilioError

from .finding import Finding, ok, skipped, warning
from .twilio_api import get, why_not
from .world import Case

MOST_COUNTRIES: Final = "400"  # there are some 230 countries


async def permissions(case: Case) -> Sequence[Finding]:
    """Whether the account may call the countries of the numbers that the settings name."""
    if (why := why_not(case)) is not None:
        return [skipped(why)]
    config = case.config
    rung = [("FALLBACK_DIAL", number) for number in (config.fallback_dial,) if number]
    rung += [("TEST_CALL_TO", number) for number in config.test_call_to]
    if not rung:
        return [skipped("the settings name no number to call")]
    try:
        page = await get(
            case,
            lambda client: client.voice.v1.fetch(
                "GET", "/DialingPermissions/Countries", params={"PageSize": MOST_COUNTRIES}
            ),
        )
    except TwilioError as exc:
        return [skipped(f"the countries that the account may call can't be listed: {exc}")]
    countries = [entry for entry in page.get("content", []) if isinstance(entry, dict)]
    findings = [_denied(setting, number, _where(number, countries)) for setting, number in rung]
    return [finding for finding in findings if finding] or [ok("the account may call the numbers in the settings")]


def _denied(setting: str, number: str, where: Sequence[Mapping[str, Any]]) -> Finding | None:
    """Return a warning if none of the countries may be called. Several may share a code: then one suffices."""
    if not where or any(country.get("low_risk_numbers_enabled") for country in where):
        return None
    names = ", ".join(str(country.get("name", "")) for country in where)
    found = f"{setting} {mask_number(number)} is in {names}, which this account may not call (Twilio: 21215, 13227)"
    do = "Allow it in the Twilio console, under Voice, Settings, Geo permissions"
    return warning(found, "a country that it may call", do)


def _where(number: str, countries: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the countries with the longest code that the number begins with."""
    by_code: dict[str, list[Mapping[str, Any]]] = {}
    for country in countries:
        for code in country.get("country_codes") or ():
            by_code.setdefault(str(code).replace(" ", "").replace("-", "").lstrip("+"), []).append(country)
    fitting = [code for code in by_code if code and number[1:].startswith(code)]
    return by_code[max(fitting, key=len)] if fitting else []
