"""How the model of a session responds, whatever it says: when it begins, in which shape, and how it may break off."""

from __future__ import annotations

import base64
import json

import pytest
from callgate.peers.linecheck.realtime.pending_turn import ToAnswer
from callgate.peers.linecheck.realtime.scripted import Manner, ScriptedResponse, ScriptedToolCall, Speech
from support.linecheck_driver import WORDS, Driver, silence

ONE, OTHER = bytes([0x20]) * 4000, bytes([0x30]) * 4000  # 500 ms each


def saying(*answers: ScriptedResponse):
    return lambda turn: answers[min(turn.number, len(answers) - 1)]


def deltas(driver: Driver) -> list[tuple[int, int]]:
    """Return the output and the content part of each piece of audio, in order."""
    return [(each["output_index"], each["content_index"]) for each in driver.of("response.output_audio.delta")]


class TestThinking:
    def test_response_is_created_and_speaks_only_after_its_thoughts(self) -> None:
        driver = Driver(manner=Manner(created_after=lambda number: 1.0 + number, speaks_after=lambda number: 0.5))
        for wait in (1.0, 2.0):
            driver.events.clear()
            driver.send("response.create")
            driver.wait(wait - 0.01)
            assert driver.types == []
            driver.wait(0.02)
            assert driver.types == ["response.created"]
            driver.wait(0.47)
            assert driver.types == ["response.created"]
            driver.wait(0.03)
            assert driver.types[-1] == "response.output_audio.delta"
            driver.finish()

    def test_a_second_response_is_refused_while_the_first_one_is_thought_about(self) -> None:
        driver = Driver(manner=Manner(created_after=lambda number: 1.0))
        driver.send("response.create")
        driver.send("response.create")
        assert driver.errors == ["conversation_already_has_active_response"]
        assert driver.server.is_responding

    def test_caller_who_speaks_into_its_thoughts_is_answered_as_a_whole(self) -> None:
        heard: list[ToAnswer] = []

        def answer(turn: ToAnswer) -> ScriptedResponse:
            heard.append(turn)
            return ScriptedResponse((Speech(ONE, "Yes."),))

        driver = Driver(answer, manner=Manner(created_after=lambda number: 2.0))
        driver.speak(WORDS + silence(2.0) + WORDS + silence(1.0))
        driver.finish()
        [first, second] = driver.of("response.done")
        assert (first["response"]["status"], first["response"]["output"]) == ("cancelled", [])
        assert second["response"]["status"] == "completed"
        assert len(driver.of("response.created")) == 2
        [turn] = heard
        assert len(turn.heard) > 2 * len(WORDS) - 8000
        assert turn.number == 0

    def test_utterance_may_go_unanswered_until_the_client_asks(self) -> None:
        driver = Driver(manner=Manner(answers=lambda number: number != 0))
        driver.speak(WORDS + silence(1.0))
        driver.wait(5)
        assert driver.types[-1] != "response.done"
        assert not driver.of("response.created")
        driver.send("response.create")
        driver.finish()
        assert WORDS in driver.spoken
        driver.speak(WORDS + silence(1.0))
        assert len(driver.of("response.created")) == 2


