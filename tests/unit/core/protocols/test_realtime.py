import json

import pytest
from callgate.core.protocols.realtime import (
    AddAgentText,
    AddFunctionOutput,
    AddUserText,
    AgentTranscript,
    AppendAudio,
    AskAlive,
    AudioDelta,
    AudioDone,
    CallerTranscriptFailed,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    Other,
    ResponseCreated,
    ResponseDone,
    SessionUpdated,
    SpeechCommitted,
    TruncateItem,
    UpdateSession,
)
from callgate.core.protocols.realtime_json import encode, parse
from callgate.core.protocols.retry_after import in_headers
from callgate.core.tools.declarations import hang_up
from callgate.errors import RealtimeError
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
    CreateResponse(None, "event_7"),
    CreateResponse("Greet.", "event_8"),
    TruncateItem("item_1", 1234),
    TruncateItem("item_1", 1234, 1),
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


def test_a_refused_request_can_be_told_from_others_by_its_event_id():
    sent = json.loads(encode(CreateResponse("Greet.", "event_8")))
    assert sent["event_id"] == "event_8"
    refusal = parse(event("error", error={"type": "x", "code": "y", "message": "z", "event_id": "event_8"}))
    assert isinstance(refusal, ErrorEvent)
    assert refusal.event_id == "event_8"
    assert "event_id" not in json.loads(encode(CreateResponse("Greet.")))


def event(type: str, **fields) -> str:
    return json.dumps({"type": type, "event_id": "event_1", **fields})


@pytest.mark.parametrize(
    ("frame", "value"),
    [
        (event("response.output_audio.delta", response_id="r", item_id="i", delta="/w=="),
         AudioDelta("r", "i", "/w==")),
        (event("response.output_audio.delta", response_id="r", item_id="i", delta="/w==", content_index=2),
         AudioDelta("r", "i", "/w==", 2)),
        (event("response.output_audio.done", response_id="r", item_id="i", content_index=1), AudioDone("r", "i", 1)),
        (event("response.output_audio_transcript.delta", item_id="i", delta="Go", content_index=1),
         AgentTranscript("i", "Go", content_index=1)),
        (event("response.output_audio_transcript.done", item_id="i", transcript="Good."),
         AgentTranscript("i", "Good.", complete=True)),
        (event("conversation.item.input_audio_transcription.failed", item_id="i", content_index=0,
               error={"type": "server_error", "code": "audio_unintelligible", "message": "m", "param": None}),
         CallerTranscriptFailed("i", "audio_unintelligible", "m")),
        (event("session.updated", session={"audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {
            "format": {"type": "audio/pcm", "rate": 24000}}}}), SessionUpdated("audio/pcmu", "audio/pcm")),
        (event("session.updated", session={}), SessionUpdated(None, None)),
        (event("response.output_item.done", item={"type": "function_call", "call_id": "c", "name": "f",
                                                  "arguments": "{}"}), FunctionCall("c", "f", "{}")),
        (event("response.output_item.done", response_id="r", item={"type": "function_call", "status": "completed",
                                                                   "call_id": "c", "name": "f", "arguments": "{}"}),
         FunctionCall("c", "f", "{}", "r")),
        (event("response.output_item.done", item={"type": "function_call", "status": "incomplete", "call_id": "c",
                                                  "name": "f", "arguments": "{"}), Other("response.output_item.done")),
        (event("response.output_item.done", item={"type": "message"}), Other("response.output_item.done")),
        (event("response.done", response={"id": "r", "status": "completed", "status_details": None}),
         ResponseDone("r", "completed")),
        (event("response.done", response={"id": "r", "status": "failed", "status_details": {
            "type": "failed", "error": {"type": "insufficient_quota", "code": None, "message": "no"}}}),
         ResponseDone("r", "failed", None, "insufficient_quota", "no")),
        (event("response.done", response={"id": "r", "status": "incomplete", "output": [
            {"type": "message"}, {"type": "function_call", "status": "incomplete"}]}),
         ResponseDone("r", "incomplete", unfinished_call=True)),
        (event("response.done", response={"id": "r", "status": "completed", "output": [
            {"type": "function_call", "status": "completed"}, {"type": "message", "status": "incomplete"}]}),
         ResponseDone("r", "completed")),
        (event("error", error={"type": "invalid_request_error", "code": "x", "message": "m"}), ErrorEvent("x", "m")),
        (event("error", error={"type": "server_error", "code": None, "message": "m"}), ErrorEvent("server_error", "m")),
        (event("rate_limits.updated", rate_limits=[]), Other("rate_limits.updated")),
        (event("something.new"), Other("something.new")),
    ],
)  # fmt: skip
def test_what_a_call_acts_on_is_read(frame, value):
    assert parse(frame) == value


