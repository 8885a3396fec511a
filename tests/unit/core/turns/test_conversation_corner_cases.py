"""Orders of events that only random ones had come up with."""

from __future__ import annotations

from callgate.core.protocols.realtime import (
    SpeechStarted,
    SpeechStopped,
)
from support.conversation_driver import LOUD, QUIET


class TestCallerAudio:
    def test_silence_that_lasts_from_before_an_answer_to_after_the_next_loss_is_kept_like_any_other(self, talking):
        talking.hears(LOUD, 0.4)
        talking.model(SpeechStarted())
        talking.hears(QUIET, 1.5)
        talking.model(SpeechStopped())
        talking.says(0.2)
        talking.loses_model()
        talking.hears(QUIET, 0.4)
        assert talking.ended is None
