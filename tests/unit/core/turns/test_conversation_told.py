"""What a new session, and the record, are told of what the agent said before."""

from __future__ import annotations

from callgate.core.protocols.realtime import (
    AddUserText,
    AgentTranscript,
    AudioDelta,
    AudioDone,
    ResponseCreated,
    ResponseDone,
    SpeechStarted,
)
from callgate.core.turns.commands import OpenModel
from callgate.core.wire.media_stream import Dtmf
from support.conversation_driver import EQUIPPED, LOUD, Call, audio, greeted, of


class TestWhatIsTold:
    def test_a_session_that_was_told_words_as_text_is_told_if_the_caller_interrupts_them(self, talking):
        talking.says(10.0)
        talking.model(AgentTranscript("item_1", "one two three four five six seven eight", complete=True))
        talking.model(AudioDone("resp_1", "item_1"), ResponseDone("resp_1", "completed"))
        talking.waits(3.0)
        talking.loses_model()
        talking.ready()
        talking.hears(LOUD, 0.6)
        (note,) = of(AddUserText, talking.model(SpeechStarted()))
        assert 'heard only "one two three"' in note.text

    def test_in_a_long_call_by_keys_old_turns_are_not_recorded_anew_without_their_words(self):
        call = greeted(Call(EQUIPPED))
        for number in range(150):
            item, response = f"item_{number}", f"resp_{number}"
            call.twilio(Dtmf("MZ1", "1"))
            call.lives(2.0)
            call.model(ResponseCreated(response), AudioDelta(response, item, audio(0.2)))
            call.model(AgentTranscript(item, f"words {number}", complete=True))
            call.model(AudioDone(response, item), ResponseDone(response, "completed"))
            call.lives(1.0)
            call.returns_marks()
        call.said.clear()
        (wanted,) = of(OpenModel, call.loses_model())
        assert [turn.item_id for turn in call.said.values() if not turn.text] == []
        assert wanted.history[-1].text == "words 149"
        assert len(wanted.history) > 190
