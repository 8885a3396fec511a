"""What is kept of a text written by others."""

from __future__ import annotations

import re

import pytest
from callgate.core.foreign import (
    LONGEST,
    described,
    foreign,
    is_name,
    name_or_length,
    printable,
)
from callgate.core.masking import mask_all_numbers, mask_number, mask_numbers
from hypothesis import given
from hypothesis import strategies as st

CALL, STREAM = "CA" + "0123456789abcdef" * 2, "MZ" + "12345678" * 4
NUMBERS = [
    "+15551230000", "+1 555 123 0000", "+1 (555) 123-0000", "+1-555-123-0000", "+1.555.123.0000", "+49 (0) 30 1234567",
    "%2B15551230000", "%2b15551230000", "%2B1%20555%20123%200000", "0049 30 1234567", "004930/1234567",
    "00493012345678", "\uff0b15551230000",
]  # fmt: skip
BARE = ["15551230000", "5551230000"]
FOREIGN = [
    "555-1230",
    "(555) 123-0000",
    "01.23.45.67.89",
    "555_123_0000",
    "555–123–0000",
    "tel5551230000x",
    "٥٥٥١٢٣٠٠٠٠",
]


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+15550001234", "+*********34"),
        ("15551230042", "*********42"),
        ("+1 (555) 123-00 42", "+* (***) ***-** 42"),
        ("sip:alice@a.example", "***"),
        ("client:alice", "***"),
        ("911", "***"),
        ("", ""),
    ],
)
def test_a_number_is_shown_with_its_last_two_digits_at_most(number, shown):
    assert mask_number(number) == shown


@pytest.mark.parametrize("number", [*NUMBERS, *BARE])
def test_a_telephone_number_is_masked_however_it_is_written(number):
    for around in ("{}", "call {} now", "to={}&x=1", "'{}'.", "({})"):
        assert number not in mask_numbers(around.format(number))
        assert number not in mask_all_numbers(around.format(number))


@pytest.mark.parametrize("number", FOREIGN)
def test_in_a_foreign_text_every_long_run_of_digits_is_masked(number):
    masked = mask_all_numbers(f"call {number} now")
    assert number not in masked
    assert "*****" in masked


def test_our_own_numbers_are_masked_as_ever():
    assert mask_numbers("from +15551230042 to +15551230043") == "from +*********42 to +*********43"
    assert mask_numbers(mask_number("+15551230042")) == "+*********42"
    assert mask_all_numbers(mask_number("+15551230042")) == "+*********42"


@pytest.mark.parametrize(
    "text",
    [
        f"Stream started: {STREAM}, Call: {CALL}", "http://127.0.0.1:8765", "192.168.100.200, port 65535",
        "[2001:db8::1234:5678]:443", "2026-11-23", "gpt-realtime-2024-12-17", "[Errno 111]", "HTTP 503",
        "CONNECT_TIMEOUT = 10000 ms",
    ],
)  # fmt: skip
def test_ids_addresses_dates_and_ports_stay_readable_in_any_text(text):
    assert mask_numbers(text) == text
    assert mask_all_numbers(text) == text


@pytest.mark.parametrize(
    "text",
    ["Receipt: 1084.2 s, 1234567 tokens", "an event of more than 4194304 bytes", "by up to 1234 ms",
     "[request 0123456789abcdef0123456789abcdef]", "[request 12345678-1234-1234-1234-123456789012]",
     "2026-11-23 10:00:00,000 INFO - x"],
)  # fmt: skip
def test_counts_and_ids_stay_readable_in_our_own(text):
    assert mask_numbers(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("The model `gpt-realtime-9` does not exist", "The model `gpt-realtime-9` does not exist"),
        ("Invalid value: 'my foot hurts'. Supported values are: 'a', 'b'.",
         "Invalid value: '…'. Supported values are: 'a', 'b'."),
        ('Missing parameter "session.tools[0].name"', 'Missing parameter "session.tools[0].name"'),
        ("It can't be read: 'I can't say' isn't", "It can't be read: '…' isn't"),
        ("b'my foot hurts' and \"it's mine\"", "'…' and \"…\""),
        ("„mein Fuß“ «mon pied» “my foot” ‘my foot’ »mein Fuß«", "„…“ «…» “…” ‘…’ »…«"),
        ("said 'my foot hurts and goes on", "said '…'"),
        ("ValueError('my \\'foot\\' hurts')", "ValueError('…')"),
        ("first\r\n2026-01-01 INFO - forged", "first …"),
        ("a\x1b[2Jb\x07c\u202ed\u2028", "a\ufffd[2Jb\ufffdc\ufffdd"),
        ("a\u00a0b\tc", "a b c"),
        ("GET https://h.example/a?name=Jane%20Roe failed", "GET https://h.example/a?… failed"),
        ("postgresql://user:secret@h/db refused", "postgresql://***@h/db refused"),
        ("", ""),
        (" \n ", ""),
    ],
)  # fmt: skip
def test_a_foreign_text_is_one_line_without_what_it_quotes(text, left):
    assert foreign(text) == left


def test_a_foreign_text_is_cut():
    assert foreign("a " * 1000) == ("a " * 100).rstrip() + " …"
    assert len(foreign("a" * 10_000_000)) <= LONGEST + 2


@given(st.text())
def test_whatever_it_is_it_comes_out_as_one_short_line(text):
    cleaned = foreign(text)
    assert cleaned.isprintable()
    assert len(cleaned) <= LONGEST + 2
    assert printable(text).isprintable()


@given(st.text("0123456789 +", max_size=60))
def test_whatever_the_digits_are_no_seven_of_them_are_left_in_a_row(text):
    assert not re.search(r"\d(?: {0,2}\d){6,}", mask_all_numbers(text))


def test_an_error_is_described_by_its_names_and_the_length_of_its_words():
    told = described("invalid_value", "invalid_request_error", "session.tools[0].name", "My foot hurts")
    assert told == (
        "invalid_value (type invalid_request_error, param session.tools[0].name, 13 characters of text left out)"
    )
    assert described("server_error", "server_error") == "server_error"
    assert described(None, None, None, "x") == "no code (1 character of text left out)"


@pytest.mark.parametrize(
    "code",
    ["my foot hurts", "5551230000", "555-123-0000", "x" * 65, "a\nb", "fuß", "", "a/b", {"my": "foot"}, 5551230000],
)
def test_what_is_no_name_is_not_told_as_one(code):
    assert not is_name(code)
    for told in (described(code or " ", code, code, None), name_or_length(code)):
        assert "left out" in told
        assert "foot" not in told
        assert "555" not in told