class TestShapes:
    def test_two_messages_may_be_spoken_at_the_same_time(self) -> None:
        response = ScriptedResponse((Speech(ONE, "One."), Speech(OTHER, "Other.")), interleaved=True)
        driver = Driver(saying(response))
        driver.send("response.create")
        driver.finish()
        assert deltas(driver) == [(0, 0), (1, 0)] * 3
        one, other = driver.of("response.done")[0]["response"]["output"]
        assert (one["status"], other["status"]) == ("completed", "completed")
        spoken = {item["id"]: b"" for item in (one, other)}
        for delta in driver.of("response.output_audio.delta"):
            spoken[delta["item_id"]] += base64.b64decode(delta["delta"])
        assert list(spoken.values()) == [ONE, OTHER]

    def test_caller_who_interrupts_two_messages_at_once_ends_both(self) -> None:
        response = ScriptedResponse((Speech(ONE * 20, "One."), Speech(OTHER * 20, "Other.")), interleaved=True)
        driver = Driver(saying(response))
        driver.send("response.create")
        driver.wait(0.2)
        driver.send("response.cancel")
        assert [item["status"] for item in driver.of("response.done")[0]["response"]["output"]] == ["incomplete"] * 2
        assert len(driver.of("response.output_item.done")) == 2

    def test_only_the_part_that_has_the_audio_can_be_truncated(self) -> None:
        driver = Driver(saying(ScriptedResponse((Speech(ONE, "One.", content_index=1),))))
        driver.send("response.create")
        driver.finish()
        assert set(deltas(driver)) == {(0, 1)}
        [item] = driver.of("response.done")[0]["response"]["output"]
        assert [part["type"] for part in item["content"]] == ["output_text", "output_audio"]
        for index in (0, 1):
            driver.send("conversation.item.truncate", item_id=item["id"], content_index=index, audio_end_ms=200)
        assert driver.errors == ["invalid_value"]
        assert driver.types[-1] == "conversation.item.truncated"

    def test_message_without_audio_can_not_be_truncated(self) -> None:
        driver = Driver(saying(ScriptedResponse((Speech(b"", "One."),))))
        driver.send("response.create")
        driver.finish()
        [item] = driver.of("response.done")[0]["response"]["output"]
        assert (item["status"], item["content"][0]["transcript"]) == ("completed", "One.")
        driver.send("conversation.item.truncate", item_id=item["id"], content_index=0, audio_end_ms=0)
        assert driver.errors == ["unsupported_content_type"]

    def test_one_call_can_be_made_twice(self) -> None:
        call = ScriptedToolCall("look_up", '{"number": 7}', "call_1")
        driver = Driver(saying(ScriptedResponse((call, call))))
        driver.send("response.create")
        one, other = driver.of("response.done")[0]["response"]["output"]
        assert one["call_id"] == other["call_id"] == "call_1"
        assert one["id"] != other["id"]


class TestBreakingOff:
    @pytest.mark.parametrize("reason", ["content_filter", "max_output_tokens"])
    def test_incomplete_response_may_have_no_output(self, reason: str) -> None:
        driver = Driver(saying(ScriptedResponse((), "incomplete", reason)))
        driver.send("response.create")
        response = driver.of("response.done")[0]["response"]
        assert (response["status"], response["output"]) == ("incomplete", [])
        assert response["status_details"] == {"type": "incomplete", "reason": reason}

    def test_response_may_end_in_the_middle_of_a_function_call(self) -> None:
        call = ScriptedToolCall("look_up", '{"number": 7}')
        driver = Driver(saying(ScriptedResponse((Speech(ONE, "Wait."), call), "incomplete", "max_output_tokens")))
        driver.send("response.create")
        driver.finish()
        message, cut = driver.of("response.done")[0]["response"]["output"]
        assert (message["status"], cut["status"]) == ("completed", "incomplete")
        assert call.arguments.startswith(cut["arguments"])
        with pytest.raises(json.JSONDecodeError):
            json.loads(cut["arguments"])

    def test_server_may_cancel_a_response_though_nobody_speaks(self) -> None:
        driver = Driver(saying(ScriptedResponse((), "cancelled", "turn_detected")))
        driver.send("response.create")
        response = driver.of("response.done")[0]["response"]
        assert (response["status"], response["output"]) == ("cancelled", [])

    def test_words_may_be_impossible_to_transcribe(self) -> None:
        driver = Driver(transcribe=lambda audio: None)
        audio = {"input": {"transcription": {"model": "gpt-transcribe"}}}
        driver.send("session.update", session={"type": "realtime", "audio": audio})
        driver.speak(WORDS + silence(1.0))
        kind = "conversation.item.input_audio_transcription"
        assert len(driver.of(f"{kind}.failed")) == 1
        assert driver.of(f"{kind}.completed") == []
