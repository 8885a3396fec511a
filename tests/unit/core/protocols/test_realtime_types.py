"""The embedded realtime server sends only what the SDK's types allow, and the check for that is strict."""

from __future__ import annotations

import pytest
from callgate.peers.linecheck.realtime.response import ScriptedResponse, ScriptedToolCall, Speech
from support.linecheck_driver import WORDS, Driver, silence, user_text
from support.realtime_types import EventInvalid, validate_client_event, validate_server_event

# What a server may send over a WebSocket to a client that uses audio, tools and transcription, but no MCP server.
SERVER_EVENTS = {
    "conversation.item.added",
    "conversation.item.deleted",
    "conversation.item.done",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.retrieved",
    "conversation.item.truncated",
    "error",
    "input_audio_buffer.cleared",
    "input_audio_buffer.committed",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.timeout_triggered",
    "rate_limits.updated",
    "response.content_part.added",
    "response.content_part.done",
    "response.created",
    "response.done",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done",
    "response.output_item.added",
    "response.output_item.done",
    "session.created",
    "session.updated",
}


def test_every_event_the_server_sends_is_one_of_the_sdk() -> None:
    """In this session, the server sends each type of event; `Driver` checks every event it receives."""
    failed = ScriptedResponse(
        status="failed", error={"type": "server_error", "code": "overloaded", "message": "Try again."}
    )
    speech = Speech(WORDS[:3_200], "Hello there")
    answers = {
        0: ScriptedResponse((speech, ScriptedToolCall("hang_up", '{"reason":"goodbye"}'))),
        1: failed,
        2: ScriptedResponse((speech,), status="incomplete", reason="max_output_tokens"),
        3: ScriptedResponse((Speech(WORDS * 4, "long"),)),
    }
    driver = Driver(lambda turn: answers.get(turn.number, ScriptedResponse((speech,))))
    audio = {"input": {"transcription": {"model": "gpt-transcribe"}, "noise_reduction": {"type": "near_field"}}}
    driver.send("session.update", session={"type": "realtime", "audio": audio, "reasoning": {"effort": "low"}})
    driver.send("response.create", response={"metadata": {"topic": "greeting"}, "max_output_tokens": 100})
    driver.finish()
    call_id = driver.of("response.function_call_arguments.done")[0]["call_id"]
    output = {"type": "function_call_output", "call_id": call_id, "output": '{"ok":true}'}
    driver.send("conversation.item.create", item=output)
    driver.send("conversation.item.create", item={**user_text("5"), "id": "digits"})
    driver.send("conversation.item.create", item={"type": "message", "role": "system", "content": []})
    driver.send("conversation.item.retrieve", item_id="digits")
    driver.send("conversation.item.delete", item_id="digits")
    for _ in range(2):
        driver.send("response.create")
        driver.finish()
    driver.send("response.create")
    driver.speak(WORDS + silence(1))
    item_id = driver.of("response.output_audio.delta")[-1]["item_id"]
    driver.send("response.cancel")
    driver.send("response.cancel")
    driver.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=0)
    driver.send("input_audio_buffer.clear")
    driver.configure(idle_timeout_ms=5_000)
    driver.send("response.create")
    driver.wait(10)
    driver.fail("server_error", "internal", "The server had an error.")
    assert {event["type"] for event in driver.events} == SERVER_EVENTS
    statuses = {event["response"]["status"] for event in driver.of("response.done")}
    assert statuses == {"completed", "failed", "incomplete", "cancelled"}


def test_field_unknown_to_the_sdk_is_found_however_deep() -> None:
    driver = Driver()
    driver.send("response.create")
    driver.finish()
    event = driver.of("response.done")[0]
    validate_server_event(event)
    event["response"]["output"][0]["content"][0]["colour"] = "red"
    with pytest.raises(EventInvalid, match=r"response\.output\.0\.content\.0\.colour"):
        validate_server_event(event)


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        ({"type": "response.audio.delta"}, "is not an event type"),
        ({}, "is not an event type"),
        ({"type": "error", "event_id": "event_1", "error": {"type": "server_error"}}, "message"),
        ({"type": "input_audio_buffer.cleared"}, "event_id"),
    ],
)
def test_event_not_of_the_sdk_is_found(event: dict, fault: str) -> None:
    with pytest.raises(EventInvalid, match=fault):
        validate_server_event(event)


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        ({"type": "session.update", "session": {"instructions": ""}}, "type"),
        ({"type": "session.update", "session": {"type": "realtime", "voice": "marin"}}, "session.voice"),
        (
            {
                "type": "session.update",
                "session": {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu", "rate": 8000}}}},
            },
            "session.audio.input.format.rate",
        ),
        ({"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0}, "audio_end_ms"),
        (
            {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 1.5},
            "audio_end_ms",
        ),
    ],
)
def test_client_event_not_of_the_sdk_is_found(event: dict, fault: str) -> None:
    with pytest.raises(EventInvalid, match=fault):
        validate_client_event(event)
