"""The model's server: is the key good, does the model exist, and until when.

Source: https://platform.openai.com/docs/api-reference/models. A model's entry names its ``shutdown_date``.
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
    """A model that calls are served with. ``said``: by whom it is named; ``change``: how to name another."""

    name: str
    said: str
    change: str


async def key(case: Case) -> Sequence[Finding]:
    """Whether OpenAI takes the key. What it says of the models is kept for `models`."""
    config = case.config
    if config.uses_line_check:
        return [skipped("no key is set: the line check answers")]
    if config.openai_api_key is None or config.openai_realtime_url is not None:
        return [skipped("another server than OpenAI's answers; whether it does, the backend says")]
    names = list(dict.fromkeys(asked.name for asked in _asked(case)))
    try:
        answers = await asyncio.gather(*(_ask(case, name) for name in names))
    except UnreachableError as exc:
        do = "Look at this machine's network: each call needs it. https://status.openai.com"
        return [wrong(f"OpenAI can't be reached from here: {exc}", "an answer", do)]
    refusals: list[Finding] = []
    for name, (status, body) in zip(names, answers, strict=True):
        if (finding := _refusal(status, body)) is not None:
            refusals.append(finding)
        else:
            case.models[name] = {**body, "status": status}
    return list(dict.fromkeys(refusals)) or [ok("OpenAI takes the key")]


def _refusal(status: int, body: Mapping[str, Any]) -> Finding | None:
    error = body.get("error")
    code = str(error.get("code") or "") if isinstance(error, dict) else ""
    if code in _BILLING:
        do = "See https://platform.openai.com/settings/organization/billing: add credit, or raise the limit"
        return wrong(f"OpenAI refuses for want of money ({code})", "an account with credit", do)
    if status == 401:
        found = f"OpenAI does not take OPENAI_API_KEY{f' ({code})' if code else ''}: it is wrong, expired or revoked"
        return wrong(
            found, "a key that is valid", f"Make a new one at {KEYS_PAGE}, set it in .env, and restart the backend"
        )
    if status == 403:
        do = "Give the key's project the permission to read models and to use the Realtime API"
        return wrong(f"OPENAI_API_KEY may not do this{f' ({code})' if code else ''}", "a key that may", do)
    if status == 429:
        return warning("OpenAI has too many requests of this account", "room for calls", "See the account's limits")
    if status >= 500:
        return warning(f"OpenAI answers with status {status}", "an answer", "See https://status.openai.com")
    return None


async def models(case: Case) -> Sequence[Finding]:
    """Whether the models exist, and until when."""
    if not case.models:
        return [skipped("OpenAI says nothing of the model")]
    return [_judge(case, asked) for asked in _asked(case)]


def _judge(case: Case, asked: Asked) -> Finding:
    if (told := case.models.get(asked.name)) is None:
        return skipped(f"OpenAI says nothing of {asked.name}")
    if told["status"] == 404:
        do = f"{asked.change}; or give the key's project access to it"
        found = f"{asked.said}: OpenAI has no such model for this key"
        return wrong(found, "a realtime model that the key's project may use", do)
    end = _date(told.get("shutdown_date"))
    if end is None:
        return ok(f"{asked.name} is there")
    left = end - datetime.fromtimestamp(case.world.now(), UTC)
    if left <= timedelta(0):
        return wrong(f"{asked.said}, which was shut down on {end:%Y-%m-%d}", "a model that runs", asked.change)
    if left < NOTICE:
        return warning(f"{asked.said}, which is shut down on {end:%Y-%m-%d}", "a model that stays", asked.change)
    return ok(f"{asked.name} is there, until {end:%Y-%m-%d}")


def _date(value: object) -> datetime | None:
    """A date as ISO 8601, or as UNIX time."""
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        when = datetime.fromisoformat(str(value or ""))
    except (ValueError, OverflowError, OSError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _asked(case: Case) -> list[Asked]:
    """The settings' models, and each that an agent has for its own."""
    config = case.config
    both = {"OPENAI_MODEL": config.openai_model, "OPENAI_FALLBACK_MODEL": config.openai_fallback_model}
    asked = [
        Asked(name, f"{setting}={name}", f"Set {setting}={DEFAULT} in .env, and restart the backend")
        for setting, name in both.items()
        if name
    ]
    plans = case.agents.plans() if case.agents is not None else {}
    own: dict[str, str] = {}  # who has it first: the others may have it from there
    for who, plan in plans.items():
        if plan.agent.model:
            own.setdefault(plan.agent.model, mask_number(who) if who.startswith("+") else who)
    change = f'Give it model = "{DEFAULT}" in the agents\' file, and restart the backend'
    return asked + [Asked(name, f"the agent {who} has model {name}", change) for name, who in own.items()]


async def _ask(case: Case, name: str) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {case.config.openai_api_key}"}
    url, tls = f"{OPENAI_API}/v1/models/{quote(name, safe='')}", case.world.trust_companies()
    answer = await case.world.ask("GET", url, tls=tls, headers=headers)
    return answer.status, answer.document or {}
