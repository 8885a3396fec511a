"""docs/agents.md and agents.example.toml list exactly the keys that the file may have."""

from __future__ import annotations

import re

import pytest
from callgate.agents import agent_of
from callgate.agents.read import read_agents
from callgate.agents.schema import ALL_KEYS, AgentTable
from callgate.agents.variables import VARIABLES
from callgate.config.settings import Config
from callgate.core.tools.toolbox import BUILT_IN
from support.project import ROOT

PAGE = (ROOT / "docs/agents.md").read_text()
EXAMPLE = (ROOT / "agents/agents.example.toml").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def listed() -> set[str]:
    """Return the names in the first column of the page's tables."""
    rows = re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_the_page_lists_every_key_every_tool_every_variable_and_no_other():
    weekdays = {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
    variables = {f"{{{name}}}" for name in VARIABLES}
    tables = {"default"}  # in addition to number and agent, which are keys of other tables too
    assert listed() | weekdays | tables == {*ALL_KEYS, *BUILT_IN, *variables} | weekdays


@pytest.mark.parametrize("document", [EXAMPLE, *EXAMPLES])
def test_every_example_is_a_file_that_can_be_used(document):
    read_agents(document, "agents.toml", agent_of(Config()), {"ORDERS_TOKEN": "x", "CRM_TOKEN": "x"})


def test_the_page_has_examples():
    assert len(EXAMPLES) >= 3


def test_the_example_file_and_the_page_show_every_key_of_an_agent():
    for name in AgentTable.model_fields:
        assert re.search(rf"\b{name}\b", EXAMPLE + "".join(EXAMPLES)), name
