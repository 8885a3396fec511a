"""What Twilio writes for a caller's number that is withheld is not taken for a number anywhere."""

from __future__ import annotations

import pytest
from callgate.agents.schema import Number
from callgate.config.settings import Config
from callgate.core.gate.call_request import read_request
from callgate.core.gate.numbers import why_denied
from callgate.core.masking import mask_caller
from callgate.core.withheld import is_withheld
from callgate.errors import ConfigError, OutboundRefused
from pydantic import TypeAdapter, ValidationError

KEYS = {"2": "abc", "3": "def", "4": "ghi", "5": "jkl", "6": "mno", "7": "pqrs", "8": "tuv", "9": "wxyz"}
WORDS = ["ANONYMOUS", "BLOCKED", "PRIVATE", "RESTRICTED", "UNAVAILABLE", "UNKNOWN"]


def spelled(word: str) -> str:
    """Return the keys of a telephone that spell a word."""
    return "".join(key for letter in word.lower() for key, letters in KEYS.items() if letter in letters)


SPELLED = [f"+{spelled(word)}" for word in WORDS] + ["+8566696"]


@pytest.mark.parametrize("number", [*SPELLED, *(number[1:] for number in SPELLED), "+464", "464"])
def test_a_number_that_spells_the_word_is_no_number(number):
    assert is_withheld(number)
    assert mask_caller(number) == "withheld"


@pytest.mark.parametrize(
    "text", [*WORDS, "Anonymous", "unknown", "", "+", " ", "No Caller ID", "sip:anonymous@anonymous.invalid", "SIP:@x"]
)
def test_the_word_itself_is_no_number(text):
    assert is_withheld(text)


@pytest.mark.parametrize(
    "number",
    # The last ones begin or end like a stand-in, and are somebody's.
    [
        "+15551230000",
        "sip:bob@example.com",
        "client:anonymous",
        "911",
        "+8656696123456",
        "+17378742833",
        "+26669668712",
    ],
)
def test_other_numbers_and_addresses_are_not_withheld(number):
    assert not is_withheld(number)
    assert mask_caller(number) != "withheld"


@pytest.mark.parametrize("number", SPELLED)
def test_nobody_is_called_under_such_a_number(number):
    assert "withholds" in why_denied(number, ["*", number])
    with pytest.raises(OutboundRefused, match="withholds") as refused:
        read_request({"to": number}, "hang-up", 600)
    assert refused.value.status == 400
    with pytest.raises(ConfigError, match=r"FALLBACK_DIAL.*withholds"):
        Config.parse({"FALLBACK_DIAL": number})
    with pytest.raises(ValidationError, match="withholds"):  # as the number of a transfer
        TypeAdapter(Number).validate_python(number)
