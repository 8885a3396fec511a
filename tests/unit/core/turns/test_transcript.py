"""What was said, how much of it was heard, and what another model is told of it."""

import pytest
from callgate.core.turns.transcript import MOST_TEXT, MOST_TURNS, Role, Transcript, Turn
from hypothesis import given
from hypothesis import strategies as st


def agent(text: str, audio_ms: int, heard_ms: int | None) -> Turn:
    return Turn("a", Role.AGENT, text, audio_ms, heard_ms)


@pytest.mark.parametrize(
    ("heard_ms", "heard"),
    [
        (None, "one two three"),
        (0, ""),
        (1300, "one two three"),
        (2000, "one two three"),
        (700, "one two"),
        (600, "one"),
    ],
)
def test_the_text_is_cut_at_a_word_where_the_audio_was(heard_ms, heard):
    assert agent("one two three", 1300, heard_ms).heard_text == heard


@given(st.text(max_size=80), st.integers(1, 10_000), st.integers(0, 12_000))
def test_what_was_heard_begins_what_was_said(text, audio_ms, heard_ms):
    assert text.startswith(agent(text, audio_ms, heard_ms).heard_text)


def test_turns_stand_in_the_order_of_the_conversation_though_their_texts_come_late():
    transcript = Transcript()
    transcript.caller_spoke("c1")
    transcript.agent_writes("a1", "Good ")
    transcript.agent_writes("a1", "day.")
    transcript.agent_spoke("a1", 8000)
    transcript.caller_said("c1", " Hello? ")
    assert [(turn.role, turn.text) for turn in transcript.history()] == [
        (Role.CALLER, "Hello?"),
        (Role.AGENT, "Good day."),
    ]


def test_what_has_no_words_is_not_told():
    transcript = Transcript()
    transcript.caller_spoke("c1")
    transcript.agent_writes("a1", "Never heard.")
    transcript.agent_spoke("a1", 8000)
    transcript.cut("a1", 0)
    assert transcript.history() == ()


def test_of_a_long_call_the_latest_is_told_and_remembered():
    transcript = Transcript()
    for number in range(2 * MOST_TURNS):
        transcript.caller_said(f"c{number}", f"{number:04}" + "x" * 196)
    assert len(transcript.turns) == MOST_TURNS
    told = transcript.history()
    assert told[-1].text.startswith(f"{2 * MOST_TURNS - 1:04}")
    assert MOST_TEXT - 200 < sum(len(turn.text) for turn in told) <= MOST_TEXT


def test_a_memory_goes_on():
    transcript = Transcript((Turn("c1", Role.CALLER, "My name is Ada."),))
    transcript.agent_wrote("a1", "Hello Ada.")
    transcript.agent_spoke("a1", 8000)
    assert [turn.text for turn in transcript.history()] == ["My name is Ada.", "Hello Ada."]
