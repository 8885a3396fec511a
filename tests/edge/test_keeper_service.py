"""`keeper run`: a certificate is obtained, served, renewed and maintained without any help."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from callgate.core.units import HOURS
from cryptography import x509
from demo.local_edge import LocalEdge
from keeper.health import health
from keeper.keeper import Keeper
from keeper.loop import Service
from keeper.pairs.self_signed import LIFETIME
from keeper.settings import Settings
from support.edge.keepers import edge_with_authority, environ, keeper, read_state, running
from support.edge.probes import wait_for


class Clock:
    """The real time, plus an offset."""

    def __init__(self) -> None:
        self.moved = 0.0

    def __call__(self) -> float:
        return time.time() + self.moved


@pytest.fixture
def edge() -> Iterator[LocalEdge]:
    with edge_with_authority() as edge:
        yield edge


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(edge: LocalEdge, clock: Clock) -> Callable[..., Service]:
    """Return a function that makes the service in this process, on an edge, with a clock that can be moved forward."""

    def make(**changes: str) -> Service:
        settings = Settings.parse(environ(edge, **changes))
        return Service(Keeper(settings, clock=clock, chance=lambda: 0.0))

    return make


# Without a domain.


def test_without_a_domain_a_marked_certificate_for_localhost_is_served_and_trusted(edge: LocalEdge) -> None:
    with LocalEdge("localhost") as local:
        local.start_nginx(1)
        with running(local, DOMAIN="", ACME_CA_BUNDLE="") as service:
            wait_for(lambda: "served, by the handshake" in service.said())
            shutil.copy(local.state / "rehearsal" / "ca.pem", local.ca_file)
            certificate = local.served_certificate()  # verified with ca.pem alone
            assert keeper(local, "health", DOMAIN="", ACME_CA_BUNDLE="").returncode == 0
            assert service.stop() == 0
        (organisation,) = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
        assert organisation.value == "Callgate self-signed, not for production"
        assert "Twilio refuses it: errors 11237 (webhook) and 31910 (stream)" in service.said()


async def test_self_signed_certificate_is_renewed_by_its_share_of_life(clock: Clock) -> None:
    with LocalEdge("localhost") as local:
        local.start_nginx(1)
        settings = Settings.parse(environ(local, DOMAIN="", ACME_CA_BUNDLE=""))
        service = Service(Keeper(settings, clock=clock))
        serials = []
        for share_lived in (0.75, 0.5, 0.0):
            clock.moved = -share_lived * LIFETIME.total_seconds()
            await service.turn()
            shutil.copy(settings.rehearsal / "ca.pem", local.ca_file)
            serials.append(local.served_certificate().serial_number)
        assert serials[0] == serials[1]
        assert serials[1] != serials[2]


# With a domain.


def test_from_empty_folders_to_a_served_certificate(edge: LocalEdge) -> None:
    with running(edge) as service:
        wait_for(lambda: "served, by the handshake" in service.said())
        done = keeper(edge, "health")
        assert done.returncode == 0, done.stdout
        assert f"serial {edge.served_certificate().serial_number:X}" in done.stdout
        assert service.stop() == 0


async def test_domain_takes_the_rehearsal_certificate_out_of_trust(
    edge: LocalEdge, kept: Callable[..., Service]
) -> None:
    trusted = edge.state / "rehearsal" / "ca.pem"
    trusted.parent.mkdir()
    trusted.write_text("a rehearsal's")
    await kept().turn()
    assert not trusted.exists()
    assert edge.served_certificate() is not None


async def test_certificate_that_is_due_is_renewed_and_served(
    edge: LocalEdge, clock: Clock, kept: Callable[..., Service]
) -> None:
    service = kept()
    await service.turn()
    first = edge.served_certificate()
    await service.turn()
    clock.moved = 13 * HOURS
    await service.turn()
    assert edge.served_certificate() == first, "it is looked at twice a day, but renewed when it is due"

    # certbot's own setting; with this value, any certificate is due now.
    with (edge.state / f"certbot/config/renewal/{edge.domain}.conf").open("r+") as conf:
        text = conf.read()
        conf.seek(0)
        conf.write(f"renew_before_expiry = 9999 days\n{text}")
    clock.moved = 26 * HOURS
    await service.turn()
    assert edge.served_certificate() != first


async def test_failures_climb_the_ladder_over_restarts_and_ask_the_authority_no_more(
    edge: LocalEdge, clock: Clock, kept: Callable[..., Service]
) -> None:
    unseen = {"ACME_WEBROOT": str(edge.state / "elsewhere")}  # nginx does not see the challenge's file
    waits = []
    for _ in range(3):
        await kept(**unseen).turn()  # a new process each time
        ladder = read_state(edge.state / "certbot", edge.domain)["ladder"]
        waits.append(round((ladder["next_try"] - clock()) / 60))
        orders = (edge.logs / "pebble.log").read_text().count("order-plz")
        await kept(**unseen).turn()
        assert (edge.logs / "pebble.log").read_text().count("order-plz") == orders, "not due: nobody was asked"
        clock.moved += ladder["next_try"] - clock() + 1
    assert waits == [1, 10, 100]
    assert orders

    assert keeper(edge, "issue").returncode == 0, "by hand it is tried at once"
    state = read_state(edge.state / "certbot", edge.domain)
    assert (state["ladder"]["failures"], state["failure"]) == (0, "")


async def test_renewal_that_fails_leaves_what_is_served_and_health_tells(
    edge: LocalEdge, clock: Clock, kept: Callable[..., Service]
) -> None:
    await kept().turn()
    served = edge.served_certificate()
    edge.stop_acme()
    conf = edge.state / f"certbot/config/renewal/{edge.domain}.conf"
    conf.write_text(f"renew_before_expiry = 9999 days\n{conf.read_text()}")
    clock.moved = 13 * HOURS
    service = kept()
    await service.turn()
    assert edge.served_certificate() == served
    assert "the ACME server can't be reached" in read_state(edge.state / "certbot", edge.domain)["failure"]


async def test_what_is_issued_but_not_published_is_published_without_the_authority(
    edge: LocalEdge, kept: Callable[..., Service]
) -> None:
    await kept().turn()
    served = edge.served_certificate()
    shutil.rmtree(edge.published / edge.domain)
    edge.stop_acme()
    await kept().turn()
    assert edge.served_certificate() == served


async def test_rollback_holds_until_the_next_certificate(edge: LocalEdge, kept: Callable[..., Service]) -> None:
    await kept().turn()
    first = edge.served_certificate()
    assert keeper(edge, "issue", "--force").returncode == 0
    assert keeper(edge, "rollback").returncode == 0
    await kept().turn()
    assert edge.served_certificate() == first
    assert keeper(edge, "issue", "--force").returncode == 0
    await kept().turn()
    assert edge.served_certificate() != first


async def test_certificate_that_nginx_does_not_serve_is_an_error_and_unhealthy(
    edge: LocalEdge, tmp_path: Path, clock: Clock, kept: Callable[..., Service], caplog: pytest.LogCaptureFixture
) -> None:
    await kept().turn()
    served = edge.served_certificate()
    # A second keeper that publishes where this nginx does not look.
    elsewhere = {"CERT_PUBLISHED": str(tmp_path / "published"), "CERTBOT_STATE": str(tmp_path / "certbot")}
    owner = Keeper(Settings.parse(environ(edge, **elsewhere)), clock=clock, patience=0.1)
    owner.store.beat()

    await Service(owner).turn()

    assert f"serial {served.serial_number:X} is served: look at nginx's log" in caplog.text
    is_good, says = health(owner)
    assert not is_good
    assert "is published for" in says


# The service's end.


def test_sigterm_ends_it_at_once_with_certbot_at_work(edge: LocalEdge, tmp_path: Path) -> None:
    certbot = tmp_path / "certbot-that-waits"
    certbot.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 60\n")
    certbot.chmod(0o755)
    with running(edge, CERTBOT=str(certbot)) as service:
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
        assert service.stop() == 0
    assert is_gone(int((tmp_path / "pid").read_text()))
    assert not (edge.published / edge.domain).exists()
    assert read_state(edge.state / "certbot", edge.domain)["ladder"]["failures"] == 1, (
        "a restart does not ask again at once"
    )


def is_gone(pid: int) -> bool:
    """Whether a process has ended, even if its parent has not waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_service_that_is_gone_is_unhealthy(edge: LocalEdge) -> None:
    done = keeper(edge, "health")
    assert done.returncode == 1
    assert "has never run" in done.stdout
