"""The weekly limit of Let's Encrypt is never used up by a loop: certbot is not even started."""

from __future__ import annotations

import dataclasses
import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from keeper import settings
from keeper.errors import IssueError, LimitError, PreflightError
from keeper.issue import Request, issue
from keeper.keeper import Keeper
from keeper.kinds import Kind
from keeper.ladder import DAYS, Ladder
from keeper.loop import Service
from keeper.settings import LETS_ENCRYPT, Settings
from support.edge.pairs import Authority

DOMAIN = "voice.example.com"
DAY = datetime.timedelta(days=1)

MakeKeeper = Callable[[int], Keeper]


@pytest.fixture
def with_issued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeKeeper:
    """Return a keeper whose archive has some certificates from this week, and whose certbot reports when it is
    started."""

    async def good(*args: object, **kwargs: object) -> None:
        pass

    monkeypatch.setattr(Keeper, "look", good)
    monkeypatch.setattr(Keeper, "rehearse", good)
    certbot = tmp_path / "certbot-program"
    certbot.write_text(f"#!/bin/sh\n[ \"$1\" != certificates ] || exit 0\ntouch '{tmp_path}/started'\nexit 1\n")
    certbot.chmod(0o755)

    def make(count: int) -> Keeper:
        settings = dataclasses.replace(
            Settings.parse({"DOMAIN": DOMAIN, "CERTBOT": str(certbot), "PATH": "/usr/bin:/bin"}),
            state=tmp_path / "state",
            published=tmp_path / "published",
            webroot=tmp_path / "webroot",
            rehearsal=tmp_path / "rehearsal",
        )
        archive = settings.state / "config" / "archive" / DOMAIN
        archive.mkdir(parents=True)
        authority = Authority()
        for number in range(count):
            began = datetime.timedelta(days=-number - 1)
            pair = authority.issue(DOMAIN, starts_in=began, ends_in=datetime.timedelta(days=60))
            (archive / f"cert{number + 1}.pem").write_bytes(pair.fullchain)
        return Keeper(settings, patience=0.1)

    return make


def started(tmp_path: Path) -> bool:
    return (tmp_path / "started").exists()


async def test_service_asks_for_the_fourth_of_a_week_and_not_for_the_fifth(with_issued: MakeKeeper, tmp_path: Path):
    keeper = with_issued(4)
    await Service(keeper).turn()
    assert not started(tmp_path)
    state = json.loads((keeper.settings.state / "keeper" / f"{DOMAIN}.json").read_text())
    assert "Let's Encrypt allows 5" in state["failure"]
    assert state["ladder"]["next_try"] > keeper.clock() + 2 * 86400


async def test_service_asks_while_the_week_has_room(with_issued: MakeKeeper, tmp_path: Path):
    await Service(with_issued(3)).turn()
    assert started(tmp_path)


@pytest.mark.parametrize(("issued", "asks"), [(3, True), (4, False)])
async def test_a_certificate_that_certbot_can_not_renew_again_and_again_does_not_use_the_week_up(
    with_issued: MakeKeeper, tmp_path: Path, issued: int, asks: bool
):
    keeper = with_issued(issued)
    config = keeper.settings.state / "config"
    Authority().issue(DOMAIN, ends_in=datetime.timedelta(days=60)).write(config / "live" / DOMAIN)
    (config / "renewal").mkdir()
    (config / "renewal" / f"{DOMAIN}.conf").write_text(f"[renewalparams]\nserver = {LETS_ENCRYPT}\n")
    await Service(keeper).turn()  # this certbot lists no certificates, as the real one when it can't read one
    assert started(tmp_path) == asks
    assert ("Let's Encrypt allows 5" in keeper.recall().failure) != asks
    assert (config / "live" / DOMAIN / "fullchain.pem").exists(), "what was set aside is back, or never was"


