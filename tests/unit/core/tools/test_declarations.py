"""What the model is told about an agent's tools."""

from __future__ import annotations

import json

import pytest
from callgate.core.agent import Agent
from callgate.core.protocols.realtime import UpdateSession
from callgate.core.protocols.realtime_json import encode
from callgate.core.protocols.turn_detection import SemanticVad, ServerVad
from callgate.core.tools.declarations import declared
from callgate.core.tools.toolbox import BUILT_IN, HttpTool, RemoteTools, Tool, Toolbox, Transfer
from callgate.core.turns.briefing import opening
from callgate.tools.schemas import check_schema
from support.linecheck_driver import Driver
from support.realtime_types import validate_client_event

EVERYTHING = Toolbox(
    BUILT_IN,
    (Transfer("boss", "+15551230009", "Anything hard."), Transfer("accounts", "+15551230008")),
    (HttpTool("order_status", "How it stands.", {"type": "object", "properties": {}}, "https://h.example/"),),
    (
        RemoteTools("crm", "https://h.example/mcp", "Customers.", "s3cret", ("find",)),
        RemoteTools("x", "https://h.example/"),
    ),
)
SESSIONS = [
    opening(Agent("x", "marin", "Hello!", toolbox=EVERYTHING)),
    opening(Agent("x", "marin", "Hello!", transcription="gpt-transcribe", language="de-DE")),
    UpdateSession("x", "marin", turn_detection=ServerVad(0.7, 300, 700), noise_reduction="near_field"),
    UpdateSession("x", "marin", turn_detection=SemanticVad("low"), noise_reduction="far_field"),
]


def test_all_tools_are_declared_in_the_order_of_the_toolbox():
    names = [tool.name if isinstance(tool, Tool) else tool.label for tool in declared(EVERYTHING)]
    assert names == [*BUILT_IN, "order_status", "crm", "x"]


def test_an_agent_without_tools_has_none():
    assert declared(Toolbox(())) == ()


@pytest.mark.parametrize(
    "tool", [tool for tool in declared(EVERYTHING) if isinstance(tool, Tool)], ids=lambda t: t.name
)
def test_every_function_has_a_schema_of_its_arguments(tool):
    assert check_schema(tool.parameters) is None


def test_the_model_knows_whom_it_can_reach_and_no_number():
    (transfer,) = (tool for tool in declared(EVERYTHING) if isinstance(tool, Tool) and tool.name == "transfer_call")
    assert transfer.parameters["properties"]["to"]["enum"] == ["boss", "accounts"]
    assert "boss: Anything hard.; accounts" in transfer.description
    assert "+1555" not in repr(declared(EVERYTHING))


def test_a_remote_server_is_asked_without_asking_and_its_token_is_in_no_repr():
    remote = json.loads(encode(SESSIONS[0]))["session"]["tools"][-2]
    assert remote == {
        "type": "mcp",
        "server_label": "crm",
        "server_url": "https://h.example/mcp",
        "server_description": "Customers.",
        "authorization": "s3cret",
        "allowed_tools": ["find"],
        "require_approval": "never",
    }
    assert "s3cret" not in repr(RemoteTools("crm", "https://h.example/", authorization="s3cret"))


@pytest.mark.parametrize("session", SESSIONS)
def test_a_session_is_what_the_sdk_would_send_and_the_line_check_takes(session):
    event = json.loads(encode(session))
    validate_client_event(event)
    driver = Driver()
    driver.send("session.update", session=event["session"])
    assert not driver.of("error")
    updated = driver.of("session.updated")[-1]
    assert updated["session"]["tools"] == event["session"]["tools"]


def test_a_remote_server_without_a_label_is_refused_by_the_line_check():
    driver = Driver()
    driver.send("session.update", session={"type": "realtime", "tools": [{"type": "mcp", "server_url": "https://h/"}]})
    assert driver.of("error")[0]["error"]["param"] == "session.tools[0].server_label"
