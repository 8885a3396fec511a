import contextlib
import json

import pytest
from callgate.core.protocols.realtime import (
    AddAgentText,
    AddFunctionOutput,
    AddUserText,
    AppendAudio,
    AskAlive,
    AudioDelta,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    Other,
    ResponseDone,
    SessionUpdated,
    TruncateItem,
    UpdateSession,
)
from callgate.core.protocols.realtime_json import encode, parse
from callgate.core.tools.declarations import hang_up
from callgate.errors import RealtimeError
from hypothesis import given
from hypothesis import strategies as st
from support.realtime_types import validate_client_event

CLIENT_EVENTS = [
    UpdateSession("Be brief.", "marin", (hang_up(),)),
    UpdateSession('Say "é" and \n', "cedar"),
    UpdateSession("x", "marin", (), "gpt-transcribe"),
    AskAlive(),
    AddAgentText("Good day."),
    AppendAudio("/w=="),
    CreateResponse(),
    CreateResponse("Greet."),
    TruncateItem("item_1", 1234),
    AddUserText("[keys: 5]"),
    AddFunctionOutput("call_1", '{"ok":true}'),
]


@pytest.mark.parametrize("event", CLIENT_EVENTS, ids=lambda event: type(event).__name__)
def test_what_is_sent_is_what_the_openai_sdk_would_send(event):
    validate_client_event(json.loads(encode(event)))


def test_audio_is_pcmu_both_ways_and_names_no_rate():
    """The old key or a rate would make the model answer in 24 kHz PCM, which callers hear as noise."""
    session = json.loads(encode(UpdateSession("x", "marin")))["session"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["output"]["format"] == {"type": "audio/pcmu"}


def event(type: str, **fields) -> str:
    return json.dumps({"type": type, "event_id": "event_1", **fields})


@pytest.mark.parametrize(
    ("frame", "value"),
    [
        (event("response.output_audio.delta", response_id="r", item_id="i", delta="/w=="),
         AudioDelta("r", "i", "/w==")),
        (event("session.updated", session={"audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {
            "format": {"type": "audio/pcm", "rate": 24000}}}}), SessionUpdated("audio/pcmu", "audio/pcm")),
        (event("session.updated", session={}), SessionUpdated(None, None)),
        (event("response.output_item.done", item={"type": "function_call", "call_id": "c", "name": "f",
                                                  "arguments": "{}"}), FunctionCall("c", "f", "{}")),
        (event("response.output_item.done", item={"type": "message"}), Other("response.output_item.done")),
        (event("response.done", response={"id": "r", "status": "completed", "status_details": None}),
         ResponseDone("r", "completed")),
        (event("response.done", response={"id": "r", "status": "failed", "status_details": {
            "type": "failed", "error": {"type": "insufficient_quota", "code": None, "message": "no"}}}),
         ResponseDone("r", "failed", None, "insufficient_quota", "no")),
        (event("error", error={"type": "invalid_request_error", "code": "x", "message": "m"}), ErrorEvent("x", "m")),
        (event("error", error={"type": "server_error", "code": None, "message": "m"}), ErrorEvent("server_error", "m")),
        (event("rate_limits.updated", rate_limits=[]), Other("rate_limits.updated")),
        (event("something.new"), Other("something.new")),
    ],
)  # fmt: skip
def test_what_a_call_acts_on_is_read(frame, value):
    assert parse(frame) == value


@pytest.mark.parametrize(
    "frame",
    [
        b"{}", "", "x", "[]", "{}", '{"type":5}',
        event("response.output_audio.delta"),
        event("response.output_audio.delta", response_id="r", item_id="i", delta=5),
        event("response.created", response=None),
        event("response.output_item.done", item="x"),
        event("error", error=None),
        event("session.updated", session={"audio": {"input": 5}}),
    ],
)  # fmt: skip
def test_what_is_not_the_protocol_is_refused_in_one_sentence(frame):
    with pytest.raises(RealtimeError, match="the model sent"):
        parse(frame)


def test_which_errors_end_a_session():
    assert ErrorEvent("insufficient_quota", "").ends_session
    assert ErrorEvent("session_expired", "").ends_session
    assert not ErrorEvent("response_cancel_not_active", "").ends_session
    assert ErrorEvent("response_cancel_not_active", "").benign


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=9), lambda v: st.lists(v, max_size=2) | st.dictionaries(
        st.sampled_from(["id", "status", "item", "type", "audio", "input", "format", "error", "code"]), v, max_size=3),
    max_leaves=8,
)  # fmt: skip
TYPES = ["response.output_audio.delta", "response.created", "response.done", "response.output_item.done",
         "session.updated", "error", "response.output_audio.done", "new"]  # fmt: skip


@given(st.one_of(
    st.text(max_size=40), st.binary(max_size=40),
    st.tuples(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(
        ["response", "item", "session", "error", "item_id", "response_id", "delta"]), values))
    .map(lambda pair: json.dumps({**pair[1], "type": pair[0]})),
))  # fmt: skip
def test_any_frame_is_read_or_refused_and_never_anything_else(frame):
    with contextlib.suppress(RealtimeError):
        parse(frame)
