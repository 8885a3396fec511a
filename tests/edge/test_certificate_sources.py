"""Where a certificate may come from besides an authority's http-01: customers' authorities, a second authority, your
own files, another certbot's folder."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.local_edge import LOOPBACK, LocalEdge
from support.edge.certificates.states import failing_for_a_day
from support.edge.certificates.station import Station
from support.edge.keepers import environ, keeper, one_turn, running
from support.edge.pairs import Authority
from support.edge.probes import wait_for

KID = "kid-1"
HMAC_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


@pytest.fixture(scope="module")
def station() -> Iterator[Station]:
    with Station() as station:
        yield station


@pytest.fixture(scope="module")
def customers_only() -> Iterator[Station]:
    """Yield an authority that issues only to its customers."""
    with Station(externalAccountBindingRequired=True, externalAccountMACKeys={KID: HMAC_KEY}) as station:
        yield station


class TestExternalAccountBinding:
    def test_customers_get_a_certificate_and_the_key_is_written_nowhere(self, customers_only: Station) -> None:
        customers_only.clear()
        customers_only.act("issue", ACME_EAB_KID=KID, ACME_EAB_HMAC_KEY=HMAC_KEY)
        assert customers_only.status == 0, customers_only.said
        assert customers_only.served() is not None
        assert HMAC_KEY not in customers_only.said
        written = [path for path in customers_only.state.rglob("*") if path.is_file()]
        assert len(written) > 5
        assert not [path for path in written if HMAC_KEY in path.read_text(errors="replace")]

    def test_without_a_key_it_is_said_what_is_missing(self, customers_only: Station) -> None:
        customers_only.clear()
        customers_only.act("issue")
        assert "ACME_EAB_KID" in customers_only.first_complaint()

    @pytest.mark.parametrize(
        "changes",
        [
            {"ACME_EAB_KID": "unknown", "ACME_EAB_HMAC_KEY": HMAC_KEY},
            {"ACME_EAB_KID": KID, "ACME_EAB_HMAC_KEY": HMAC_KEY[::-1]},
        ],
    )
    def test_a_wrong_one_is_named(self, customers_only: Station, changes: dict[str, str]) -> None:
        customers_only.clear()
        customers_only.act("issue", **changes)
        assert "ACME_EAB_KID" in customers_only.first_complaint(), customers_only.said

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"ACME_EAB_KID": KID}, "belong together"),
            ({"ACME_EAB_KID": KID, "ACME_EAB_HMAC_KEY": "with space"}, "is not base64url"),
            ({"ACME_EAB_KID": "two words", "ACME_EAB_HMAC_KEY": "x"}, "wanted one word"),
        ],
    )
    def test_half_of_one_is_refused_before_anything_is_done(
        self, customers_only: Station, changes: dict[str, str], says: str
    ) -> None:
        customers_only.act("issue", **changes)
        assert (customers_only.status, says in customers_only.said) == (2, True)
        assert "with space" not in customers_only.said


class TestContact:
    def test_the_authority_is_told_another_address_and_only_once(self, station: Station) -> None:
        station.install()
        station.changes["ACME_EMAIL"] = "first@callgate.example"
        station.act("issue", "--force")
        assert "the authority was told the new ACME_EMAIL" in station.said, station.said
        station.act("issue", "--force")
        assert (station.status, "ACME_EMAIL" in station.said) == (0, False)
        station.changes["ACME_EMAIL"] = ""
        station.serve()
        assert "the authority was told the new ACME_EMAIL" in station.said, "none is another one"

    def test_one_that_the_authority_refuses_costs_no_certificate(self, station: Station) -> None:
        station.install()
        station.act("issue", "--force", ACME_EMAIL="no address")
        assert "was not told the new ACME_EMAIL" in station.said
        assert (station.status, station.served() is not None) == (0, True)


class TestSecondAuthority:
    def test_it_is_asked_when_the_first_has_failed_for_a_day(self, station: Station) -> None:
        station.clear()
        station.changes.update(
            ACME_SERVER=f"https://{LOOPBACK}:1/dir", ACME_FALLBACK_SERVER=station.edge.acme_directory
        )
        station.serve()
        assert station.served() is None
        failing_for_a_day(station)
        station.serve()
        assert station.served() is not None, station.said
        assert "asking another authority" in station.said
        assert station.keeper_state()["failing_since"] == 0.0

    def test_its_certificate_is_kept_while_it_is_good(self, station: Station) -> None:
        station.install()
        serial = station.served()
        failing_for_a_day(station)
        station.count_from_here()
        station.serve()
        assert (station.served(), station.issued) == (serial, 0)


class TestOwnCertificate:
    def test_each_new_one_is_published_and_a_bad_one_is_not(self, station: Station, tmp_path: Path) -> None:
        station.clear()
        authority = Authority()
        station.edge.ca_file.write_bytes(station.edge.ca_file.read_bytes() + authority.pem)
        authority.issue(station.name).write(tmp_path)
        own = {"TLS_CERTIFICATE": str(tmp_path / "fullchain.pem"), "TLS_KEY": str(tmp_path / "privkey.pem")}
        station.changes.update(own, ACME_SERVER=f"https://{LOOPBACK}:1/dir")
        station.serve()
        first = station.served()
        assert first is not None, station.said

        authority.issue("other.example").write(tmp_path)
        station.serve()
        assert station.served() == first
        assert f"{tmp_path / 'fullchain.pem'} and {tmp_path / 'privkey.pem'} is not good for" in station.said

        authority.issue(station.name).write(tmp_path)
        station.serve()
        assert station.served() not in (None, first), station.said

    def test_files_in_the_middle_of_being_replaced_are_no_error(self, station: Station, tmp_path: Path) -> None:
        station.clear()
        authority = Authority()
        station.edge.ca_file.write_bytes(station.edge.ca_file.read_bytes() + authority.pem)
        new = authority.issue(station.name)
        authority.issue(station.name).write(tmp_path)
        (tmp_path / "fullchain.pem").write_bytes(new.fullchain)
        station.changes.update(TLS_CERTIFICATE=str(tmp_path / "fullchain.pem"), TLS_KEY=str(tmp_path / "privkey.pem"))
        done = one_turn(station.edge, **station.changes)
        assert "is not the certificate's" not in done.stdout + done.stderr
        assert "ALARM" not in done.stdout + done.stderr
        new.write(tmp_path)
        station.serve()
        assert station.served() is not None

    def test_a_file_that_is_missing_is_named(self, station: Station, tmp_path: Path) -> None:
        station.clear()
        station.changes.update(TLS_CERTIFICATE=str(tmp_path / "none.pem"), TLS_KEY=str(tmp_path / "key.pem"))
        station.serve()
        assert f"TLS_CERTIFICATE is {tmp_path / 'none.pem'}, which can't be read" in station.first_complaint()
        (station.state / "keeper" / "heartbeat").touch()
        station.act("health", "--wait", "900")  # it does not wait for what only a person can mend
        assert station.status == 1
        assert f"TLS_CERTIFICATE is {tmp_path / 'none.pem'}, which can't be read" in station.said

    def test_no_authority_is_asked_by_hand_either(self, station: Station, tmp_path: Path) -> None:
        station.clear()
        station.changes.update(TLS_CERTIFICATE=str(tmp_path / "x.pem"), TLS_KEY=str(tmp_path / "y.pem"))
        station.act("issue")
        assert (station.status, "remove TLS_CERTIFICATE" in station.said) == (2, True)

    def test_a_wildcard_is_good_for_the_domain(self, tmp_path: Path) -> None:
        authority = Authority()
        authority.issue("*.callgate.example").write(tmp_path)
        own = {"TLS_CERTIFICATE": str(tmp_path / "fullchain.pem"), "TLS_KEY": str(tmp_path / "privkey.pem")}
        with LocalEdge("voice.callgate.example") as edge:
            edge.ca_file.write_bytes(authority.pem)
            edge.start_nginx(1)
            with running(edge, ACME_CA_BUNDLE="", **own) as service:
                wait_for(lambda: "served, by the handshake" in service.said())
                health = keeper(edge, "health", ACME_CA_BUNDLE="", **own)
            assert (health.returncode, "ALARM" in service.said()) == (0, False), health.stdout


class TestTrial:
    """A certificate of a staging server, which is not marked as Let's Encrypt's are."""

    def test_it_is_replaced_at_the_next_look_and_says_nothing_about_the_real_authority(self, station: Station) -> None:
        station.install()
        real = station.served()
        not_before = time.time() + 3 * 86400
        station.change_state(ladder={"failures": 2, "next_try": 0.0, "not_before": not_before})
        station.act("issue", "--staging", ACME_STAGING_SERVER=f"{station.edge.acme_directory}?staging")
        assert station.served() not in (None, real), station.said
        assert station.keeper_state()["ladder"]["not_before"] == not_before

        station.change_state(ladder={"failures": 0, "next_try": 0.0, "not_before": 0.0})
        station.serve()
        assert station.served() == real, station.said


class TestAuthoritysAddress:
    def test_one_that_certbot_writes_in_quotes_is_recognized(self, station: Station) -> None:
        station.clear()
        station.changes["ACME_SERVER"] = f"{station.edge.acme_directory}?tenant=a,b"
        station.count_from_here()
        for _ in range(3):
            station.serve()
        assert (station.served() is not None, station.issued) == (True, 1), station.said


class TestChangedSettings:
    @pytest.mark.parametrize(
        "changes", [{"EXTRA_DOMAINS": "nowhere.invalid"}, {"ACME_SERVER": f"https://{LOOPBACK}:1/dir"}]
    )
    def test_what_is_kept_is_served_until_there_is_what_they_ask_for(
        self, station: Station, changes: dict[str, str]
    ) -> None:
        station.install()
        serial = station.served()
        shutil.rmtree(station.published)
        if "EXTRA_DOMAINS" in changes:
            station.tell_dns("add-a", host="nowhere.invalid", addresses=["127.0.0.99"])
        station.changes.update(changes)
        station.serve()
        assert station.served() == serial, station.said
        assert station.keeper_state()["failure"]


class TestAdopting:
    @pytest.fixture
    def folder(self, station: Station, tmp_path: Path) -> Path:
        """Return another certbot's folder, as /etc/letsencrypt is: with the same names, and other paths."""
        station.install()
        folder = tmp_path / "letsencrypt"
        shutil.move(station.config, folder)
        conf = folder / "renewal" / f"{station.name}.conf"
        conf.write_text(conf.read_text().replace(str(station.config), "/etc/letsencrypt"))
        return folder

    def adopt(self, station: Station, archive: bytes) -> subprocess.CompletedProcess[bytes]:
        argv = [sys.executable, "-m", "keeper", "adopt"]
        return subprocess.run(argv, env=environ(station.edge), input=archive, capture_output=True, timeout=60)

    def test_certificate_and_account_go_on_here(self, station: Station, folder: Path) -> None:
        serial, account = station.served(), next(folder.glob("accounts/*/dir/*")).name
        station.clear()
        done = self.adopt(station, packed(folder))
        assert done.returncode == 0, done.stderr
        assert (station.served(), station.account.name) == (serial, account)
        station.count_from_here()
        station.serve()
        assert (station.served(), station.issued) == (serial, 0)
        station.act("issue", "--force")
        assert (station.status, station.account.name) == (0, account), station.said

    def test_links_that_lead_elsewhere_and_earlier_failures_do_not_matter(self, station: Station, folder: Path) -> None:
        station.clear()
        (station.state / "keeper").mkdir(parents=True)
        station.change_state(ladder={"failures": 4, "next_try": time.time() + 86400, "not_before": 0.0}, failure="x")
        (folder / "accounts" / "old").symlink_to("/etc/letsencrypt/accounts/new")
        done = self.adopt(station, packed(folder))
        assert done.returncode == 0, done.stderr
        assert station.served() is not None
        state = station.keeper_state()
        assert (state["failure"], state["ladder"]["failures"]) == ("", 0)

    @pytest.mark.parametrize("archive", [b"", b"not an archive", b"\0" * 10240])
    def test_what_is_no_such_archive_is_refused(self, station: Station, archive: bytes) -> None:
        station.install()
        serial = station.served()
        done = self.adopt(station, archive)
        assert done.returncode == 2, done.stderr
        assert b"/etc/letsencrypt" in done.stderr
        assert (station.served(), len(done.stderr.splitlines())) == (serial, 1)

    def test_one_for_another_name_is_refused_and_nothing_is_changed(self, station: Station, folder: Path) -> None:
        station.install()
        serial = station.served()
        Authority().issue("other.example").write(folder / "live" / station.name)
        done = self.adopt(station, packed(folder))
        assert f"no valid certificate and key for {station.name}" in done.stderr.decode()
        station.act("issue")
        assert (station.status, station.served()) == (0, serial)

    def test_an_archive_can_not_write_elsewhere(self, station: Station, tmp_path: Path) -> None:
        station.install()
        hostile = io.BytesIO()
        with tarfile.open(fileobj=hostile, mode="w") as tar:
            for name in ("live/../../../escaped", str(tmp_path / "live" / "escaped")):
                entry = tarfile.TarInfo(name)
                entry.size = 1
                tar.addfile(entry, io.BytesIO(b"x"))
        done = self.adopt(station, hostile.getvalue())
        assert done.returncode == 2
        assert not [path for path in (tmp_path, station.edge.state) for _ in path.rglob("escaped")]


def packed(folder: Path) -> bytes:
    """Return a tar archive, as ``tar -C FOLDER -c .`` makes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(folder, arcname=".")
    return out.getvalue()
