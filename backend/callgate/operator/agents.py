"""``callgate agents check``: whether the agents file is correct, and what each agent in it is and does."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from callgate.agents.book import load_agents, summary
from callgate.agents.hours import WEEKDAYS
from callgate.agents.plan import AgentPlan, Agents, AnswerWith, SayClosed
from callgate.agents.problems import AgentsError
from callgate.config.settings import Config
from callgate.core.protocols.turn_detection import SemanticVad, ServerVad

DONE: Final = 0
NOT_DONE: Final = 1


def add_parser(commands: Any) -> None:
    """Add ``agents`` and its verb to the subparsers of the ``callgate`` command."""
    parser = commands.add_parser("agents", help="check the agents file")
    verbs = parser.add_subparsers(dest="verb", required=True)
    checking = verbs.add_parser("check", help="show what is wrong with the file, or what each agent is and does")
    checking.add_argument("file", metavar="FILE", nargs="?", type=Path, help="the file (default: AGENTS_FILE)")
    checking.add_argument("--json", action="store_true", help="print JSON, and nothing else")
    checking.add_argument("--env-file", default=".env", help="the file with the settings that the environment lacks")
    checking.set_defaults(run=_check)


def _check(args: argparse.Namespace) -> int:
    config = Config.load(env_file=args.env_file)
    file = str(args.file or config.agents_file)
    try:
        agents = load_agents(config, args.file)
    except AgentsError as exc:
        if args.json:
            found = [{"line": each.line or None, "key": each.key, "problem": each.what} for each in exc.found]
            _print_json({"ok": False, "file": file, "problems": found})
        else:
            print("\n".join(exc.problems))
        return NOT_DONE
    told = {name: _told(plan, config) for name, plan in agents.plans().items()}
    if args.json:
        _print_json({"ok": True, "file": agents.source or None, "agents": told})
    else:
        print("\n".join(_lines(agents, told)))
    return DONE


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _lines(agents: Agents, told: dict[str, dict[str, Any]]) -> Iterable[str]:
    yield f"{summary(agents)}."
    for name, values in told.items():
        yield ""
        yield name
        width = max(map(len, values))
        for key, value in values.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"  {key:<{width}}  {text}"


def _told(plan: AgentPlan, config: Config) -> dict[str, Any]:
    """Return what an agent is and does, for people. Settings without a value, and secrets, are left out."""
    agent, tools = plan.agent, plan.agent.toolbox
    values = {
        "instructions": f"{len(agent.instructions)} characters",
        "greeting": agent.greeting,
        "model": agent.model or config.openai_model,
        "voice": agent.voice,
        "language": agent.language,
        "time_zone": plan.time_zone.key if plan.hours else None,
        "recording_consent": agent.consent,
        "turn_detection": _turn_detection(agent.turn_detection),
        "noise_reduction": agent.noise_reduction,
        "idle_seconds": round(agent.idle),
        "max_call_seconds": round(agent.longest),
        "tools": [*tools.built_in, *(tool.name for tool in tools.http)],
        "mcp": [server.label for server in tools.mcp],
        "transfer": [f"{each.name} {each.number}" for each in tools.transfers],
        "keys": [f"{key} {bound.tool}" for key, bound in tools.keys.items()],
        "hours": _hours(plan),
        "when_closed": _when_closed(plan),
    }
    return {key: value for key, value in values.items() if value not in (None, [])}


def _turn_detection(vad: ServerVad | SemanticVad) -> str:
    return f"semantic_vad, {vad.eagerness}" if isinstance(vad, SemanticVad) else "server_vad"


def _hours(plan: AgentPlan) -> list[str]:
    if plan.hours is None:
        return []
    return [
        f"{WEEKDAYS[day]} {' '.join(f'{span.start:%H:%M}-{span.end:%H:%M}' for span in spans)}"
        for day, spans in plan.hours.spans.items()
        if spans
    ]


def _when_closed(plan: AgentPlan) -> str | None:
    match plan.when_closed:
        case AnswerWith(agent):
            return f"{agent} answers"
        case SayClosed(sentence):
            return f"says: {sentence}"
    return "answers all the same" if plan.hours else None
