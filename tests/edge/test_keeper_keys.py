"""CERTIFICATE_KEYS: an ECDSA and an RSA certificate side by side, or one of them, and from each setting to the next."""

from __future__ import annotations

import io
import logging
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from callgate.core.units import HOURS
from cryptography import x509
from demo.local_edge import LOOPBACK, LocalEdge, find_program
from keeper.health import health
from keeper.keeper import Keeper
from keeper.kinds import Kind
from keeper.loop import Service
from keeper.settings import Settings
from support.edge.keepers import edge_with_authority, environ, keeper, read_state
from support.edge.probes import wait_for

BOTH = "ecdsa+rsa"
ECDSA, RSA = Kind.ECDSA, Kind.RSA


class Installation:
    """nginx, an ACME server and the keeper's service. The service's clock is ``moved`` seconds ahead."""

    def __init__(self, edge: LocalEdge, keys: str, **changes: str) -> None:
        self.edge = edge
        self.moved = 0.0
        self.changes = changes
        self.set(keys)

    def set(self, keys: str) -> None:
        """Start nginx and the service again with another setting, as `docker compose up` does."""
        self.keys = keys
        self.restart_nginx()
        self.restart_keeper()

    def restart_nginx(self) -> None:
        self.edge.restart_nginx(1, CERTIFICATE_KEYS=self.keys)

    def restart_keeper(self, **changes: str) -> None:
        self.changes |= changes
        settings = Settings.parse(environ(self.edge, CERTIFICATE_KEYS=self.keys, **self.changes))
        self.keeper = Keeper(settings, clock=lambda: time.time() + self.moved, chance=lambda: 0.0, patience=3.0)
        self.keeper.store.beat()
        self.service = Service(self.keeper)

    async def turn(self) -> None:
        await self.service.turn()

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return keeper(self.edge, *argv, CERTIFICATE_KEYS=self.keys, **self.changes)

    def serial(self, kind: Kind | None = None) -> int | None:
        """Return the serial number that a client of TLS 1.2 gets and verifies, which takes only certificates of this
        kind (any); None if there is no handshake."""
        trust = ssl.create_default_context(cafile=self.edge.ca_file)
        trust.maximum_version = ssl.TLSVersion.TLSv1_2
        if kind:
            trust.set_ciphers(kind.ciphers)
        connection = socket.create_connection((LOOPBACK, self.edge.https_port), timeout=10)
        try:
            with trust.wrap_socket(connection, server_hostname=self.edge.domain) as client:
                der = client.getpeercert(binary_form=True)
        except (ssl.SSLError, ConnectionError):
            connection.close()
            return None
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    @property
    def serials(self) -> tuple[int | None, int | None]:
        """What the two clients get: one takes only ECDSA, and one only RSA."""
        return self.serial(ECDSA), self.serial(RSA)

    @property
    def by_kind(self) -> dict[Kind, int | None]:
        return dict(zip((ECDSA, RSA), self.serials, strict=True))

    @property
    def names(self) -> dict[Kind, str]:
        return {ECDSA: self.edge.domain, RSA: self.second}

    def make_due(self, name: str) -> None:
        """Have certbot take a certificate for due; the setting is its own."""
        conf = self.edge.state / f"certbot/config/renewal/{name}.conf"
        conf.write_text(f"renew_before_expiry = 9999 days\n{conf.read_text()}")

    @property
    def second(self) -> str:
        return f"{self.edge.domain}-rsa"

    @property
    def second_failures(self) -> int:
        """How often in a row the second one was tried in vain."""
        assert self.keeper.second is not None
        return self.keeper.second.recall().ladder.failures

    @property
    def issued(self) -> int:
        return (self.edge.logs / "pebble.log").read_text().count("Issued certificate serial")


@pytest.fixture
def edge() -> Iterator[LocalEdge]:
    with edge_with_authority() as edge:
        yield edge


@pytest.fixture
async def both(edge: LocalEdge) -> Installation:
    """Return an installation that serves both kinds."""
    made = Installation(edge, BOTH)
    await made.turn()
    made.restart_nginx()
    await made.turn()
    return made


async def test_each_client_gets_the_certificate_that_it_can_use(both: Installation) -> None:
    ecdsa, rsa = both.serials
    assert None not in (ecdsa, rsa)
    assert ecdsa != rsa
    is_good, says = health(both.keeper)
    assert is_good
    assert f"ECDSA: {both.edge.domain}: serial {ecdsa:X}" in says
    assert f"RSA: {both.edge.domain}: serial {rsa:X}" in says
    assert both.issued == 2


