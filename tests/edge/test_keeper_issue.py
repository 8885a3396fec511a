"""`keeper issue` and `keeper rollback`, which the operator runs by hand, with the real certbot, Pebble and nginx."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.local_edge import LOOPBACK, LocalEdge
from support.edge.keepers import edge_with_authority, files_below, keeper, read_state, running
from support.edge.probes import plain, wait_for

NOWHERE = f"https://{LOOPBACK}:1/dir"


@pytest.fixture(scope="module")
def blank() -> Iterator[LocalEdge]:
    """Yield an edge with an authority but no certificate."""
    with edge_with_authority() as edge:
        yield edge


@pytest.fixture(scope="module")
def issued(blank: LocalEdge) -> LocalEdge:
    done = keeper(blank, "issue")
    assert done.returncode == 0, done.stdout + done.stderr
    return blank


def test_dry_run_changes_nothing(blank: LocalEdge) -> None:
    before = files_below(blank.state, but=("logs", "acme", "nginx"))
    done = keeper(blank, "issue", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "the rehearsal went well" in done.stdout
    after = files_below(blank.state, but=("logs", "acme", "nginx"))
    assert {name for name in after if not name.startswith("certbot/keeper/")} == set(before)


def test_issued_certificate_is_served_and_described(issued: LocalEdge) -> None:
    serial = issued.served_certificate().serial_number
    done = keeper(issued, "issue")
    assert done.returncode == 0, done.stderr
    assert "the certificate is good, so no new one was requested" in done.stdout
    assert f"serial {serial:X}" in done.stdout
    assert "valid until " in done.stdout
    assert "renewed about " in done.stdout
    assert issued.served_certificate().serial_number == serial


def test_good_certificate_is_published_again_where_it_was_lost(issued: LocalEdge) -> None:
    before = issued.served_certificate()
    (issued.published / issued.domain / "current").unlink()
    assert keeper(issued, "issue").returncode == 0
    assert issued.served_certificate() == before


def test_force_issues_though_it_is_not_due(issued: LocalEdge) -> None:
    before = issued.served_certificate()
    done = keeper(issued, "issue", "--force")
    assert done.returncode == 0, done.stderr
    assert "served now, by the handshake" in done.stdout
    assert issued.served_certificate() != before


def test_rollback_serves_the_pair_before_and_again_undoes_it(issued: LocalEdge) -> None:
    keeper(issued, "issue", "--force")
    newest = issued.served_certificate()

    done = keeper(issued, "rollback")
    assert done.returncode == 0, done.stderr
    assert "to undo this" in done.stdout
    assert issued.served_certificate() != newest
    assert read_state(issued.state / "certbot", issued.domain)["held_back"] == f"{newest.serial_number:X}"

    assert keeper(issued, "rollback").returncode == 0
    assert issued.served_certificate() == newest
    assert read_state(issued.state / "certbot", issued.domain)["held_back"] == ""


def test_rollback_without_a_pair_before_is_refused(issued: LocalEdge, tmp_path: Path) -> None:
    done = keeper(issued, "rollback", CERT_PUBLISHED=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"keeper: nothing is published for {issued.domain}: there is no way back\n"


def test_authority_is_asked_only_after_a_rehearsal_that_went_well(issued: LocalEdge, tmp_path: Path) -> None:
    before = issued.served_certificate()
    with edge_with_authority(acme_config={"httpPort": 1}) as elsewhere:  # an authority that does not reach our port 80
        assert elsewhere.acme_directory is not None
        both = tmp_path / "both.pem"
        both.write_text("".join((edge.state / "acme" / "cert.pem").read_text() for edge in (issued, elsewhere)))
        staging = {"ACME_STAGING_SERVER": elsewhere.acme_directory, "ACME_CA_BUNDLE": str(both)}
        done = keeper(issued, "issue", "--force", **staging)
    assert done.returncode == 1
    assert f"rehearsing at {elsewhere.acme_directory}" in done.stdout
    assert "can't reach it on port 80" in done.stderr
    assert issued.served_certificate() == before

    assert issued.acme_directory is not None
    done = keeper(issued, "issue", "--force", ACME_STAGING_SERVER=issued.acme_directory)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.index(f"rehearsing at {issued.acme_directory}") < lines.index(
        f"asking {issued.acme_directory} for the certificate"
    )


def test_a_staging_server_that_is_down_keeps_nobody_from_a_certificate(issued: LocalEdge) -> None:
    before = issued.served_certificate()
    done = keeper(issued, "issue", "--force", ACME_STAGING_SERVER=NOWHERE)
    assert done.returncode == 0, done.stderr
    assert f"there is no rehearsal at {NOWHERE}: the ACME server can't be reached" in done.stdout
    assert issued.served_certificate() != before


def test_staging_certificate_is_called_untrusted_loudly(issued: LocalEdge) -> None:
    assert issued.acme_directory is not None
    real = issued.served_certificate()
    done = keeper(issued, "issue", "--staging", ACME_STAGING_SERVER=issued.acme_directory)
    assert done.returncode == 0, done.stderr
    assert "THIS IS A STAGING CERTIFICATE" in done.stdout
    assert "11237" in done.stdout
    assert "31910" in done.stdout
    assert issued.served_certificate() != real

    assert keeper(issued, "issue").returncode == 0
    assert issued.served_certificate() == real


def test_one_certificate_for_all_names() -> None:
    names = {"EXTRA_DOMAINS": "www.callgate.example, other.example"}
    with edge_with_authority(environ=names) as edge:
        done = keeper(edge, "issue", **names)
        assert done.returncode == 0, done.stdout + done.stderr
        for name in (edge.domain, "www.callgate.example", "other.example"):
            accept(edge, name)
        assert [path.name for path in edge.published.iterdir()] == [edge.domain]

        done = keeper(edge, "issue")
        assert "no new one was requested" in done.stdout, "a name less needs no other certificate"


def test_a_further_name_is_in_the_next_certificate_at_once() -> None:
    names = {"EXTRA_DOMAINS": "www.callgate.example"}
    with edge_with_authority(environ=names) as edge:
        assert keeper(edge, "issue").returncode == 0
        with running(edge, **names) as service:
            wait_for(lambda: "the certificate is not for www.callgate.example" in service.said())
            wait_for(lambda: "served, by the handshake" in service.said())
        accept(edge, "www.callgate.example")


def accept(edge: LocalEdge, name: str) -> None:
    """Make a handshake for a name, as a client that verifies the certificate."""
    with contextlib.closing(plain(edge.https_port)) as connection:
        ssl.create_default_context(cafile=edge.ca_file).wrap_socket(connection, server_hostname=name).close()


def test_certificate_for_an_address() -> None:
    with edge_with_authority(LOOPBACK, environ={"EDGE_REQUIRE_SNI": "off"}) as edge:
        # Pebble also writes the address into the subject, which Let's Encrypt does not. certbot 5.8 keeps the
        # certificate but fails before it runs its hook. The keeper looks at what certbot got, and publishes it.
        done = keeper(edge, "issue", "--ip")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "certbot got a certificate, but says" in done.stdout
        assert edge.served_certificate() is not None


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--domain", "other.example"), "nginx serves only callgate.example"),
        (("--domain", "https://callgate.example"), "wanted a host name"),
        (("--ip",), "leave --ip out"),
        (("--staging",), "no staging server"),
    ],
)
def test_options_that_can_not_work_are_refused(blank: LocalEdge, argv: tuple[str, ...], message: str) -> None:
    done = keeper(blank, "issue", *argv)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_domain_there_is_nothing_to_issue(blank: LocalEdge) -> None:
    done = keeper(blank, "issue", DOMAIN="")
    assert done.returncode == 2
    assert "write DOMAIN=voice.example.com into .env" in done.stderr
