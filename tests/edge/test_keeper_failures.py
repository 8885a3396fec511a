"""Failures to issue a certificate: nginx goes on serving what it served, and the message names the cause."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.local_edge import DEPLOY, LOOPBACK, LocalEdge
from support.disks import fill, small_disk
from support.edge.keepers import edge_with_authority, environ, files_below, keeper, read_state, running
from support.edge.pairs import Authority
from support.edge.probes import wait_for
from support.limited_ca import limited_ca
from support.serving import serving

FAILED = 1
UNUSABLE = 2


@pytest.fixture(scope="module")
def kept() -> Iterator[LocalEdge]:
    """Yield an edge for these tests only, with a certificate that the keeper got."""
    with edge_with_authority() as edge:
        done = keeper(edge, "issue")
        assert done.returncode == 0, done.stderr
        yield edge


@pytest.fixture
def unchanged(kept: LocalEdge) -> Iterator[LocalEdge]:
    """Check afterwards that nothing served or published has changed."""
    before, published = kept.served_certificate(), files_below(kept.published)
    yield kept
    assert kept.served_certificate() == before
    assert files_below(kept.published) == published


def tell_dns(edge: LocalEdge, call: str, host: str, **values: object) -> None:
    """Make pebble-challtestsrv answer differently, through its management API."""
    body = str({"host": host, **values}).replace("'", '"').encode()
    with urllib.request.urlopen(f"{edge.dns_management}/{call}", data=body, timeout=5.0) as answer:
        answer.read()


def refusal(done: subprocess.CompletedProcess[str], status: int) -> str:
    """Return the only line of a failed run's output."""
    assert done.returncode == status, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return line


# Reported by the authority.


def test_port_80_that_is_blocked(unchanged: LocalEdge, tmp_path: Path) -> None:
    """To the authority, a blocked port 80 looks like an address in DNS at which nothing listens."""
    # A new account gets a challenge. For an account that has proved this name before, Pebble may skip it, even at
    # PEBBLE_AUTHZREUSE=0: it compares a number of 0 to 99 by "greater than".
    new_account = {"CERTBOT_STATE": str(tmp_path / "certbot")}
    tell_dns(unchanged, "add-a", unchanged.domain, addresses=["127.0.0.99"])
    try:
        done = keeper(unchanged, "issue", "--force", **new_account)
    finally:
        tell_dns(unchanged, "clear-a", unchanged.domain)
    assert "suspicious: port" in done.stdout
    line = refusal(done, FAILED)
    assert "can't reach it on port 80" in line
    assert "open port 80" in line


@contextlib.contextmanager
def limited_authority(edge: LocalEdge) -> Iterator[str]:
    """Yield the directory URL of an ACME server that answers 429."""
    acme = edge.state / "acme"
    server = limited_ca(LOOPBACK, 0, str(acme / "cert.pem"), str(acme / "key.pem"))
    with serving(server):
        yield f"https://{LOOPBACK}:{server.server_port}/dir"


def test_authority_that_answers_429(unchanged: LocalEdge, tmp_path: Path) -> None:
    with limited_authority(unchanged) as directory:
        changes = {"ACME_SERVER": directory, "CERTBOT_STATE": str(tmp_path / "certbot")}
        line = refusal(keeper(unchanged, "issue", **changes), FAILED)
        assert "rate limit is reached" in line
        assert "too many new orders" in line

        ladder = read_state(tmp_path / "certbot", unchanged.domain)["ladder"]
        assert ladder["not_before"] > ladder["next_try"] - 1
        line = refusal(keeper(unchanged, "issue", **changes), FAILED)
        assert "asked to be left alone until" in line


# Failures of this machine.


