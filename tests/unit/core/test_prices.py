from decimal import Decimal

import pytest
from callgate.core.prices import PRICES, Price, Usage, estimate, usage_of
from callgate.peers.linecheck.realtime.response import ScriptedResponse, Speech
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime.realtime_response_usage import RealtimeResponseUsage
from support.linecheck_driver import WORDS, Driver

TOKENS = st.integers(0, 10_000_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    text_in, audio_in = draw(TOKENS), draw(TOKENS)
    return Usage(
        text_in=text_in,
        audio_in=audio_in,
        cached_text_in=draw(st.integers(0, text_in)),
        cached_audio_in=draw(st.integers(0, audio_in)),
        text_out=draw(TOKENS),
        audio_out=draw(TOKENS),
    )


def written(usage: Usage) -> dict:
    """Return the usage as the API writes it, checked by the SDK's own type."""
    cached = {"text_tokens": usage.cached_text_in, "audio_tokens": usage.cached_audio_in}
    value = {
        "input_tokens": usage.text_in + usage.audio_in,
        "output_tokens": usage.text_out + usage.audio_out,
        "total_tokens": usage.total,
        "input_token_details": {
            "text_tokens": usage.text_in,
            "audio_tokens": usage.audio_in,
            "cached_tokens": sum(cached.values()),
            "cached_tokens_details": cached,
        },
        "output_token_details": {"text_tokens": usage.text_out, "audio_tokens": usage.audio_out},
    }
    read = RealtimeResponseUsage.model_validate(value, strict=True)
    assert read.model_dump(exclude_none=True) == value  # no key is unknown to the type
    assert read.to_dict() == value
    assert not read.model_extra
    assert not read.input_token_details.model_extra
    return value


EVERY_KIND = Price(*(Decimal(price) for price in ("4", "0.5", "24", "32", "0.4", "64")))


@given(usages())
def test_usage_is_read_as_the_api_writes_it(usage):
    assert usage_of(written(usage)) == usage


def test_usage_of_a_response_of_the_realtime_server_is_read_whole():
    driver = Driver(lambda turn: ScriptedResponse((Speech(WORDS[:3_200], "Hello there"),)))
    driver.send("response.create")
    driver.finish()
    (done,) = driver.of("response.done")
    usage = usage_of(done["response"]["usage"])
    assert usage.audio_out > 0
    assert usage.total == done["response"]["usage"]["total_tokens"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        [],
        "usage",
        {"input_token_details": None, "output_token_details": 7},
        {"input_token_details": {"text_tokens": None, "audio_tokens": "9", "cached_tokens_details": []}},
        {"output_token_details": {"text_tokens": True, "audio_tokens": -1}},
    ],
)
def test_usage_that_is_missing_or_makes_no_sense_is_no_tokens(value):
    assert usage_of(value) == Usage()


def test_no_more_tokens_are_cached_than_there_are():
    details = {"audio_tokens": 5, "cached_tokens_details": {"audio_tokens": 9, "text_tokens": 9}}
    assert usage_of({"input_token_details": details}) == Usage(audio_in=5, cached_audio_in=5)


def test_cached_tokens_of_unknown_kind_cost_as_others_do():
    assert usage_of({"input_token_details": {"audio_tokens": 5, "cached_tokens": 4}}) == Usage(audio_in=5)


@given(usages(), usages())
def test_a_sum_costs_what_its_parts_cost(one, other):
    assert EVERY_KIND.of(one + other) == EVERY_KIND.of(one) + EVERY_KIND.of(other)
    assert (one + other).total == one.total + other.total


@given(usages())
def test_caching_never_makes_a_call_dearer(usage):
    uncached = Usage(usage.text_in, usage.audio_in, text_out=usage.text_out, audio_out=usage.audio_out)
    assert 0 <= EVERY_KIND.of(usage) <= EVERY_KIND.of(uncached)


def test_each_kind_of_token_has_its_own_price():
    million = 1_000_000
    kinds = {
        "4": Usage(text_in=million),
        "0.5": Usage(text_in=million, cached_text_in=million),
        "24": Usage(text_out=million),
        "32": Usage(audio_in=million),
        "0.4": Usage(audio_in=million, cached_audio_in=million),
        "64": Usage(audio_out=million),
    }
    assert {price: EVERY_KIND.of(usage) for price, usage in kinds.items()} == {price: Decimal(price) for price in kinds}


def test_tokens_whose_price_is_not_known_make_the_cost_unknown_and_none_of_them_do_not():
    price = Price(audio_in=Decimal(32))
    assert price.of(Usage(audio_in=1_000)) == Decimal("0.032")
    assert price.of(Usage(audio_in=1_000, cached_audio_in=1)) is None
    assert price.of(Usage(audio_in=1_000, text_out=1)) is None


@pytest.mark.parametrize("model", sorted(PRICES))
def test_a_snapshot_or_a_deployment_costs_what_its_model_costs_and_not_what_a_shorter_name_does(model):
    usage = Usage(text_in=3, audio_in=1_000, text_out=5, audio_out=70)
    expected = PRICES[model].of(usage)
    assert estimate(model, usage) == expected
    assert estimate(f"{model}-2026-11-02", usage) == expected
    assert estimate(f"{model}-sweden", usage) == expected


@pytest.mark.parametrize("model", ["", "voice", "gpt-realtime", "gpt-realtime-2.10", "gpt-realtime-2", "my-line-check"])
def test_the_cost_of_a_model_that_is_not_in_the_table_is_unknown(model):
    assert estimate(model, Usage(text_in=1)) is None


def test_the_line_check_costs_nothing():
    assert estimate("line-check", Usage(9, 9, 1, 1, 9, 9)) == 0
