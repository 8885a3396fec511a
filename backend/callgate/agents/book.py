"""The agents of a running service: read at the start, and again on SIGHUP."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from pathlib import Path

from callgate.config.settings import Config
from callgate.core.agent import Agent
from callgate.errors import ConfigError
from callgate.logs.setup import mask_also

from .clips import one_moment
from .parties import Parties
from .plan import AgentPlan, Agents, Closed
from .problems import AgentsError, Problem
from .read import read_agents

log = logging.getLogger(__name__)

FILE_LIMIT = 1024 * 1024  # bytes


class AgentBook:
    """The agents that answer calls. ``agents``: as last read."""

    def __init__(self, config: Config) -> None:
        """Read the file. Raises `AgentsError` if it can't be used."""
        self._config = config
        self.agents = load_agents(config)
        mask_also(self.agents.secrets)
        log.info("%s", summary(self.agents))

    async def reload(self) -> None:
        """Read the file again, for calls that come from now on. If it can't be used, or is gone, nothing changes."""
        try:
            agents = await asyncio.to_thread(load_agents, self._config)
        except ConfigError as exc:
            for problem in exc.problems:
                log.error("%s", problem)
            log.error("The agents stay as they were: %d problems were found in the file", len(exc.problems))
            return
        if self.agents.source and not agents.source:
            log.error("The agents stay as they were: %s is gone", self.agents.source)
            return
        mask_also(agents.secrets)
        self.agents = agents
        log.info("%s. Calls from now on have them", summary(agents))

    def answer(self, parties: Parties, at: datetime) -> Agent | Closed:
        """Return who answers a call that comes at the time ``at``, which is timezone-aware."""
        return self.agents.answer(parties, at)

    def agent(self, parties: Parties, at: datetime) -> Agent:
        """Return the agent of a call that is on the line already and came at the time ``at``."""
        return self.agents.agent(parties, at)


def load_agents(config: Config, path: Path | None = None) -> Agents:
    """Return the agents of ``AGENTS_FILE``, or of ``path``. If the default file does not exist, return the one agent
    that the settings describe. Raises `AgentsError`."""
    file = path or config.agents_file
    base = agent_of(config)
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_LIMIT + 1)
    except FileNotFoundError:
        if path is None and file == Config().agents_file:
            return Agents(AgentPlan(base))
        raise AgentsError(str(file), [Problem(0, "", "there is no such file (AGENTS_FILE)")]) from None
    except OSError as exc:
        raise AgentsError(str(file), [Problem(0, "", f"it can't be read: {exc.strerror}")]) from exc
    if len(content) > FILE_LIMIT:
        raise AgentsError(str(file), [Problem(0, "", f"it is larger than {FILE_LIMIT // 1024} kB")])
    try:
        document = content.decode("utf-8-sig")  # editors on Windows write a byte order mark
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise AgentsError(str(file), [Problem(line, "", "it is not UTF-8 text: save it as UTF-8")]) from exc
    return read_agents(document.replace("\r\n", "\n"), str(file), base, config.values)


def agent_of(config: Config) -> Agent:
    """Return the agent that the settings describe, which provides the defaults for the file."""
    return Agent(
        _verbatim(config.instructions),
        config.openai_voice,
        _verbatim(config.greeting),
        transcription=config.transcription_model,
        one_moment=one_moment(),
        idle=config.idle_seconds,
        longest=config.max_call_seconds,
    )


def summary(agents: Agents) -> str:
    """Return one sentence that says which agents there are."""
    if not agents.source:
        return "One agent answers every number: the settings make it"
    counts = f"{len(agents.numbers)} numbers of their own, {len(agents.named)} that answer for others"
    return f"Agents from {agents.source}: the default, {counts}"


def _verbatim(text: str) -> str:
    """Escape a text of the settings, which has no variables, for use as a template."""
    return text.replace("{", "{{").replace("}", "}}")
