"""The short form of `bench/certificates`: states of the volumes and the account that the keeper mends by itself, and
states that only a person can mend, whose cause it names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.edge.certificates.cells import BY_HAND, DUE, EXPIRED, FORCE, START, fill
from support.edge.certificates.states import STATES
from support.edge.certificates.station import Station
from support.edge.keepers import environ

BY_NAME = {state.name: state for state in STATES}


@pytest.fixture(scope="module")
def station() -> Iterator[Station]:
    with Station() as station:
        yield station


@pytest.fixture(scope="module")
def brief() -> Iterator[Station]:
    """Yield a station whose certificates live for seconds."""
    with Station(brief=True) as station:
        yield station


def test_states_are_many_and_named_once() -> None:
    assert len(STATES) == len(BY_NAME) >= 40


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("live files are copies, not links", START),
        ("conf names other folders", FORCE),
        ("key is another one's", BY_HAND),
        ("published: link is a copied folder", START),
        ("an older certbot volume was restored", START),
        ("account: the authority lost it", FORCE),
        ("account: deactivated", FORCE),
        ("account: there are two", FORCE),
        ("certbot's volume is empty", START),
        ("a new start was killed", START),
        ("dns: leads to another machine", FORCE),
        ("settings: a DNS plugin that is missing", FORCE),
    ],
)
def test_a_state_ends_with_a_good_certificate_or_with_its_cause(station: Station, name: str, action: str) -> None:
    cell = fill(station, BY_NAME[name], action)
    assert not cell.problem, station.said


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("live files are copies, not links", EXPIRED),
        ("conf is empty", DUE),
        ("account: the authority lost it", DUE),
    ],
)
def test_the_same_when_it_is_due_or_expired(brief: Station, name: str, action: str) -> None:
    cell = fill(brief, BY_NAME[name], action)
    assert not cell.problem, brief.said


def test_what_could_not_be_renewed_is_kept_aside_and_said(station: Station) -> None:
    station.install()
    serial = station.served()
    BY_NAME["live files are copies, not links"].damage(station)
    station.serve()
    assert "to be a symlink" in station.said, "certbot's own sentence is passed on"
    assert "what it had is set aside" in station.said
    (aside,) = station.state.glob("config.*.aside")
    assert (aside / "live" / station.name / "privkey.pem").exists()
    assert not list(station.state.glob("*.tried"))
    assert station.served() not in (None, serial)
    assert [path.name for path in (station.config / "live").iterdir() if path.is_dir()] == [station.name]


def test_a_new_start_that_fails_leaves_everything_as_it_was(station: Station) -> None:
    station.install()
    BY_NAME["account: the authority lost it"].damage(station)
    account, serial = station.account.name, station.served()
    station.tell_dns("add-a", host=station.name, addresses=["127.0.0.99"])
    station.act("issue", "--force")
    assert station.status == 1
    assert "can't reach it on port 80" in station.first_complaint()
    assert (station.account.name, station.served()) == (account, serial)
    assert not list(station.state.glob("config.*"))


def test_accounts_outlive_a_certificate_that_can_not_be_renewed(station: Station) -> None:
    station.install()
    account = station.account.name
    BY_NAME["conf is garbage"].damage(station)
    station.serve()
    assert station.account.name == account


def test_force_never_takes_the_old_certificate_for_a_new_one(station: Station) -> None:
    station.install()
    before = station.served()
    idle = station.edge.state / "certbot-that-does-nothing"
    certbot = environ(station.edge)["CERTBOT"]
    idle.write_text(f'#!/bin/sh\n[ "$1" = certonly ] || exec {certbot} "$@"\n')
    idle.chmod(0o755)
    station.act("issue", "--force", CERTBOT=str(idle))
    assert station.status == 1
    assert "no new certificate" in station.first_complaint()
    assert station.served() == before


def test_an_authority_that_issues_what_is_of_no_use_is_not_asked_again_and_again(station: Station) -> None:
    """As one whose chain lacks the intermediate certificate."""
    station.clear()
    certbot, live = environ(station.edge)["CERTBOT"], station.live / "fullchain.pem"
    leaf_only = station.edge.state / "certbot-that-gets-a-leaf-only"
    cut = f"[ \"$1\" != certonly ] || sed -i '/END/q' $(readlink -f {live})"
    leaf_only.write_text(f'#!/bin/sh\n{certbot} "$@" || exit\n{cut}\n')
    leaf_only.chmod(0o755)
    station.changes["CERTBOT"] = str(leaf_only)
    station.count_from_here()
    station.serve()
    assert station.issued == 1, station.said
    assert "lacks the intermediate certificate" in station.first_complaint()
    assert "--force" in station.said

    del station.changes["CERTBOT"]  # its cause is mended
    station.act("issue", "--force")
    assert (station.status, station.served() is not None) == (0, True), station.said