@pytest.mark.parametrize(
    ("frame", "value"),
    [
        (event("error", error=None), ErrorEvent("unknown", "")),
        (event("error"), ErrorEvent("unknown", "")),
        (event("error", error="It broke."), ErrorEvent("unknown", "It broke.")),
        (event("error", error={"code": 500, "message": ["x"]}), ErrorEvent("500", "")),
        (event("response.done", response={"id": 7, "status": "failed", "status_details": "It broke."}),
         ResponseDone("7", "failed", None, None, "It broke.")),
        (event("response.done", response={"id": "r", "status": "failed", "status_details": {"error": "It broke."}}),
         ResponseDone("r", "failed", None, None, "It broke.")),
        (event("response.done", response={"id": "r", "status": "completed", "status_details": [], "usage": [1],
                                          "output": {"0": {}}}), ResponseDone("r", "completed")),
        (event("response.done", response={"id": "r", "output": [None, 5, {"type": "function_call", "status": 5}]}),
         ResponseDone("r", "completed")),
        (event("response.done", response={"id": "r", "status_details": {"type": "cancelled"}}),
         ResponseDone("r", "cancelled")),
        (event("response.done", response=None), ResponseDone("", "completed")),
        (event("response.created", response=None), ResponseCreated("")),
        (event("response.output_item.done", item="x"), Other("response.output_item.done")),
        (event("response.output_item.done", response_id=1, item={
            "type": "function_call", "call_id": 2, "name": None, "arguments": {"to": "Jürg"}}),
         FunctionCall("2", "", '{"to": "Jürg"}', "1")),
        (event("response.output_item.done", item={"type": "function_call", "call_id": "c", "name": "f"}),
         FunctionCall("c", "f", "")),
        (event("response.output_audio.delta", delta="/w=="), AudioDelta("", "", "/w==")),
        (event("response.output_audio.delta", response_id=1, item_id=2, delta="/w==", content_index="x"),
         AudioDelta("1", "2", "/w==")),
        (event("response.output_audio.done", content_index=-1), AudioDone("", "")),
        (event("input_audio_buffer.committed", item_id=None), SpeechCommitted("")),
        (event("conversation.item.input_audio_transcription.failed", error="It broke."),
         CallerTranscriptFailed("", "unknown", "It broke.")),
        (event("session.updated", session={"audio": {"input": 5}}), SessionUpdated(None, None)),
        (event("session.updated", session=None), SessionUpdated(None, None)),
    ],
)  # fmt: skip
def test_what_can_be_read_of_an_odd_event_is_read(frame, value):
    assert parse(frame) == value


@pytest.mark.parametrize(
    "frame",
    [
        b"{}", "", "x", "[]", "{}", '{"type":5}', "[" * 5_000,
        event("response.output_audio.delta"),
        event("response.output_audio.delta", response_id="r", item_id="i", delta=5),
        event("response.output_audio_transcript.delta", delta="Go"),
        event("response.output_audio_transcript.done", item_id="i", transcript=None),
        event("conversation.item.input_audio_transcription.completed", transcript="Hello"),
        event("response.output_item.done", item={"type": "function_call", "name": "f", "arguments": "{}"}),
    ],
)  # fmt: skip
def test_what_is_of_no_use_is_refused_in_one_sentence(frame):
    with pytest.raises(RealtimeError, match="the model sent"):
        parse(frame)


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached on tokens per min (TPM): Limit 40000. Please try again in 1.5s. Visit https://x", 1.5),
        ("Please try again in 350ms.", 0.35),
        ("Please try again in 1m26.4s.", 86.4),
        ("Please try again in 1h0m2s", 3602),
        ("please try again in 2 seconds", 2),
        ("Try again in 1 minute and 5 seconds.", 65),
        ("Please retry after 16 seconds.", 16),
        ("Please try again in 20 milliseconds", 0.02),
        ("Please try again in 1 day, 2 hours.", 93_600),
        ("Please try again later.", None),
        ("Please try again in a moment.", None),
        ("Limit 40000 in 60s. Try again.", None),
        ("Please try again in 5 sandwiches", None),
        ("", None),
    ],
)
def test_how_long_the_server_asks_to_wait_is_read_from_its_words(message, seconds):
    assert ErrorEvent("rate_limit_exceeded", message).retry_after == pytest.approx(seconds)
    done = parse(event("response.done", response={"id": "r", "status": "failed", "status_details": {
        "error": {"code": "rate_limit_exceeded", "message": message}}}))  # fmt: skip
    assert isinstance(done, ResponseDone)
    assert done.retry_after == pytest.approx(seconds)


def test_a_response_without_an_error_asks_for_no_wait():
    assert ResponseDone("r", "completed").retry_after is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (("2", None), 2),
        (("2", "1500"), 1.5),
        ((None, "350"), 0.35),
        ((" 0.5 ", None), 0.5),
        (("2", "soon"), 2),
        (("Wed, 21 Oct 2026 07:28:00 GMT", None), None),
        (("-1", None), None),
        (("inf", "nan"), None),
        ((None, None), None),
    ],
)
def test_how_long_the_server_asks_to_wait_is_read_from_its_headers(headers, seconds):
    assert in_headers(*headers) == pytest.approx(seconds)


def test_which_errors_end_a_session():
    assert ErrorEvent("insufficient_quota", "").ends_session
    assert ErrorEvent("session_expired", "").ends_session
    assert not ErrorEvent("response_cancel_not_active", "").ends_session
    assert ErrorEvent("response_cancel_not_active", "").benign
