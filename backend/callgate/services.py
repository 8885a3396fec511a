"""What the routes use: one of each, for the life of the application."""

from __future__ import annotations

from typing import Any

from twilio.http import HttpClient

from .config import Config
from .outbound import TestCalls
from .switchboard import Switchboard
from .upstream import Upstream


class Services:
    """The switchboard, the test calls, and whether all is well."""

    def __init__(self, config: Config, upstream: Upstream, http_client: HttpClient | None) -> None:
        self.switchboard = Switchboard(config, upstream)
        self.test_calls = TestCalls(config, http_client)

    def readiness(self) -> dict[str, Any]:
        """Whether a call would be answered now. ``problems``: one sentence each."""
        registry = self.switchboard.registry
        problems = []
        if registry.draining:
            problems.append("The service is stopping: it takes no more calls.")
        if self.switchboard.pulse.is_late:
            late = self.switchboard.pulse.lateness * 1000
            problems.append(f"The process is overloaded, its event loop late by up to {late:.0f} ms: give it more cores.")
        if failure := self.switchboard.upstream.failure:
            problems.append(f"The last model session could not be opened: {failure}")
        return {"ready": not problems, "live_calls": registry.live, "problems": problems}