@pytest.mark.parametrize("of_rsa", [1, 2, 4])
async def test_both_kinds_of_keys_count_together(with_issued: MakeKeeper, tmp_path: Path, of_rsa: int):
    keeper = with_issued(4)
    settings = dataclasses.replace(keeper.settings, kinds=(Kind.ECDSA, Kind.RSA))
    archive = settings.state / "config" / "archive"
    (archive / f"{DOMAIN}-rsa").mkdir()
    for number in range(of_rsa):
        (archive / DOMAIN / f"cert{number + 1}.pem").rename(archive / f"{DOMAIN}-rsa" / f"cert{number + 1}.pem")
    both = Keeper(settings, patience=0.1)
    await Service(both).turn()
    assert not started(tmp_path)
    assert both.second is not None
    for one in both.all:
        with pytest.raises(LimitError, match="Let's Encrypt allows 5"):
            one.spare_the_limit(one.certbot(), server=settings.server, by_force=False)


def test_certificate_that_was_copied_counts_once(with_issued: MakeKeeper):
    keeper = with_issued(3)
    config = keeper.settings.state / "config"
    shutil.copytree(config, config.with_name("config.1.aside"))
    assert len(keeper.certbot().folders.issued_lately([DOMAIN], keeper.clock())) == 3


async def test_by_hand_the_fifth_takes_force(with_issued: MakeKeeper, tmp_path: Path):
    keeper = with_issued(4)
    with pytest.raises(LimitError):
        await issue(keeper, Request.of(keeper.settings))
    assert not started(tmp_path)
    with pytest.raises(IssueError):
        await issue(keeper, Request.of(keeper.settings, force=True))
    assert started(tmp_path)


async def test_by_hand_the_sixth_is_refused_with_force_too(with_issued: MakeKeeper, tmp_path: Path):
    keeper = with_issued(5)
    with pytest.raises(LimitError):
        await issue(keeper, Request.of(keeper.settings, force=True))
    assert not started(tmp_path)


# What the ladder makes of failures.


def keeper_of(tmp_path: Path, **changes: str) -> Keeper:
    settings = Settings.parse({"DOMAIN": DOMAIN, "PATH": "/usr/bin:/bin", "CERTBOT": "/bin/false", **changes})
    folders = {name: tmp_path / name for name in ("state", "published", "webroot", "rehearsal")}
    return Keeper(dataclasses.replace(settings, **folders), patience=0.1)


async def test_a_renewal_that_failed_for_the_authority_is_not_tried_soon_though_nginx_is_down_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    keeper = keeper_of(tmp_path)
    retry_at = keeper.clock() + 3 * DAYS
    config = keeper.settings.state / "config"
    pair = Authority().issue(DOMAIN, starts_in=-50 * DAY, ends_in=10 * DAY)
    pair.write(config / "live" / DOMAIN)
    (config / "renewal").mkdir()
    (config / "renewal" / f"{DOMAIN}.conf").write_text(f"server = {LETS_ENCRYPT}\n")

    async def refused(*args: object, **kwargs: object) -> None:
        raise IssueError("the authority's rate limit is reached", retry_at)

    async def nothing_listens(*args: object, **kwargs: object) -> None:
        raise PreflightError("nothing listens at nginx")

    monkeypatch.setattr("keeper.acme.certbot.Certbot.get", refused)
    monkeypatch.setattr(Keeper, "look", nothing_listens)
    await Service(keeper).turn()
    state = keeper.recall()
    assert state.failure.startswith("nothing listens at nginx; certbot says: the authority's rate limit")
    assert state.ladder.not_before == pytest.approx(retry_at)
    assert state.ladder.next_try >= retry_at - 1


@pytest.mark.parametrize(("failing_days", "asked"), [(0.5, []), (3, ["https://second.example/dir"])])
async def test_while_the_first_authority_is_not_to_be_asked_the_second_one_is_after_a_day(
    tmp_path: Path, failing_days: float, asked: list[str]
):
    keeper = keeper_of(tmp_path, ACME_FALLBACK_SERVER="https://second.example/dir")
    now, seen = keeper.clock(), []
    ladder = Ladder(failures=3, not_before=now + 4 * DAYS)
    keeper.remember(dataclasses.replace(keeper.recall(), ladder=ladder, failing_since=now - failing_days * DAYS))

    async def ask(authority: settings.Authority) -> None:
        seen.append(authority.server)

    if asked:
        await keeper.ask_in_turn(ask)
    else:
        with pytest.raises(LimitError, match="left alone"):
            await keeper.ask_in_turn(ask)
    assert seen == asked
