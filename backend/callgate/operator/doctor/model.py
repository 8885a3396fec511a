"""The model's server: whether the key is valid, and whether the model exists, and until when.

Source: https://platform.openai.com/docs/api-reference/models. A model's entry gives its ``shutdown_date``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from callgate.core.masking import mask_number
from callgate.operator.ask import UnreachableError

from .finding import Finding, ok, skipped, warning, wrong
from .world import OPENAI_API, Case

NOTICE: Final = timedelta(days=90)
KEYS_PAGE: Final = "https://platform.openai.com/api-keys"
DEFAULT: Final = "gpt-realtime-2.1"
_BILLING: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached", "account_deactivated"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A model that serves calls. ``said``: what names it, and how; ``change``: how to choose another one."""

    name: str
    said: str
    change: str


async def key(case: Case) -> Sequence[Finding]:
    """Whether OpenAI accepts the key. What OpenAI says about the models is kept for `models`."""
    config = case.config
    if config.uses_line_check:
        return [skipped("no key is set, so the line check answers calls")]
    if config.openai_api_key is None or config.openai_realtime_url is not None:
        return [skipped("the model's server is not OpenAI's; Readiness shows whether the backend can reach it")]
    names = list(dict.fromkeys(asked.name for asked in _asked(case)))
    try:
        answers = await asyncio.gather(*(_ask(case, name) for name in names))
    except UnreachableError as exc:
        do = "Check this machine's network, and https://status.openai.com: every call needs OpenAI"
        return [wrong(f"OpenAI can't be reached from here: {exc}", "an answer from OpenAI", do)]
    refusals: list[Finding] = []
    for name, (status, body) in zip(names, answers, strict=True):
        if (finding := _refusal(status, body)) is not None:
            refusals.append(finding)
        else:
            case.models[name] = {**body, "status": status}
    return list(dict.fromkeys(refusals)) or [ok("OpenAI accepts the key")]


def _refusal(status: int, body: Mapping[str, Any]) -> Finding | None:
    error = body.get("error")
    code = str(error.get("code") or "") if isinstance(error, dict) else ""
    if code in _BILLING:
        do = "Add credit, or raise the limit: https://platform.openai.com/settings/organization/billing"
        return wrong(f"OpenAI refuses the key because of billing ({code})", "an account with credit", do)
    if status == 401:
        found = f"OpenAI does not accept OPENAI_API_KEY{f' ({code})' if code else ''}: it is wrong, expired or revoked"
        return wrong(found, "a valid key", f"Create one at {KEYS_PAGE}, set it in .env, and restart the backend")
    if status == 403:
        do = "Permit the key's project to read models and to use the Realtime API"
        found = f"OPENAI_API_KEY is not permitted to read models{f' ({code})' if code else ''}"
        return wrong(found, "a key with that permission", do)
    if status == 429:
        do = "Check the account's limits: https://platform.openai.com/settings/organization/limits"
        return warning("OpenAI says that this account sends too many requests", "limits that leave room for calls", do)
    if status >= 500:
        do = "Check https://status.openai.com, and try again"
        return warning(f"OpenAI answers with status {status}", "an answer about the key and the model", do)
    return None


async def models(case: Case) -> Sequence[Finding]:
    """Whether the models exist, and until when."""
    if not case.models:
        return [skipped("OpenAI said nothing about the model")]
    return [_judge(case, asked) for asked in _asked(case)]


def _judge(case: Case, asked: Asked) -> Finding:
    if (told := case.models.get(asked.name)) is None:
        return skipped(f"OpenAI said nothing about {asked.name}")
    if told["status"] == 404:
        do = f"{asked.change}; or give the key's project access to this model"
        found = f"{asked.said}, but OpenAI has no such model for this key"
        return wrong(found, "a realtime model that the key's project may use", do)
    end = _date(told.get("shutdown_date"))
    if end is None:
        return ok(f"{asked.name} is available")
    left = end - datetime.fromtimestamp(case.world.now(), UTC)
    if left <= timedelta(0):
        found = f"{asked.said}, which was shut down on {end:%Y-%m-%d}"
        return wrong(found, "a model that is still available", asked.change)
    if left < NOTICE:
        found = f"{asked.said}, which will be shut down on {end:%Y-%m-%d}"
        return warning(found, "a model that stays available", asked.change)
    return ok(f"{asked.name} is available, until {end:%Y-%m-%d}")


def _date(value: object) -> datetime | None:
    """Read a date, given in ISO 8601 or as UNIX time."""
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        when = datetime.fromisoformat(str(value or ""))
    except (ValueError, OverflowError, OSError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _asked(case: Case) -> list[Asked]:
    """Return the models in the settings, and those of agents with a model of their own."""
    config = case.config
    both = {"OPENAI_MODEL": config.openai_model, "OPENAI_FALLBACK_MODEL": config.openai_fallback_model}
    asked = [
        Asked(name, f"{setting}={name}", f"Set {setting}={DEFAULT} in .env, and restart the backend")
        for setting, name in both.items()
        if name
    ]
    plans = case.agents.plans() if case.agents is not None else {}
    own: dict[str, str] = {}  # model: the first agent that uses it; others may inherit it from that one
    for who, plan in plans.items():
        if plan.agent.model:
            own.setdefault(plan.agent.model, mask_number(who) if who.startswith("+") else who)
    change = f'Set model = "{DEFAULT}" for it in the agents file, and restart the backend'
    return asked + [Asked(name, f"the agent {who} uses the model {name}", change) for name, who in own.items()]


async def _ask(case: Case, name: str) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {case.config.openai_api_key}"}
    url, tls = f"{OPENAI_API}/v1/models/{quote(name, safe='')}", case.world.trust_companies()
    answer = await case.world.ask("GET", url, tls=tls, headers=headers)
    return answer.status, answer.document or {}
