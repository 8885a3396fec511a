"""Whole conversations with a model and a caller that do anything at any time: `support.random_peer` has the rules.

`bench/conversations` has many more of them, and tells the story of one.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from callgate.core.protocols.realtime import AgentTranscript, AudioDelta, SpeechStarted
from callgate.core.turns.conversation import Conversation
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from support.random_peer.plan import Act, Answer, Fault, Habits, Opening, Plan, drawn
from support.random_peer.scene import Scene
from support.random_peer.shrink import brief, kind, shrunk, verdict


@st.composite
def plans(draw) -> Plan:
    return drawn(draw(st.randoms(use_true_random=False)))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans())
@pytest.mark.whole
def test_whatever_happens_in_whatever_order_the_rules_are_kept(plan):
    scene = Scene(plan, told=True)
    broken = verdict(scene)
    if broken is not None:
        note(brief(plan))
        note("\n".join(scene.story or ()))
    assert broken is None


def test_what_happens_follows_from_the_plan_alone():
    for seed in range(20):
        plan = drawn(Random(seed))
        once, again = Scene(plan, told=True), Scene(plan, told=True)
        once.run()
        again.run()
        assert once.story == again.story


@pytest.mark.parametrize(
    "plan",
    [
        Plan((Act("speaks"), Act("speaks", 6.0)), (Answer(), Answer("calls two tools"), Answer("two items by turns"))),
        Plan((Act("speaks"),), (Answer(), Answer("empty"), Answer("failed"), Answer("refuses"))),
        Plan((Act("speaks softly"),), openings=(Opening("refused"),), faults=(Fault(0, 12, "hung"),)),
        Plan((Act("speaks"),), habits=(Habits(begins_after=4.0, has_twins=True, alive="never"),)),
        Plan((Act("is silent for an hour"), Act("speaks"))),
        Plan((Act("speaks"),), (Answer("empty"),) * 12),
    ],
    ids=["calm", "fails", "hung", "twins", "an hour", "hopeless"],
)
def test_a_call_as_it_is_planned_keeps_the_rules(plan):
    assert verdict(Scene(plan)) is None


class Sabotaged:
    """A conversation that is not told some of the model's events, and so does what it must not."""

    deaf_to: tuple[type, ...] = ()

    def __init__(self, *args: Any) -> None:
        self._conversation = Conversation(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conversation, name)

    def model_sent(self, event: Any, now: float) -> list[Any]:
        return [] if isinstance(event, self.deaf_to) else self._conversation.model_sent(event, now)


@pytest.fixture
def sabotage(monkeypatch):
    def deaf_to(*kinds: type) -> None:
        monkeypatch.setattr(Sabotaged, "deaf_to", kinds)
        monkeypatch.setattr("support.random_peer.scene.Conversation", Sabotaged)

    return deaf_to


@pytest.mark.parametrize(
    ("events", "broken"),
    [
        ((SpeechStarted,), "never both at once: the caller speaks, and the agent is not silenced"),
        ((AgentTranscript,), "memory is what was heard: of item_"),
        ((AudioDelta,), "an end: the safety net after 0 failures (nothing)"),
        ((object,), "answered: "),
    ],
    ids=["speech", "texts", "audio", "everything"],
)
def test_the_rules_see_what_is_wrong(sabotage, events, broken):
    sabotage(*events)
    plan = Plan((Act("speaks", 1.0),), (Answer(seconds=4.0),), is_cut=False)
    assert (verdict(Scene(plan)) or "").startswith(broken)


def test_a_plan_is_made_smaller_as_long_as_it_breaks_the_same_rule(sabotage):
    sabotage(SpeechStarted)
    plan = next(plan for seed in range(100) if verdict(Scene(plan := drawn(Random(seed)))) is not None)
    smallest = shrunk(plan)
    assert len(brief(smallest)) < len(brief(plan)) / 3
    assert kind(verdict(Scene(smallest))) == kind(verdict(Scene(plan)))
