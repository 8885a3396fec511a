"""A call in which the model uses the owner's tools: they are called over TLS, as the agents file says, and the model
is told their results."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from callgate.peers.linecheck.realtime.response import Speech
from support.fake_openai import At, FakeOpenAI, Faults, Script, Send, asking, say, tone, tools
from support.service import config_for, running
from support.tool_server import ToolServer, tool_server

GREETING = tone(0.3, 440)
ONE_MOMENT = tone(0.2, 550)
ANSWER = tone(0.3, 660)
WORDS = tone(0.5, 300)
PAUSE = b"\xff" * 8000
SECRET = "sk-the-owners-secret"
AGENTS = """
[default]
instructions = "You look parcels up."
tools = ["hang_up"]

[[default.http]]
name = "find_parcel"
description = "Where a parcel is."
url = "https://localhost:PORT/{}"
headers = {{ Authorization = "Bearer ${{PARCEL_KEY}}" }}
timeout_seconds = 0.5
parameters = {{ properties = {{ number = {{ type = "string" }} }}, required = ["number"] }}

[[default.http]]
name = "find_out"
description = "Why it is late."
url = "https://localhost:PORT/missing"
method = "GET"
"""


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ToolServer]:
    async with tool_server(tmp_path, name="localhost") as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificates.ca))
        yield server


def settings_for(fake: FakeOpenAI, server: ToolServer, directory: Path, path: str = "echo", **changes: str):
    file = directory / "agents.toml"
    file.write_text(AGENTS.format(path).replace("PORT", str(server.port)))
    own = {"HTTP_TOOLS_ALLOW": f"localhost:{server.port}", "PARCEL_KEY": SECRET, "AGENTS_FILE": str(file)}
    return config_for(fake.url, directory, **{**own, **changes})


def outputs(fake: FakeOpenAI) -> list[str]:
    """Return the tool results that the model was told."""
    items = [event["item"] for event in fake.connections[0].received if event["type"] == "conversation.item.create"]
    return [item["output"] for item in items if item["type"] == "function_call_output"]


def script(*calls) -> Script:
    """Script a call: the caller is greeted, says something, hears that it is being looked up, and is told the
    result."""
    return Script((say(GREETING), tools(*calls, first=Speech(ONE_MOMENT, "Let me see.")), say(ANSWER)))


async def hears_the_answer(line) -> None:
    await line.hear(GREETING)
    await line.say(WORDS + PAUSE)
    await line.hear(GREETING + ONE_MOMENT + ANSWER)


async def test_two_tools_are_asked_at_once_and_the_model_answers_what_both_gave(fake, server, tmp_path, log):
    fake.script = script(asking("find_parcel", number="A 1"), asking("find_out", since="Monday"))
    async with running(settings_for(fake, server, tmp_path)) as service, service.stream() as line:
        await hears_the_answer(line)
    asked = {request.path: request for request in server.asked}
    assert json.loads(asked["/echo"].body) == {"number": "A 1"}
    assert asked["/echo"].headers["Authorization"] == f"Bearer {SECRET}"
    assert asked["/missing"].query == [("since", "Monday")]
    told = {next(iter(json.loads(output))): json.loads(output) for output in outputs(fake)}
    assert told["found"] == {"found": "three parcels"}
    assert told["error"]["error"].startswith("its server answered 404: no such parcel")
    assert SECRET not in log.getvalue()
    assert "Monday" not in log.getvalue()


async def test_arguments_that_do_not_fit_are_told_to_the_model_and_not_sent(fake, server, tmp_path):
    fake.script = script(asking("find_parcel", numbr="A 1"))
    async with running(settings_for(fake, server, tmp_path)) as service, service.stream() as line:
        await hears_the_answer(line)
    assert outputs(fake) == ['{"error": "\'number\' is a required property"}']
    assert server.connections == 0


async def test_a_server_that_does_not_answer_is_left_and_the_call_goes_on(fake, server, tmp_path):
    fake.script = script(asking("find_parcel", number="A 1"))
    async with running(settings_for(fake, server, tmp_path, "slow")) as service, service.stream() as line:
        await hears_the_answer(line)
    assert outputs(fake) == ['{"error": "its server did not answer within 0.5 s"}']


async def test_a_private_address_that_nobody_allowed_is_not_asked(fake, server, tmp_path, log: io.StringIO):
    fake.script = script(asking("find_parcel", number="A 1"))
    settings = settings_for(fake, server, tmp_path, HTTP_TOOLS_ALLOW="")
    async with running(settings) as service, service.stream() as line:
        await hears_the_answer(line)
    assert server.connections == 0
    assert "its server has a private address" in outputs(fake)[0]
    assert "WARNING - HTTP tool find_parcel: its server has a private address" in log.getvalue()


async def test_a_caller_who_hangs_up_meanwhile_leaves_nothing_behind(fake, server, tmp_path, log: io.StringIO):
    fake.script = script(asking("find_parcel", number="A 1"))
    async with running(settings_for(fake, server, tmp_path, "slow")) as service, service.stream() as line:
        await line.hear(GREETING)
        await line.say(WORDS + PAUSE)
        await server.arrived.wait()
        await line.hang_up()
        assert await line.closed() == 1000
    assert "the caller hung up" in log.getvalue()


async def test_a_remote_mcp_server_that_fails_is_told_to_the_operator_and_the_call_goes_on(fake, tmp_path, log):
    missing = {"type": "mcp_list_tools.failed", "event_id": "event_mcp_1", "item_id": "mcpl_1"}
    failed = {"type": "response.mcp_call.failed", "event_id": "event_mcp_2", "item_id": "mcp_1", "output_index": 0}
    fake.faults = Faults(at=(At("response.created", Send(missing)), At("response.done", Send(failed))))
    fake.script = Script((say(GREETING), say(ANSWER)))
    async with running(config_for(fake.url, tmp_path)) as service, service.stream() as line:
        await line.hear(GREETING + ANSWER)
    assert "WARNING - A remote MCP server did not list its tools (mcpl_1)" in log.getvalue()
    assert "WARNING - A tool of a remote MCP server failed (mcp_1)" in log.getvalue()
