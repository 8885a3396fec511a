"""Where a number leads, before and after, and what is saved of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from callgate.operator.setup.kept import KeptNumbers
from callgate.operator.setup.refusal import SetupRefused
from callgate.operator.setup.webhooks import Webhooks, wanted

SID = "PN" + 32 * "1"
NUMBER = "+15551230009"
OLD = Webhooks(voice_url="https://old.example/voice", voice_method="GET", trunk_sid="TK" + 32 * "2")
HERE = wanted("https://voice.callgate.test")


@pytest.fixture
def kept(tmp_path: Path) -> KeptNumbers:
    return KeptNumbers(tmp_path / ".callgate-number.json")


def test_the_fallback_is_where_an_interrupted_call_goes_on():
    assert HERE.voice_url == "https://voice.callgate.test/incoming-call"
    assert HERE.voice_fallback_url == "https://voice.callgate.test/call-interrupted"
    assert HERE.status_callback == "https://voice.callgate.test/call-status"
    assert {HERE.voice_method, HERE.voice_fallback_method, HERE.status_callback_method} == {"POST"}


def test_what_would_make_twilio_ignore_the_urls_is_cleared():
    assert (HERE.voice_application_sid, HERE.trunk_sid) == ("", "")


def test_what_may_be_secret_in_a_url_is_not_shown():
    old = Webhooks(voice_url="https://me:secret@old.example/voice?key=secret")
    ((_, shown, _), *_) = old.changes_to(HERE)
    assert shown == "https://***@old.example/voice?***"


def test_what_was_there_is_kept_for_its_owner_only(kept):
    kept.remember(SID, NUMBER, found=OLD, after=HERE)
    assert kept.read()[SID].before == OLD
    assert kept.path.stat().st_mode & 0o777 == 0o600


def test_a_second_domain_does_not_make_the_first_what_was_there_before(kept):
    elsewhere = wanted("https://other.callgate.test")
    kept.remember(SID, NUMBER, found=OLD, after=HERE)
    kept.remember(SID, NUMBER, found=HERE, after=elsewhere)
    assert (kept.read()[SID].before, kept.read()[SID].after) == (OLD, elsewhere)


@pytest.mark.parametrize("name", ["status_callback", "voice_fallback_url", "voice_method"])
def test_a_number_that_still_points_here_has_the_same_before_whatever_else_was_changed(kept, name):
    touched = dataclasses.replace(HERE, **{name: "" if name != "voice_method" else "GET"})
    kept.remember(SID, NUMBER, found=OLD, after=HERE)
    kept.remember(SID, NUMBER, found=touched, after=HERE)
    assert kept.read()[SID].before == OLD


@pytest.mark.parametrize("name", ["trunk_sid", "voice_application_sid"])
def test_a_number_that_was_given_to_a_trunk_or_an_application_in_between_points_elsewhere(kept, name):
    theirs = dataclasses.replace(HERE, **{name: "XX" + 32 * "3"})
    kept.remember(SID, NUMBER, found=OLD, after=HERE)
    kept.remember(SID, NUMBER, found=theirs, after=HERE)
    assert kept.read()[SID].before == theirs


def test_what_somebody_else_set_in_between_is_what_was_there_before(kept):
    theirs = Webhooks(voice_url="https://theirs.example/")
    kept.remember(SID, NUMBER, found=OLD, after=HERE)
    kept.remember(SID, NUMBER, found=theirs, after=HERE)
    assert kept.read()[SID].before == theirs


def test_the_file_goes_with_its_last_number(kept):
    kept.remember(SID, NUMBER, found=OLD, after=HERE)
    kept.forget(SID)
    assert not kept.path.exists()
    assert kept.read() == {}


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"PN1": {}}', '{"PN1": {"phone_number": "", "before": {}, "after": {}}}']
)
def test_a_file_that_is_not_ours_is_refused(kept, text):
    kept.path.write_text(text)
    with pytest.raises(SetupRefused, match="move it away"):
        kept.read()


def test_a_number_is_not_in_a_repr(kept):
    kept.remember(SID, NUMBER, found=OLD, after=HERE)
    assert NUMBER not in repr(kept.read())
    assert NUMBER in json.dumps(json.loads(kept.path.read_text()))
