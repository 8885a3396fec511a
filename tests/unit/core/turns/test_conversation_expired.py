"""A session that its server ends because it has lasted too long."""

from __future__ import annotations

from callgate.core.protocols.realtime import (
    ErrorEvent,
    ResponseCreated,
    ResponseDone,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
)
from callgate.core.turns.commands import OpenModel, Outcome
from callgate.core.turns.recovery import MOST_STRIKES
from callgate.core.turns.session_life import YOUNG
from support.conversation_driver import LOUD, QUIET, Call, of


def speaks_up(call: Call, item: str = "c1") -> None:
    call.hears(LOUD, 0.6)
    call.model(SpeechStarted())
    call.hears(QUIET, 0.5)
    call.model(SpeechStopped(), SpeechCommitted(item))


class TestExpired:
    def test_a_response_that_fails_because_the_session_has_expired_does_not_end_the_call(self, talking):
        speaks_up(talking)
        done = ResponseDone("resp_1", "failed", error_code="session_expired")
        assert of(OpenModel, talking.model(ResponseCreated("resp_1"), done))
        assert talking.ended is None

    def test_sessions_that_expire_as_soon_as_they_are_opened_lead_to_the_safety_net(self, talking):
        for _ in range(MOST_STRIKES):
            assert talking.ended is None
            talking.model(ErrorEvent("session_expired", ""))
            talking.waits(3.0)
            talking.ready()
        assert talking.ended.outcome is Outcome.FAILED

    def test_one_that_has_served_for_a_while_does_not_count(self, talking):
        for _ in range(2 * MOST_STRIKES):
            talking.lives(YOUNG + 1.0)
            talking.model(ErrorEvent("session_expired", ""))
            talking.ready()
        assert talking.ended is None
