"""Converts the validated tables of the file to the values that a call is served with. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from callgate.core.agent import Agent
from callgate.core.protocols.turn_detection import SemanticVad, ServerVad
from callgate.core.tools.toolbox import HANG_UP, Bound, RemoteTools, Toolbox, Transfer
from callgate.core.units import SECONDS

from .hours import WEEKDAYS, Hours, Span
from .plan import UTC, AgentPlan, AnswerWith, SayClosed
from .schema import HoursTable, SemanticVadTable, ServerVadTable, WhenClosedTable


def plan_of(stated: Mapping[str, Any], base: Agent, name: str, *, has_hours: bool = True) -> AgentPlan:
    """Return the plan of an agent with these keys. ``base``: provides the defaults. ``has_hours``: false for an agent
    that answers for others, at their times."""
    time_zone = ZoneInfo(stated["time_zone"]) if "time_zone" in stated else UTC
    hours: HoursTable | None = stated.get("hours") if has_hours else None
    return AgentPlan(
        _agent_of(stated, base, name),
        time_zone,
        _hours_of(hours, time_zone) if hours else None,
        _when_closed_of(hours.when_closed) if hours else None,
    )


def toolbox_of(stated: Mapping[str, Any]) -> Toolbox:
    """Return the tools of an agent with these keys."""
    return Toolbox(
        tuple(stated.get("tools", (HANG_UP,))),
        tuple(
            Transfer(each.name, each.number, each.about, each.ring_seconds * SECONDS)
            for each in stated.get("transfer", ())
        ),
        tuple(each.tool() for each in stated.get("http", ())),
        tuple(
            RemoteTools(each.label, each.url, each.description, each.authorization, tuple(each.allowed_tools))
            for each in stated.get("mcp", ())
        ),
        {key: Bound(bound.tool, bound.model_extra or {}) for key, bound in stated.get("keys", {}).items()},
    )


def _agent_of(stated: Mapping[str, Any], base: Agent, name: str) -> Agent:
    noise_reduction = stated.get("noise_reduction", base.noise_reduction)
    return replace(
        base,
        name=name,
        instructions=stated.get("instructions", base.instructions),
        greeting=stated.get("greeting", base.greeting),
        voice=stated.get("voice", base.voice),
        model=stated.get("model", base.model),
        language=stated.get("language", base.language),
        consent=stated.get("recording_consent") or None,
        idle=stated.get("idle_seconds", base.idle) * SECONDS,
        longest=stated.get("max_call_seconds", base.longest) * SECONDS,
        turn_detection=_turn_detection_of(stated.get("turn_detection")),
        noise_reduction=None if noise_reduction == "off" else noise_reduction,
        toolbox=toolbox_of(stated),
    )


def _turn_detection_of(table: ServerVadTable | SemanticVadTable | None) -> ServerVad | SemanticVad:
    if isinstance(table, SemanticVadTable):
        return SemanticVad(table.eagerness)
    if table is None:
        return ServerVad()
    return ServerVad(table.threshold, table.prefix_padding_ms, table.silence_duration_ms)


def _hours_of(table: HoursTable, time_zone: ZoneInfo) -> Hours:
    spans = {day: tuple(map(Span.parse, getattr(table, name))) for day, name in enumerate(WEEKDAYS)}
    return Hours(time_zone, spans, frozenset(table.closed_on))


def _when_closed_of(table: WhenClosedTable | None) -> AnswerWith | SayClosed | None:
    if table is None:
        return None
    return AnswerWith(table.agent) if table.agent else SayClosed(table.say or "")
