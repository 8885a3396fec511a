"""Telephone numbers: how they are read, which may be called, and that the documentation lists the same."""

from __future__ import annotations

import re

import pytest
from callgate.core.gate.numbers import DENIED, read_number, why_denied
from hypothesis import given
from hypothesis import strategies as st
from support.project import ROOT

PAGE = ROOT / "docs/outbound.md"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+15551230000", "+15551230000"),
        ("+1 (555) 123-00.00", "+15551230000"),
        (" 15551230000", "+15551230000"),  # a + in a query string
        ("0015551230000", None),
        ("+1555", None),
        ("+1555123000000000", None),
        ("+1555123000٠", None),
        ("+1+5551230000", None),
        ("tel:+15551230000", None),
    ],
)
def test_a_number_is_read_as_people_write_it_or_not_at_all(text, number):
    assert read_number(text) == number


@given(st.text(max_size=30))
def test_whatever_is_read_is_e164(text):
    number = read_number(text)
    assert number is None or re.fullmatch(r"\+[1-9][0-9]{6,14}", number)


@pytest.mark.parametrize("prefix", [prefix for prefixes in DENIED.values() for prefix in prefixes])
def test_what_is_denied_is_rung_only_where_it_is_listed_whole(prefix):
    number = f"+{prefix}5551234"
    assert "list in full" in why_denied(number, ["*"])
    assert "list in full" in why_denied(number, [f"+{prefix}*"])
    assert why_denied(number, ["*", number]) is None


@pytest.mark.parametrize("number", ["+15551230000", "+442079460000", "+353152400000", "+390612345678", "+8131234567"])
def test_ordinary_numbers_are_rung_where_any_number_is_allowed(number):
    assert why_denied(number, ["*"]) is None
    assert why_denied(number, [number[:4] + "*"]) is None
    assert "not listed" in why_denied(number, [])
    assert "not listed" in why_denied(number, ["+7*", number + "0"])


def test_the_page_lists_what_is_denied_and_no_more():
    rows = re.findall(r"^\| ([a-z][^|]*) \| ((?:\+\d+(?:, )?)+) \|$", PAGE.read_text(), re.MULTILINE | re.IGNORECASE)
    assert {kind: tuple(re.findall(r"\d+", prefixes)) for kind, prefixes in rows} == DENIED
