import json
from decimal import Decimal

import pytest
from callgate.core.prices import PRICES_OF, Usage, estimate
from callgate.core.receipt import Counters, Receipt
from callgate.core.turns.commands import Outcome
from hypothesis import given
from hypothesis import strategies as st

MODEL, MINI = "gpt-realtime-2.1", "gpt-realtime-2.1-mini"
SOME = Usage(text_in=400, audio_in=900, cached_audio_in=300, text_out=120, audio_out=420)


def a_call() -> Counters:
    counters = Counters(1_000.0)
    counters.served_by(MODEL)
    counters.interruptions = 2
    counters.reconnects = 1
    counters.frames_in = 4210
    counters.frames_out = 3987
    counters.agent_audio_sent(1_000.096)
    counters.spent(MODEL, SOME)
    return counters


def receipt_of(counters: Counters, ended: Outcome = Outcome.CALLER_HUNG_UP, reason: str = "") -> Receipt:
    return counters.receipt(now=1_084.2, ended=ended, reason=reason)


def test_a_receipt_is_one_line_that_tells_the_call():
    line = receipt_of(a_call()).line()
    cost = estimate(MODEL, SOME)
    assert line == (
        "Receipt: 84.2 s, first audio after 96 ms, 2 interruptions, 1 reconnect, 4210 frames in, 3988 out, "
        "1840 tokens (gpt-realtime-2.1: 900 audio and 400 text in, of them 300 cached; 420 audio and 120 text out), "
        f"about ${cost:.4f} (prices of {PRICES_OF}), the caller hung up"
    )


def test_what_went_wrong_is_told_only_where_it_did():
    quiet, bad = receipt_of(a_call()).line(), a_call()
    assert "resume" not in quiet
    assert "dropped" not in quiet
    bad.resumes, bad.frames_dropped = 1, 7
    assert "1 reconnect, 1 resume, 4210 frames in, 3988 out, 7 dropped, " in receipt_of(bad).line()


def test_a_call_that_no_model_answered_has_a_receipt_too():
    line = receipt_of(Counters(1_084.2), Outcome.FAILED, "OpenAI refused the session").line()
    assert line == (
        "Receipt: 0.0 s, no audio, 0 interruptions, 0 reconnects, 0 frames in, 0 out, 0 tokens, no cost, "
        "the call failed: OpenAI refused the session"
    )


@pytest.mark.parametrize(
    ("outcome", "reason", "told"),
    [
        (Outcome.GOODBYE, "the agent hung up, and was heard to the end", "the agent hung up, and was heard to the end"),
        (Outcome.SHUT_DOWN, "the service is stopping", "the service is stopping"),
        (Outcome.FAILED, "the model said:\n  no", "the call failed: the model said: no"),
    ],
)
def test_how_a_call_ended_is_told_once_and_on_the_same_line(outcome, reason, told):
    line = receipt_of(a_call(), outcome, reason).line()
    assert line.endswith(f"), {told}")
    assert "\n" not in line


def test_the_agents_first_audio_is_the_first():
    counters = a_call()
    counters.agent_audio_sent(1_050.0)
    receipt = receipt_of(counters)
    assert (receipt.first_audio_ms, receipt.frames_out) == (96, 3989)


def test_tokens_of_each_model_cost_what_that_model_costs():
    counters = a_call()
    counters.served_by(MINI)
    counters.spent(MINI, SOME)
    counters.spent(MODEL, SOME)
    receipt = receipt_of(counters)
    assert receipt.model == f"{MODEL}, {MINI}"
    assert receipt.usage == SOME + SOME + SOME
    assert receipt.cost_usd == estimate(MODEL, SOME + SOME) + estimate(MINI, SOME)


def test_the_cost_is_unknown_when_that_of_one_model_is():
    counters = a_call()
    counters.spent("a-model-of-tomorrow", Usage(text_in=1))
    receipt = receipt_of(counters)
    assert receipt.cost_usd is None
    assert f"cost unknown (prices of {PRICES_OF})" in receipt.line()
    assert receipt.as_dict()["cost_usd"] is None


def test_a_model_that_served_and_spent_nothing_is_named_and_costs_nothing():
    counters = Counters(0.0)
    counters.served_by("a-model-of-tomorrow")
    receipt = receipt_of(counters)
    assert (receipt.model, receipt.cost_usd) == ("a-model-of-tomorrow", 0)


@given(
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.none() | st.floats(0, 1e5),
    st.sampled_from(Outcome),
    st.text(max_size=40),
)
def test_a_record_is_json_and_exact(audio_in, audio_out, first, ended, reason):
    counters = Counters(0.0)
    counters.spent(MODEL, Usage(audio_in=audio_in, audio_out=audio_out))
    if first is not None:
        counters.agent_audio_sent(first)
    receipt = counters.receipt(now=1e5, ended=ended, reason=reason)
    record = json.loads(json.dumps(receipt.as_dict(), allow_nan=False))
    assert record == receipt.as_dict()
    assert Decimal(record["cost_usd"]) == receipt.cost_usd
    assert "E" not in record["cost_usd"]
    assert Usage(**record["usage"]) == receipt.usage
    assert Outcome[record["ended"].upper()] is ended
