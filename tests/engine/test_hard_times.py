"""Failures of the ACME server, the disk or the network: the served certificate stays, and the message names the
cause."""

from __future__ import annotations

import dataclasses
import ssl

import pytest
from support.engine import acme
from support.engine.bundle import Bundle, Done
from support.engine.line import Line

DOMAIN = "hard.callgate.test"
ISSUE = "scripts/issue-cert.sh"
STATE = "/var/lib/callgate/certbot"
# A small separate disk for certbot's state. It exists as long as a container uses it, and the certbot containers here
# do.
SMALL_DISK = ("--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=16m,uid=10002,gid=101,mode=0700")


@pytest.fixture(scope="module")
def bundle(new_bundle, images):
    with new_bundle(DOMAIN) as bundle:
        labels = (f"com.docker.compose.project={bundle.name}", "com.docker.compose.volume=certbot")
        words = [word for label in labels for word in ("--label", label)]
        bundle.run("docker", "volume", "create", *words, *SMALL_DISK, f"{bundle.name}_certbot")
        (bundle.folder / ".env").write_text(f"DOMAIN={DOMAIN}\n")
        bundle.start_acme()
        bundle.up()
        yield bundle


@pytest.fixture
def unchanged(bundle):
    """Check afterwards that what is served has not changed."""
    line = Line(bundle, DOMAIN, bundle.acme_folder / "root.pem", "any token")
    before = line.served()
    yield bundle
    assert line.served() == before


def refused(done: Done) -> str:
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_full_disk(unchanged: Bundle) -> None:
    fill = f"dd if=/dev/zero of={STATE}/fill bs=64k"
    try:
        assert unchanged.exec("certbot", "sh", "-c", fill, check=False).returncode != 0
        assert "is full" in refused(unchanged.run(ISSUE, "--force", check=False))
    finally:
        unchanged.exec("certbot", "rm", f"{STATE}/fill")


def test_a_ca_that_answers_429(unchanged: Bundle) -> None:
    limited = dataclasses.replace(unchanged, more={"TEST_ACME_SERVER": acme.LIMITED_DIRECTORY})
    limited.up("limited")
    said = refused(limited.run(ISSUE, "--force", check=False))
    assert "rate limit is reached" in said
    assert "too many new orders" in said


def test_a_ca_that_rejects_half_of_all_nonces_ends_in_a_certificate_or_in_a_message_that_names_it(new_bundle, images):
    with new_bundle("nonces.callgate.test", TEST_NONCE_REJECT="50") as bundle:
        (bundle.folder / ".env").write_text("DOMAIN=nonces.callgate.test\n")
        bundle.start_acme()
        done = bundle.run(ISSUE, check=False)
        line = Line(bundle, "nonces.callgate.test", bundle.acme_folder / "root.pem", "any token")
        if done.returncode == 0:
            assert "Pebble" in line.served().issuer.rfc4514_string()
        else:
            assert "nonce" in refused(done).lower()
            with pytest.raises(ssl.SSLError):  # as before: nothing is served
                line.served()
