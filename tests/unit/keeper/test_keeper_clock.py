"""The clock, where the authority can't be asked for the time, and how its finding is written."""

import dataclasses
import datetime
import os
import time
from pathlib import Path

import pytest
from keeper.look.authority import Directory
from keeper.look.clock import look_at_clock, span
from keeper.look.finding import Verdict
from keeper.pairs import self_signed
from keeper.settings import Settings
from support.edge.pairs import Authority, Pair

DOMAIN = "voice.example.com"
DAYS = 86400.0


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    folders = {"CERTBOT_STATE": str(tmp_path / "state"), "CERT_PUBLISHED": str(tmp_path / "published")}
    return Settings.parse({"DOMAIN": DOMAIN, **folders})


NOBODY = Directory(url="https://ca.example/dir", trouble="unreachable", why="it does not answer")


def test_published_certificate_that_is_not_valid_yet_shows_a_slow_clock(here: Settings):
    pair = Authority().issue(DOMAIN, starts_in=datetime.timedelta(days=-3))
    pair.write(here.published / DOMAIN / "current")
    finding = look_at_clock(NOBODY, here, time.time() - 8 * DAYS)
    assert finding.verdict is Verdict.WRONG
    assert finding.says.startswith("this machine's clock is at least 5 days slow: set it by NTP")


def test_certificate_that_this_machine_made_itself_shows_nothing(here: Settings):
    made = self_signed.make(DOMAIN, datetime.datetime.now(datetime.UTC))
    Pair(made.fullchain, made.privkey).write(here.published / DOMAIN / "current")
    finding = look_at_clock(NOBODY, here, time.time() - 8 * DAYS)
    assert finding.verdict is not Verdict.WRONG


def test_file_from_the_future_is_suspicious(here: Settings):
    heartbeat = here.state / "keeper" / "heartbeat"
    heartbeat.parent.mkdir(parents=True)
    heartbeat.touch()
    os.utime(heartbeat, (time.time() + 3 * DAYS,) * 2)
    finding = look_at_clock(NOBODY, here, time.time())
    assert finding.verdict is Verdict.SUSPICIOUS
    assert finding.says.startswith("this machine's clock may be 3 days slow: set it by NTP")


def test_without_any_sign_it_is_not_told(here: Settings):
    assert look_at_clock(NOBODY, here, time.time()).verdict is Verdict.CANT_TELL


@pytest.mark.parametrize("date", ["yesterday", "", "Fri, 99 Nov 2026 10:00:00 GMT"])
def test_date_that_is_none_tells_nothing(here: Settings, date: str):
    answers = dataclasses.replace(NOBODY, trouble="", status=200, date=date)
    assert look_at_clock(answers, here, time.time()).verdict is Verdict.CANT_TELL


@pytest.mark.parametrize(
    ("seconds", "written"), [(1.4, "1 seconds"), (119, "119 seconds"), (7199, "120 minutes"), (172800, "2 days")]
)
def test_span_is_written_in_its_largest_unit(seconds: float, written: str):
    assert span(seconds) == written
