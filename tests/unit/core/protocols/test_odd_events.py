"""A server event of which something is missing or of another type is read, or refused in the one way there is."""

import contextlib
import copy
import json

import pytest
from callgate.core.prices import usage_of
from callgate.core.protocols.realtime import ErrorEvent, ResponseDone
from callgate.core.protocols.realtime_json import parse
from callgate.errors import RealtimeError
from hypothesis import given, settings
from hypothesis import strategies as st
from support.realtime_types import validate_server_event


def event(type: str, **fields) -> str:
    return json.dumps({"type": type, "event_id": "event_1", **fields})


REPORTED = {"type": "server_error", "code": "c", "message": "Please try again in 1s.", "param": "p"}
CALL = {"id": "item_2", "object": "realtime.item", "type": "function_call", "status": "completed", "call_id": "call_1",
        "name": "hang_up", "arguments": "{}"}  # fmt: skip
DETAILS = {"type": "failed", "reason": "content_filter", "error": {"type": "server_error", "code": "c", "message": "m"}}
RESPONSE = {"object": "realtime.response", "id": "resp_1", "status": "failed", "status_details": DETAILS,
            "output": [CALL], "usage": {"total_tokens": 1, "input_token_details": {"cached_tokens": 1}}}  # fmt: skip
IN_ITEM = {"item_id": "item_1", "content_index": 0}
IN_RESPONSE = {"response_id": "resp_1", "output_index": 0, **IN_ITEM}
LEGAL = [json.loads(frame) for frame in (
    event("response.output_audio.delta", **IN_RESPONSE, delta="/w=="),
    event("response.output_audio.done", **IN_RESPONSE),
    event("response.output_audio_transcript.delta", **IN_RESPONSE, delta="Go"),
    event("response.output_audio_transcript.done", **IN_RESPONSE, transcript="Good."),
    event("response.created", response={**RESPONSE, "status": "in_progress"}),
    event("response.done", response=RESPONSE),
    event("response.output_item.done", response_id="resp_1", output_index=0, item=CALL),
    event("input_audio_buffer.speech_started", audio_start_ms=1, item_id="item_1"),
    event("input_audio_buffer.speech_stopped", audio_end_ms=1, item_id="item_1"),
    event("input_audio_buffer.committed", item_id="item_1", previous_item_id=None),
    event("conversation.item.input_audio_transcription.completed", **IN_ITEM, transcript="Hello",
          usage={"type": "duration", "seconds": 1.0}),
    event("conversation.item.input_audio_transcription.failed", **IN_ITEM, error=REPORTED),
    event("session.updated", session={"id": "sess_1", "object": "realtime.session", "type": "realtime", "audio": {
        "input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"}}}),
    event("error", error={**REPORTED, "event_id": "event_8"}),
    event("mcp_list_tools.failed", item_id="item_1"),
    event("response.mcp_call.in_progress", item_id="item_1", output_index=0),
    event("response.mcp_call.failed", item_id="item_1", output_index=0),
    event("rate_limits.updated", rate_limits=[{"name": "tokens", "limit": 1, "remaining": 1, "reset_seconds": 0.5}]),
)]  # fmt: skip


@pytest.mark.parametrize("legal", LEGAL, ids=lambda legal: legal["type"])
def test_the_events_that_are_made_odd_below_are_those_of_the_sdk(legal):
    validate_server_event(legal)


def places(value, path=()):
    """Yield the path of every value within a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, within in inner:
        yield (*path, key)
        yield from places(within, (*path, key))


MISSING = object()
odd_values = st.recursive(
    st.sampled_from([None, True, 0, -1, 10**30, 1.5, "", "x", "7", [], {}]) | st.text(max_size=9),
    lambda v: (
        st.lists(v, max_size=2) | st.dictionaries(st.sampled_from(["type", "error", "code", "id"]), v, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def odd_events(draw):
    """Draw a legal event, of which something is missing, or of another type."""
    odd = copy.deepcopy(draw(st.sampled_from(LEGAL)))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(list(places(odd)) or [("type",)]))
        parent = odd
        for key in way:
            parent = parent[key]
        value = draw(st.just(MISSING) | odd_values)
        if value is not MISSING:
            parent[last] = value
        else:
            del parent[last]
        if not odd:
            break
    return odd


@given(odd_events())
@settings(max_examples=400)
def test_an_odd_event_is_read_or_refused_and_never_anything_else(odd):
    with contextlib.suppress(RealtimeError):
        read = parse(json.dumps(odd))
        assert read == read
        if isinstance(read, ErrorEvent | ResponseDone):
            read.retry_after, read.why  # noqa: B018
        if isinstance(read, ResponseDone):
            usage_of(read.usage)


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_any_frame_is_read_or_refused_and_never_anything_else(frame):
    with contextlib.suppress(RealtimeError):
        parse(frame)
