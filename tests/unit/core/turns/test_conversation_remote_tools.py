"""Tools of remote MCP servers, which the API calls by itself: it reports the calls, and is asked to answer their
results."""

import json
import logging

import pytest
from callgate.core.protocols.realtime import (
    AddUserText,
    CreateResponse,
    RemoteCallBegan,
    RemoteCallEnded,
    RemoteToolsMissing,
    ResponseCreated,
    ResponseDone,
    SpeechStarted,
)
from callgate.core.protocols.realtime_json import parse
from callgate.core.turns.commands import Note
from callgate.core.turns.tool_desk import REMOTE_DEADLINE
from support.conversation_driver import Call, of
from support.realtime_types import validate_server_event

BEGAN = RemoteCallBegan("mcp_1")
GAVE = RemoteCallEnded("mcp_1", failed=False)
FAILED = RemoteCallEnded("mcp_1", failed=True)


@pytest.mark.parametrize(
    ("event", "value"),
    [
        ({"type": "mcp_list_tools.failed", "item_id": "mcp_1"}, RemoteToolsMissing("mcp_1")),
        ({"type": "response.mcp_call.in_progress", "item_id": "mcp_1", "output_index": 0}, BEGAN),
        ({"type": "response.mcp_call.completed", "item_id": "mcp_1", "output_index": 0}, GAVE),
        ({"type": "response.mcp_call.failed", "item_id": "mcp_1", "output_index": 0}, FAILED),
    ],
)
def test_what_the_api_says_of_remote_tools_is_read(event, value):
    event = {**event, "event_id": "event_1"}
    validate_server_event(event)
    assert parse(json.dumps(event)) == value


def warnings(commands: list) -> list[Note]:
    return [note for note in of(Note, commands) if note.level == logging.WARNING]


def asks(call: Call) -> None:
    """Let the model call a remote tool, and end its response."""
    call.model(ResponseCreated("resp_1"), BEGAN, ResponseDone("resp_1", "completed"))


@pytest.mark.parametrize("ended", [GAVE, FAILED])
def test_the_model_is_asked_to_answer_what_a_remote_tool_gave(talking, ended):
    asks(talking)
    assert of(CreateResponse, talking.commands) == []
    assert of(CreateResponse, talking.model(ended)) == [CreateResponse()]


def test_it_is_asked_once_when_the_tool_is_done_before_the_response(talking):
    assert of(CreateResponse, talking.model(ResponseCreated("resp_1"), BEGAN, GAVE)) == []
    assert of(CreateResponse, talking.model(ResponseDone("resp_1", "completed"))) == [CreateResponse()]
    assert of(CreateResponse, talking.model(ResponseCreated("resp_2"), ResponseDone("resp_2", "completed"))) == []


def test_it_is_asked_once_for_two_tools(talking):
    asks(talking)
    talking.model(RemoteCallBegan("mcp_2"))
    assert of(CreateResponse, talking.model(GAVE)) == []
    assert of(CreateResponse, talking.model(RemoteCallEnded("mcp_2", failed=False))) == [CreateResponse()]


def test_a_caller_who_speaks_meanwhile_is_answered_with_it(talking):
    asks(talking)
    talking.model(SpeechStarted())
    assert of(CreateResponse, talking.model(GAVE)) == []


def test_a_remote_tool_that_fails_is_logged_and_the_call_goes_on(talking):
    asks(talking)
    (note,) = warnings(talking.model(FAILED))
    assert "A tool of a remote MCP server failed (mcp_1)" in note.text
    assert talking.ended is None


def test_a_server_whose_tools_can_not_be_listed_is_logged_and_the_call_goes_on(talking):
    (note,) = warnings(talking.model(RemoteToolsMissing("mcp_1")))
    assert "did not list its tools (mcp_1)" in note.text
    assert talking.ended is None


def test_a_caller_who_waits_for_a_remote_tool_hears_that_it_goes_on(talking):
    asks(talking)
    assert any(getattr(command, "payload", "") for command in talking.lives(5))


def test_a_remote_tool_that_never_ends_is_not_waited_for_for_ever(talking):
    asks(talking)
    assert of(CreateResponse, talking.lives(REMOTE_DEADLINE - 1)) == []
    found = talking.lives(2)
    assert warnings(found)
    assert "[A tool has not answered within 30 s. Go on without it.]" in [told.text for told in of(AddUserText, found)]
    assert of(CreateResponse, found) == [CreateResponse()]


def test_another_session_is_told_that_the_call_was_lost_and_asked_to_go_on(talking):
    asks(talking)
    talking.loses_model()
    _, lost, respond = talking.ready()
    assert "is lost" in lost.text
    assert isinstance(respond, CreateResponse)


def test_another_session_waits_for_nothing_that_an_earlier_one_asked(talking):
    asks(talking)
    talking.loses_model()
    talking.ready()
    talking.commands.clear()
    assert not [told for told in of(AddUserText, talking.lives(REMOTE_DEADLINE + 2)) if "has not answered" in told.text]