@pytest.mark.parametrize(("algorithms", "wanted"), [("ECDSA+SHA256", ECDSA), ("RSA-PSS+SHA256", RSA)])
def test_so_does_a_client_of_tls_1_3(both: Installation, algorithms: str, wanted: Kind) -> None:
    words = ["-connect", f"{LOOPBACK}:{both.edge.https_port}", "-servername", both.edge.domain, "-tls1_3"]
    argv = [find_program("openssl"), "s_client", *words, "-sigalgs", algorithms, "-CAfile", str(both.edge.ca_file)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert "Verification: OK" in done.stdout
    served = re.search(r"-----BEGIN.*?-----END CERTIFICATE-----", done.stdout, re.DOTALL)
    assert served is not None
    assert x509.load_pem_x509_certificate(served[0].encode()).serial_number == both.serial(wanted)


async def test_until_nginx_is_started_again_that_is_said_once_and_nothing_is_unhealthy(
    edge: LocalEdge, caplog: pytest.LogCaptureFixture
) -> None:
    made = Installation(edge, BOTH)
    for _ in range(3):
        await made.turn()
    made.restart_keeper()
    await made.turn()
    assert made.serial(ECDSA) is not None
    assert made.serial(RSA) is None
    assert caplog.text.count("start nginx again (docker compose -f docker-compose.prod.yml restart nginx)") == 1
    assert "RSA: the RSA certificate is published, but nginx" in caplog.text
    is_good, says = health(made.keeper)
    assert is_good
    assert "start nginx again" in says
    assert "ALARM certificate_unserved" not in caplog.text

    made.restart_nginx()
    await made.turn()
    assert made.serial(RSA) is not None
    assert health(made.keeper)[0]
    assert "start nginx again" not in health(made.keeper)[1]


@pytest.mark.parametrize("due", [ECDSA, RSA])
async def test_renewal_of_one_does_not_touch_the_other(both: Installation, due: Kind) -> None:
    before = both.by_kind
    both.make_due(both.names[due])
    both.moved = 13 * HOURS
    await both.turn()
    assert_only_this_changed(due, before, both)


async def test_rsa_that_fails_is_named_and_ecdsa_is_served_and_renewed(
    edge: LocalEdge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certbot = tmp_path / "certbot-without-rsa"
    certbot.write_text(
        '#!/bin/sh\ncase " $* " in *"--key-type rsa"*) echo "this authority hates RSA"; exit 1 ;; esac\n'
        f'exec {find_program("certbot")} "$@"\n'
    )
    certbot.chmod(0o755)
    caplog.set_level(logging.INFO, "keeper")
    made = Installation(edge, BOTH, CERTBOT=str(certbot))
    await made.turn()
    first, none = made.serials
    assert first is not None
    assert none is None
    assert re.search(r"RSA: .*this authority hates RSA.*failure 1", caplog.text)
    assert "ECDSA: served, by the handshake" in caplog.text
    assert "RSA: ALARM certificate_missing: callers whose clients take only RSA" in caplog.text
    assert "ECDSA: ALARM" not in caplog.text
    is_good, says = health(made.keeper)
    assert not is_good
    assert f"ECDSA: {edge.domain}: serial {first:X}" in says
    assert "RSA: no certificate is published" in says

    made.make_due(edge.domain)
    made.moved = 13 * HOURS
    await made.turn()
    assert made.serial(ECDSA) not in (None, first)
    assert read_state(edge.state / "certbot", edge.domain)["failure"] == ""
    assert made.second_failures == 2


async def test_while_the_first_tries_fail_the_authority_is_asked_for_one_certificate_only(edge: LocalEdge) -> None:
    made = Installation(
        edge, BOTH, ACME_WEBROOT=str(edge.state / "elsewhere")
    )  # nginx does not see the challenge's file
    for wait in (0.0, 61.0, 601.0):
        made.moved += wait
        await made.turn()
    assert read_state(edge.state / "certbot", edge.domain)["ladder"]["failures"] == 3
    assert made.second_failures == 0, "in one hour, no more than three validations fail"

    # From here on, the first one is tried once a day, and something may be wrong with its kind alone.
    made.restart_keeper(ACME_WEBROOT=str(edge.webroot))
    state = made.keeper.recall()
    made.keeper.remember(replace(state, ladder=replace(state.ladder, failures=4)))
    await made.turn()
    assert (edge.published / made.second / "current").exists()
    assert not (edge.published / edge.domain).exists()


async def test_from_each_setting_to_the_next_no_client_is_left_without_a_certificate(edge: LocalEdge) -> None:
    made = Installation(edge, "ecdsa")
    await made.turn()
    ecdsa, _ = made.serials
    assert (ecdsa is not None, made.serial(RSA)) == (True, None)

    made.set(BOTH)
    assert made.serial(ECDSA) == ecdsa
    await made.turn()
    made.restart_nginx()
    await made.turn()
    assert made.serial(ECDSA) == ecdsa, "it is not issued anew"
    rsa = made.serial(RSA)
    assert rsa is not None

    made.set("rsa")
    assert made.serials == (ecdsa, rsa), "until there is an RSA certificate in the first one's place"
    await made.turn()
    alone = made.serial(RSA)
    assert alone not in (None, rsa)
    assert made.serial() == alone
    assert health(made.keeper)[0], health(made.keeper)

    made.set("ecdsa")
    assert made.serial(RSA) == alone
    await made.turn()
    assert made.serial(ECDSA) not in (None, ecdsa)
    assert made.serial() is not None


async def test_from_rsa_to_both_rsa_is_served_until_nginx_serves_the_second_one(edge: LocalEdge) -> None:
    made = Installation(edge, "rsa")
    await made.turn()
    alone = made.serial(RSA)
    assert alone is not None

    made.set(BOTH)
    for _ in range(2):
        await made.turn()
    assert made.serial(RSA) == alone, "nginx has not been started again, so it serves the first one alone"
    made.restart_nginx()
    await made.turn()
    assert made.serial(RSA) not in (None, alone)
    await made.turn()
    assert None not in made.serials
    assert len(set(made.serials)) == 2


async def test_an_old_second_certificate_is_not_served_in_place_of_a_good_one(edge: LocalEdge) -> None:
    made = Installation(edge, "rsa")
    await made.turn()
    alone = made.serial(RSA)
    # As left from an earlier time: what is there is no good pair any more.
    shutil.copytree(edge.published / edge.domain, edge.published / made.second, symlinks=True)
    (edge.published / made.second / "current" / "fullchain.pem").write_text("")
    edge.stop_acme()
    made.keys = BOTH
    made.restart_keeper()
    await made.turn()
    made.restart_nginx()
    assert made.serial(RSA) == alone


async def test_by_hand_both_are_issued_and_rolled_back(both: Installation) -> None:
    first = both.serials
    done = both.run("issue", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    second = both.serials
    assert not set(first) & set(second)
    assert both.run("rollback").returncode == 0
    assert both.serials == first
    await both.turn()
    assert both.serials == first, "it holds"
    assert both.run("rollback").returncode == 0
    assert both.serials == second
    done = both.run("issue")
    assert "ECDSA: the certificate is good" in done.stdout
    assert "RSA: the certificate is good" in done.stdout
    assert both.issued == 4


@pytest.mark.parametrize("damaged", [ECDSA, RSA])
async def test_what_heals_one_leaves_the_other(both: Installation, damaged: Kind) -> None:
    before = both.by_kind
    (both.edge.state / f"certbot/config/live/{both.names[damaged]}/privkey.pem").unlink()
    both.restart_keeper()
    await both.turn()
    await both.turn()
    assert_only_this_changed(damaged, before, both)


async def test_new_account_for_the_first_leaves_the_second(both: Installation) -> None:
    before = both.by_kind
    for key in (both.edge.state / "certbot/config/accounts").rglob("private_key.json"):
        key.write_text("damaged")
    both.make_due(both.edge.domain)
    both.moved = 13 * HOURS
    await both.turn()
    await both.turn()
    assert_only_this_changed(ECDSA, before, both)


def assert_only_this_changed(kind: Kind, before: dict[Kind, int | None], now: Installation) -> None:
    after = now.by_kind
    assert after[kind] not in (None, before[kind])
    del before[kind], after[kind]
    assert after == before
    assert now.issued == 3


async def test_second_that_is_not_readable_any_more_is_published_again(both: Installation) -> None:
    served = both.serials
    shutil.rmtree(both.edge.published / both.second)
    wait_for(lambda: both.serials == (None, None))  # nginx reads both for each handshake, or keeps them for two seconds
    await both.turn()
    wait_for(lambda: both.serials == served)


def test_by_hand_both_are_published_again(both: Installation) -> None:
    served = both.serials
    shutil.rmtree(both.edge.published)
    done = both.run("issue")
    assert (done.returncode, both.serials) == (0, served), done.stdout + done.stderr


async def test_with_kept_certificates_nginx_serves_both(both: Installation) -> None:
    served = both.serials
    both.edge.restart_nginx(1, CERTIFICATE_KEYS=BOTH, EDGE_CERTIFICATE="kept")
    assert both.serials == served
    both.edge.restart_nginx(1, CERTIFICATE_KEYS="rsa", EDGE_CERTIFICATE="kept")
    assert both.serials == served


def test_both_are_taken_over_from_another_certbot(both: Installation) -> None:
    served = both.serials
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(both.edge.state / "certbot" / "config", arcname=".")
    shutil.rmtree(both.edge.state / "certbot")
    shutil.rmtree(both.edge.published)
    argv = [sys.executable, "-m", "keeper", "adopt"]
    keys = environ(both.edge, CERTIFICATE_KEYS=BOTH)
    done = subprocess.run(argv, env=keys, input=archive.getvalue(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert both.serials == served
    done_again = both.run("issue")
    assert done_again.stdout.count("the certificate is good") == 2, done_again.stdout
    assert both.issued == 2