def test_certbot_killed_in_mid_issue(unchanged: LocalEdge, tmp_path: Path) -> None:
    """SIGKILL certbot and all its children before it requests the challenge; the next run gets the certificate."""
    certbot = tmp_path / "certbot-that-waits"
    waits = f"echo $$ >{tmp_path}/pid; exec sleep 60"
    certbot.write_text(f"#!/bin/sh\nexec '{environ(unchanged)['CERTBOT']}' \"$@\" --pre-hook '{waits}'\n")
    certbot.chmod(0o755)
    with LocalEdge() as fresh:
        fresh.start_nginx(1)
        shutil.copy(unchanged.ca_file, fresh.ca_file)
        settings = {
            "CERTBOT_STATE": str(fresh.state / "certbot"),
            "CERT_PUBLISHED": str(fresh.published),
            "EDGE_HTTPS": f"{LOOPBACK}:{fresh.https_port}",
        }

        killed = issue_until_killed(unchanged, tmp_path / "pid", CERTBOT=str(certbot), **settings)

        assert "certbot failed" in refusal(killed, FAILED)
        assert not (fresh.published / fresh.domain).exists()
        leave_half_written(fresh.state / "certbot/config", fresh.domain)
        done = keeper(unchanged, "issue", **settings)
        assert done.returncode == 0, done.stderr
        assert "what it had is set aside" in done.stdout
        assert fresh.served_certificate() is not None


def issue_until_killed(edge: LocalEdge, pid_file: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "keeper", "issue"]
    output = subprocess.PIPE
    with subprocess.Popen(argv, env=environ(edge, **changes), stdout=output, stderr=output, text=True) as process:
        wait_for(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
        os.killpg(os.getpgid(int(pid_file.read_text())), signal.SIGKILL)
        out, errors = process.communicate(timeout=30.0)
    return subprocess.CompletedProcess(argv, process.returncode, out, errors)


def leave_half_written(config: Path, name: str) -> None:
    """Leave the files of a killed certbot: an empty file, the one it fills last, and one archived key."""
    (config / "renewal").mkdir(parents=True, exist_ok=True)
    (config / "renewal" / f"{name}.conf").touch()
    (config / "archive" / name).mkdir(parents=True)
    (config / "archive" / name / "privkey1.pem").touch()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a full file system."""
    with small_disk(tmp_path / "full", "256k") as folder:
        (folder / "ballast").write_bytes(b"\0" * 250_000)
        yield folder


def test_disk_of_certbot_full(unchanged: LocalEdge, full_disk: Path) -> None:
    line = refusal(keeper(unchanged, "issue", CERTBOT_STATE=str(full_disk / "certbot")), UNUSABLE)
    assert "is full" in line
    assert "make room" in line


def test_disk_of_the_published_pairs_full(unchanged: LocalEdge, full_disk: Path) -> None:
    """The keeper checks before it asks; if the disk fills up later, certbot's hook keeps what is there."""
    shutil.copytree(unchanged.published / unchanged.domain, full_disk / unchanged.domain, symlinks=True)
    fill(full_disk / "ballast")
    before = files_below(full_disk / unchanged.domain)

    line = refusal(keeper(unchanged, "issue", "--force", CERT_PUBLISHED=str(full_disk)), UNUSABLE)
    assert f"the disk of {full_disk} is full" in line

    lineage = full_disk.parent / "live"
    Authority().issue(unchanged.domain).write(lineage)
    told = {"RENEWED_LINEAGE": str(lineage), "RENEWED_DOMAINS": unchanged.domain, "CERT_PUBLISHED": str(full_disk)}
    hook = [str(DEPLOY / "certbot" / "hooks" / "publish")]
    done = subprocess.run(hook, env={**environ(unchanged), **told}, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert "ot published" in done.stderr
    assert files_below(full_disk / unchanged.domain) == before


def test_service_on_a_full_disk_serves_on_and_says_so(unchanged: LocalEdge, full_disk: Path) -> None:
    with running(unchanged, CERTBOT_STATE=str(full_disk / "certbot")) as service:
        wait_for(lambda: "make room" in service.said())
        assert service.process.poll() is None


def test_half_of_the_nonces_rejected(kept: LocalEdge) -> None:
    """The run either succeeds or says why not; there is no third possibility."""
    with edge_with_authority(published=kept.published, acme_environ={"PEBBLE_WFE_NONCEREJECT": "50"}) as edge:
        shutil.copy(kept.ca_file, edge.ca_file)
        before = kept.published.joinpath(kept.domain, "current").readlink()
        done = keeper(edge, "issue", "--force")
        after = kept.published.joinpath(kept.domain, "current").readlink()
        if done.returncode == 0:
            assert after != before
        else:
            assert "nonces" in refusal(done, FAILED)
            assert after == before
