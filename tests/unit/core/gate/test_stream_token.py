import pytest
from callgate.core.absences import NEVER_AWAY, Absences
from callgate.core.gate.stream_token import LIFETIME, RepeatTokens, StreamTokens
from callgate.errors import RequestRefused
from hypothesis import given
from hypothesis import strategies as st

CALL = "CA" + "0" * 32
NOW = 1_800_000_000.0
ISSUED = StreamTokens(["key"]).issue(CALL, NOW)


def test_a_token_tells_its_call():
    token = StreamTokens(["key"]).read(StreamTokens(["key"]).issue(CALL, NOW), NOW)
    assert (token.call_sid, token.expires) == (CALL, NOW + LIFETIME)


@pytest.mark.parametrize(
    ("resumed", "absences", "goes_on"),
    [(0, NEVER_AWAY, False), (1, NEVER_AWAY, True), (0, Absences(1, 0, True), True), (2, Absences(1, 3), True)],
)
def test_a_token_tells_how_the_call_came_to_this_stream(resumed, absences, goes_on):
    tokens = StreamTokens(["key"])
    token = tokens.read(tokens.issue(CALL, NOW, resumed, absences), NOW)
    assert (token.resumed, token.absences, token.goes_on) == (resumed, absences, goes_on)


def test_two_tokens_of_one_call_differ():
    tokens = StreamTokens(["key"])
    assert tokens.issue(CALL, NOW) != tokens.issue(CALL, NOW)


def test_a_token_is_good_for_a_minute_and_no_longer():
    tokens = StreamTokens(["key"])
    text = tokens.issue(CALL, NOW)
    tokens.read(text, NOW + LIFETIME)
    with pytest.raises(RequestRefused, match="expired"):
        tokens.read(text, NOW + LIFETIME + 1)


def test_a_token_of_the_auth_token_being_replaced_is_taken():
    StreamTokens(["new", "old"]).read(StreamTokens(["old"]).issue(CALL, NOW), NOW)


def test_a_new_token_is_signed_with_the_first_auth_token():
    StreamTokens(["new"]).read(StreamTokens(["new", "old"]).issue(CALL, NOW), NOW)


def test_a_foreign_token_is_refused():
    with pytest.raises(RequestRefused):
        StreamTokens(["key"]).read(StreamTokens(["other"]).issue(CALL, NOW), NOW)


@given(st.text(max_size=200))
def test_no_text_is_taken_for_a_token(text):
    with pytest.raises(RequestRefused):
        StreamTokens(["key"]).read(text, NOW)


@given(st.data())
def test_a_changed_token_is_refused(data):
    text = ISSUED
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != text[at]))
    changed = text[:at] + other + text[at + 1 :]
    try:
        token = StreamTokens(["key"]).read(changed, NOW)
    except RequestRefused:
        return
    assert token == StreamTokens(["key"]).read(text, NOW)  # base64 has unused bits at its end


def test_a_token_stands_in_a_url_path():
    assert set(StreamTokens(["key"]).issue(CALL, NOW)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    )


def test_a_repeat_token_tells_its_call_and_is_good_for_a_minute():
    tokens = RepeatTokens(["key"])
    text = tokens.issue(CALL, NOW)
    assert tokens.read(text, NOW + LIFETIME).call_sid == CALL
    with pytest.raises(RequestRefused, match="expired"):
        tokens.read(text, NOW + LIFETIME + 1)


def test_neither_token_serves_as_the_other():
    """A repeat token is given to anyone who replays a captured webhook."""
    with pytest.raises(RequestRefused):
        StreamTokens(["key"]).read(RepeatTokens(["key"]).issue(CALL, NOW), NOW)
    with pytest.raises(RequestRefused):
        RepeatTokens(["key"]).read(ISSUED, NOW)


@given(st.text(max_size=200))
def test_no_text_is_taken_for_a_repeat_token(text):
    with pytest.raises(RequestRefused):
        RepeatTokens(["key"]).read(text, NOW)
