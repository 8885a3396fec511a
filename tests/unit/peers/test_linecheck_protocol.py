"""One session of the line check: its answer to each client event, and when."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from callgate.peers.linecheck import clips
from callgate.peers.linecheck.realtime.response import ScriptedResponse, ScriptedToolCall, Speech
from callgate.peers.linecheck.realtime.session import PCMU as PCMU_TYPE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.linecheck_driver import PCMU, WORDS, Driver, silence, user_text
from support.realtime_types import client_event_types


class TestSession:
    def test_server_sends_session_created_with_the_service_defaults_on_open(self) -> None:
        driver = Driver(opened=False)
        [created] = driver.server.open(0.0)
        session = created["session"]
        assert created["type"] == "session.created"
        assert session["model"] == "line-check"
        assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
        assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500

    def test_server_echoes_the_full_session_after_session_update(self) -> None:
        driver = Driver()
        tools = [{"type": "function", "name": "hang_up", "parameters": {"type": "object"}}]
        [updated] = driver.send(
            "session.update", session={"type": "realtime", "instructions": "Be kind", "tools": tools}
        )
        session = updated["session"]
        assert updated["type"] == "session.updated"
        assert (session["instructions"], session["tools"]) == ("Be kind", tools)
        assert session["audio"]["input"]["format"] == PCMU  # from an earlier update

    def test_server_fills_in_turn_detection_defaults(self) -> None:
        [updated] = Driver().configure(threshold=0.7)
        turn_detection = updated["session"]["audio"]["input"]["turn_detection"]
        assert (turn_detection["threshold"], turn_detection["prefix_padding_ms"]) == (0.7, 300)

    def test_server_keeps_its_own_model_name(self) -> None:
        [updated] = Driver().send("session.update", session={"type": "realtime", "model": "gpt-realtime-2.1"})
        assert updated["session"]["model"] == "line-check"

    @pytest.mark.parametrize(
        ("session", "code", "param"),
        [
            ({}, "missing_required_parameter", "session.type"),
            ({"type": "transcription"}, "invalid_value", "session.type"),
            ({"type": "realtime", "colour": "red"}, "unknown_parameter", "session.colour"),
            ({"input_audio_format": "g711_ulaw"}, "beta_api_shape_disabled", "session.input_audio_format"),
            ({"type": "realtime", "modalities": ["audio"]}, "beta_api_shape_disabled", "session.modalities"),
            ({"type": "realtime", "instructions": 7}, "invalid_type", "session.instructions"),
            (
                {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu", "rate": 8000}}}},
                "unknown_parameter",
                "session.audio.input.format.rate",
            ),
            (
                {"type": "realtime", "audio": {"output": {"format": {"type": "g711_ulaw"}}}},
                "invalid_value",
                "session.audio.output.format.type",
            ),
            (
                {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}},
                "invalid_value",
                "session.audio.input.turn_detection.threshold",
            ),
        ],
    )
    def test_server_refuses_a_session_it_does_not_know(self, session: dict, code: str, param: str) -> None:
        driver = Driver()
        before = driver.send("session.update", session={"type": "realtime"})[0]["session"]
        [error] = driver.send("session.update", session=session, event_id="mine")
        assert error["type"] == "error"
        assert (error["error"]["code"], error["error"]["param"]) == (code, param)
        assert error["error"]["event_id"] == "mine"
        assert driver.send("session.update", session={"type": "realtime"})[0]["session"] == before


class TestSpeaking:
    def test_first_response_is_the_greeting_whatever_the_instructions_say(self) -> None:
        driver = Driver()
        driver.send("response.create", response={"instructions": "Sing."})
        driver.finish()
        assert driver.spoken == clips.greeting()

    def test_response_events_come_in_the_order_of_the_service(self) -> None:
        driver = Driver(lambda turn: ScriptedResponse((Speech(WORDS[:1600], "Hello"),)))
        driver.events.clear()
        driver.send("response.create")
        driver.finish()
        assert driver.types == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
            "rate_limits.updated",
        ]

    def test_audio_goes_out_eight_times_as_fast_as_real_time_and_not_all_at_once(self) -> None:
        driver = Driver(lambda turn: ScriptedResponse((Speech(bytes(8_000 * 4), "four seconds"),)))
        driver.send("response.create")
        assert len(driver.spoken) == 1_600
        driver.wait(0.26)
        assert len(driver.spoken) == 8_000 * 2 + 1_600
        assert not driver.of("response.done")
        driver.wait(0.25)
        assert len(driver.spoken) == 8_000 * 4
        assert driver.of("response.done")

    def test_transcript_deltas_make_up_the_transcript(self) -> None:
        driver = Driver()
        driver.send("response.create")
        driver.finish()
        deltas = "".join(event["delta"] for event in driver.of("response.output_audio_transcript.delta"))
        [done] = driver.of("response.output_audio_transcript.done")
        assert deltas == done["transcript"] == clips.GREETING_TEXT

    def test_usage_counts_what_was_heard_and_said(self) -> None:
        driver = Driver(lambda turn: ScriptedResponse((Speech(bytes(8_000), "one two"),)))
        driver.send("response.create")
        driver.finish()
        usage = driver.of("response.done")[0]["response"]["usage"]
        assert usage["output_token_details"] == {"text_tokens": 2, "audio_tokens": 20}
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]

    def test_text_item_is_answered_with_a_beep(self) -> None:
        driver = Driver().greeted()
        driver.send("conversation.item.create", item=user_text("The caller pressed 5."))
        driver.send("response.create")
        driver.finish()
        assert driver.spoken == clips.beep()

    def test_response_create_while_one_is_active_is_an_error(self) -> None:
        driver = Driver()
        driver.send("response.create")
        driver.send("response.create")
        assert driver.errors == ["conversation_already_has_active_response"]
        driver.finish()
        assert driver.spoken == clips.greeting()

    def test_response_cancel_ends_the_response_as_cancelled_by_the_client(self) -> None:
        driver = Driver()
        driver.send("response.create")
        driver.wait(0.1)
        driver.send("response.cancel")
        sent = driver.spoken
        driver.finish()
        [done] = driver.of("response.done")
        assert done["response"]["status"] == "cancelled"
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        assert done["response"]["output"][0]["status"] == "incomplete"
        assert driver.spoken == sent != clips.greeting()

    @pytest.mark.parametrize("response_id", [None, "resp_of_another"])
    def test_response_cancel_without_such_a_response_is_an_error(self, response_id: str | None) -> None:
        driver = Driver()
        driver.send("response.cancel", response_id=response_id)
        assert driver.errors == ["response_cancel_not_active"]

    def test_response_in_another_format_than_pcmu_is_an_error(self) -> None:
        driver = Driver(opened=False)
        driver.send("response.create")
        driver.append(WORDS)
        assert driver.errors == ["invalid_value", "invalid_value"]
        assert PCMU_TYPE in driver.of("error")[0]["error"]["message"]

    def test_function_call_carries_its_arguments(self) -> None:
        driver = Driver(lambda turn: ScriptedResponse((ScriptedToolCall("hang_up", '{"reason":"bye"}'),)))
        driver.send("response.create")
        [done] = driver.of("response.function_call_arguments.done")
        deltas = "".join(event["delta"] for event in driver.of("response.function_call_arguments.delta"))
        assert deltas == done["arguments"] == '{"reason":"bye"}'
        [item] = driver.of("response.done")[0]["response"]["output"]
        assert (item["type"], item["name"], item["call_id"]) == ("function_call", "hang_up", done["call_id"])


class TestHearing:
    def test_caller_hears_its_own_words_verbatim(self) -> None:
        driver = Driver().greeted()
        driver.speak(silence(1) + WORDS + silence(1))
        driver.finish()
        assert WORDS in driver.spoken
        assert set(driver.spoken.replace(WORDS, b"")) == {0xFF}

    def test_words_are_said_back_once(self) -> None:
        driver = Driver().greeted()
        driver.speak(silence(1) + WORDS + silence(1))
        driver.finish()
        driver.events.clear()
        driver.send("response.create")
        driver.finish()
        assert driver.spoken == clips.greeting()

    def test_turn_events_come_in_the_order_of_the_service(self) -> None:
        driver = Driver().greeted()
        driver.speak(silence(1) + WORDS + silence(1))
        assert driver.types[:7] == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "response.output_item.added",
        ]
        ids = {event.get("item_id") or event["item"]["id"] for event in driver.events[:5]}
        assert len(ids) == 1

    def test_speech_times_are_those_of_the_buffer(self) -> None:
        driver = Driver().greeted()
        driver.speak(silence(1) + WORDS + silence(1))
        [started] = driver.of("input_audio_buffer.speech_started")
        [stopped] = driver.of("input_audio_buffer.speech_stopped")
        assert 600 <= started["audio_start_ms"] <= 1_000
        assert 3_000 <= stopped["audio_end_ms"] <= 3_600

    def test_speech_during_a_response_cancels_it_as_turn_detected(self) -> None:
        driver = Driver(lambda turn: ScriptedResponse((Speech(bytes(8_000 * 60), "endless"),)))
        driver.send("response.create")
        driver.speak(WORDS[:8_000])
        [done] = driver.of("response.done")
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        assert driver.types.index("input_audio_buffer.speech_started") < driver.types.index("response.done")

    def test_caller_who_only_paused_hears_all_of_it(self) -> None:
        driver = Driver().greeted()
        sentence = WORDS + silence(0.7) + WORDS
        driver.speak(silence(1) + sentence + silence(0.4))
        assert len(driver.of("input_audio_buffer.speech_stopped")) == 1
        driver.events.clear()
        driver.speak(silence(0.6))
        driver.finish()
        assert sentence in driver.spoken

    def test_caller_who_speaks_again_hears_only_the_new_words(self) -> None:
        driver = Driver().greeted()
        driver.speak(silence(1) + WORDS + silence(2))
        driver.events.clear()
        driver.speak(WORDS[:8_000] + silence(1))
        driver.finish()
        assert WORDS[:8_000] in driver.spoken
        assert len(driver.spoken) < 8_000 * 2

    def test_speech_during_a_response_lets_it_go_on_without_interrupt_response(self) -> None:
        driver = Driver(lambda turn: ScriptedResponse((Speech(bytes(8_000 * 60), "endless"),)))
        driver.configure(interrupt_response=False)
        driver.send("response.create")
        driver.speak(WORDS + silence(1))
        assert driver.of("input_audio_buffer.speech_stopped")
        assert not driver.of("response.done")
        assert not driver.errors

    def test_words_unanswered_without_create_response_are_said_at_response_create(self) -> None:
        driver = Driver()
        driver.configure(create_response=False)
        driver.speak(WORDS + silence(1))
        assert not driver.of("response.created")
        driver.send("response.create")
        driver.finish()
        assert WORDS in driver.spoken

    def test_without_turn_detection_the_client_commits(self) -> None:
        driver = Driver()
        audio = {"input": {"turn_detection": None}}
        driver.send("session.update", session={"type": "realtime", "audio": audio})
        driver.speak(WORDS + silence(1))
        assert not driver.of("input_audio_buffer.speech_started")
        driver.send("input_audio_buffer.commit")
        assert driver.of("input_audio_buffer.committed")
        driver.send("response.create")
        driver.finish()
        assert driver.spoken == WORDS + silence(1)

    @pytest.mark.parametrize("milliseconds", [0, 99])
    def test_commit_of_less_than_100_ms_is_an_error(self, milliseconds: int) -> None:
        driver = Driver()
        driver.append(silence(milliseconds / 1000))
        driver.send("input_audio_buffer.commit")
        assert driver.errors == ["input_audio_buffer_commit_empty"]

    def test_clear_forgets_what_was_appended(self) -> None:
        driver = Driver()
        driver.append(silence(1))
        driver.send("input_audio_buffer.clear")
        driver.send("input_audio_buffer.commit")
        assert driver.of("input_audio_buffer.cleared")
        assert driver.errors == ["input_audio_buffer_commit_empty"]

    def test_transcript_of_the_line_check_says_that_there_is_none(self) -> None:
        driver = Driver()
        audio = {"input": {"transcription": {"model": "gpt-transcribe"}}}
        driver.send("session.update", session={"type": "realtime", "audio": audio})
        driver.speak(WORDS + silence(1))
        [completed] = driver.of("conversation.item.input_audio_transcription.completed")
        assert "makes no transcript" in completed["transcript"]

    def test_idle_timeout_prompts_a_silent_caller_after_the_greeting_has_played(self) -> None:
        driver = Driver()
        driver.configure(idle_timeout_ms=6_000)
        driver.send("response.create")
        playback = len(clips.greeting()) / 8_000
        driver.wait(6 + playback)
        assert not driver.of("input_audio_buffer.timeout_triggered")
        driver.wait(2)
        assert driver.of("input_audio_buffer.timeout_triggered")
        assert driver.spoken == clips.greeting() * 2

    def test_idle_timeout_does_not_prompt_a_caller_who_speaks(self) -> None:
        driver = Driver()
        driver.configure(idle_timeout_ms=6_000)
        driver.send("response.create")
        driver.wait(1)
        driver.speak(WORDS * 6)
        assert not driver.of("input_audio_buffer.timeout_triggered")


class TestItems:
    def test_truncate_at_the_heard_position_is_confirmed(self) -> None:
        driver = Driver()
        driver.send("response.create")
        driver.wait(0.1)
        item_id = driver.of("response.output_audio.delta")[0]["item_id"]
        driver.send("response.cancel")
        [truncated] = driver.send(
            "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=len(driver.spoken) // 8
        )
        assert (truncated["type"], truncated["audio_end_ms"]) == (
            "conversation.item.truncated",
            len(driver.spoken) // 8,
        )

    def test_truncate_beyond_the_real_length_is_an_error(self) -> None:
        driver = Driver()
        driver.send("response.create")
        driver.send("response.cancel")
        item_id = driver.of("response.output_audio.delta")[0]["item_id"]
        [error] = driver.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=201)
        assert error["error"]["code"] == "invalid_value"
        assert error["error"]["message"] == "Audio content of 200ms is already shorter than 201ms"

    def test_truncate_counts_only_what_an_earlier_truncate_left(self) -> None:
        driver = Driver()
        driver.send("response.create")
        item_id = driver.of("response.output_audio.delta")[0]["item_id"]
        driver.send("response.cancel")
        driver.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=50)
        driver.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=51)
        assert driver.errors == ["invalid_value"]

    def test_truncate_of_an_item_without_model_audio_is_an_error(self) -> None:
        driver = Driver()
        driver.send("conversation.item.create", item={**user_text("hello"), "id": "mine"})
        driver.send("conversation.item.truncate", item_id="mine", content_index=0, audio_end_ms=0)
        driver.send("conversation.item.truncate", item_id="nobody's", content_index=0, audio_end_ms=0)
        assert driver.errors == ["unsupported_content_type", "item_truncate_invalid_item_id"]

    def test_created_items_keep_their_order(self) -> None:
        driver = Driver()
        driver.send("conversation.item.create", item={**user_text("one"), "id": "one"})
        driver.send("conversation.item.create", item={**user_text("three"), "id": "three"})
        driver.send("conversation.item.create", item={**user_text("two"), "id": "two"}, previous_item_id="one")
        driver.send("conversation.item.create", item={**user_text("zero"), "id": "zero"}, previous_item_id="root")
        previous = [event["previous_item_id"] for event in driver.of("conversation.item.added")]
        assert previous == [None, "one", "one", None]

    def test_deleted_item_is_gone(self) -> None:
        driver = Driver()
        driver.send("conversation.item.create", item={**user_text("hello"), "id": "mine"})
        driver.send("conversation.item.delete", item_id="mine")
        driver.send("conversation.item.delete", item_id="mine")
        driver.send("conversation.item.retrieve", item_id="mine")
        assert driver.of("conversation.item.deleted")[0]["item_id"] == "mine"
        assert driver.errors == ["item_delete_invalid_item_id", "item_retrieve_invalid_item_id"]

    @pytest.mark.parametrize(
        ("item", "code"),
        [
            ({"type": "message", "role": "user", "content": [{"type": "text", "text": "beta"}]}, "invalid_value"),
            ({"type": "message", "role": "user"}, "missing_required_parameter"),
            ({"type": "function_call_output", "call_id": "call_of_nobody", "output": "{}"}, "invalid_tool_call_id"),
            ({**user_text("twice"), "id": "taken"}, "item_create_duplicate_item_id"),
        ],
    )
    def test_item_that_can_not_be_added_is_an_error(self, item: dict, code: str) -> None:
        driver = Driver()
        driver.send("conversation.item.create", item={**user_text("first"), "id": "taken"})
        driver.send("conversation.item.create", item=item)
        assert driver.errors == [code]


class TestBadInput:
    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            ("hello", "invalid_json"),
            ("[" * 100_000, "invalid_json"),
            ("[]", "invalid_type"),
            (b"\x00\x01", "invalid_event"),
            ("{}", "missing_required_parameter"),
            ('{"type": 1}', "invalid_type"),
            ('{"type": "response.begin"}', "invalid_value"),
            ('{"type": "input_audio_buffer.append"}', "missing_required_parameter"),
            ('{"type": "input_audio_buffer.append", "audio": "not base64!"}', "invalid_value"),
            ('{"type": "response.create", "response": {"modalities": ["audio"]}}', "unknown_parameter"),
            ('{"type": "response.cancel", "now": true}', "unknown_parameter"),
        ],
    )
    def test_server_answers_an_error_and_goes_on(self, frame: str | bytes, code: str) -> None:
        driver = Driver()
        driver.send_frame(frame)
        assert driver.errors == [code]
        assert driver.of("error")[0]["error"]["type"] == "invalid_request_error"
        driver.greeted()

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(
            st.dictionaries(
                st.sampled_from(
                    ["type", "item", "item_id", "session", "audio", "response", "audio_end_ms", "event_id"]
                ),
                st.one_of(
                    st.sampled_from(sorted(client_event_types())),
                    st.recursive(
                        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "role", "id"]), inner),
                        max_leaves=5,
                    ),
                ),
            ),
            max_size=8,
        )
    )
    def test_server_answers_any_json_with_valid_events(self, events: list[dict]) -> None:
        driver = Driver()
        for event in events:
            driver.send_frame(json.dumps(event))
            driver.wait(0.05)

    def test_server_bounds_what_is_appended_and_never_committed(self) -> None:
        driver = Driver()
        driver.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        for _ in range(6):
            driver.append(silence(60))
        assert driver.errors == ["input_audio_buffer_full"]


def test_every_event_has_an_id_of_its_own() -> None:
    driver = Driver().greeted()
    driver.speak(WORDS + silence(1))
    driver.finish()
    ids = [event["event_id"] for event in driver.events]
    assert all(one < other for one, other in pairwise(ids))
