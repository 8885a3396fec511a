"""scripts/setup.sh from nothing to a call: a bare folder, Pebble as the CA, and Twilio under its own name."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from callgate.core.gate.signature import edge_proof
from callgate.operator.setup.webhooks import Webhooks, wanted
from dotenv import dotenv_values
from support.engine import acme
from support.engine.bundle import ROOT, Bundle, Done, note, run
from support.engine.line import Line
from support.twilio_rest import Redirected
from twilio.rest import Client

DOMAIN = "voice.setup.test"
ACCOUNT, TOKEN = "AC" + 32 * "5", "the-auth-token-of-the-set-up"
NUMBER, MINE = "+15551230009", "+15557654321"
PYTHON_TIMEOUT = 600.0  # a bare machine downloads what is in requirements-dev.txt
SETUP_TIMEOUT = 300.0
CALL_TIMEOUT = 60.0
BEFORE = Webhooks(voice_url="https://demo.twilio.com/welcome/voice/")


@dataclass(frozen=True, slots=True)
class Host:
    """The machine that is set up. ``hosts`` is a file with the test network's names."""

    bundle: Bundle
    hosts: Path
    token_file: Path

    def setup(self, *words: str, check: bool = True, timeout: float = SETUP_TIMEOUT) -> Done:
        """Run the script with the test network's names and CA, and nothing else that a user does not have."""
        here = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        trust = self.bundle.acme_folder
        environ = {
            **self.bundle.environ,
            "REQUESTS_CA_BUNDLE": str(trust / "ca.pem"),
            "SSL_CERT_FILE": str(trust / "root.pem"),
        }
        command = [*here, "sh", "-c", script, self.hosts, "scripts/setup.sh", *words]
        return run(command, environ=environ, cwd=self.bundle.folder, check=check, timeout=timeout)

    @property
    def options(self) -> tuple[str, ...]:
        """Return the options of a run that asks nothing."""
        return (
            "--yes", "--domain", DOMAIN, "--twilio-account-sid", ACCOUNT,
            "--twilio-auth-token-file", str(self.token_file), "--test-call-to", MINE,
        )  # fmt: skip

    def number(self) -> Webhooks:
        """Return where the number points, according to Twilio."""
        client = Client(ACCOUNT, TOKEN, http_client=Redirected(f"https://127.0.0.1:{self.bundle.port('twilio', 443)}"))
        (number,) = client.incoming_phone_numbers.list()
        return Webhooks.of(number)

    def calls(self) -> list[dict[str, object]]:
        """Return the placed calls that are over."""
        return [json.loads(line) for line in re.findall(r"^CALL (.*)$", self.bundle.logs("twilio"), re.MULTILINE)]

    def state(self) -> dict[str, object]:
        """Return everything that a second run must not change."""
        files = [self.bundle.folder / name for name in (".env", ".callgate-number.json")]
        line = Line(self.bundle, DOMAIN, self.bundle.acme_folder / "root.pem", TOKEN)
        return {
            "files": [(file.read_text(), file.stat().st_mtime_ns) for file in files],
            "containers": self.bundle.compose("ps", "--quiet").stdout.split(),
            "certificate": line.served().serial_number,
            "number": self.number(),
            "calls": len(self.calls()),
        }


@pytest.fixture(scope="module")
def host(new_bundle, images, tmp_path_factory):
    settings = {"TEST_ACCOUNT": ACCOUNT, "TEST_AUTH_TOKEN": TOKEN, "TEST_NUMBER": NUMBER}
    with new_bundle(DOMAIN, TEST_FOLDER=str(ROOT / "tests"), **settings) as bundle:
        bundle.start_acme()
        bundle.up("twilio")
        folder = tmp_path_factory.mktemp("host")
        names = {"twilio": "api.twilio.com", "public": DOMAIN}
        lines = [f"{address_of(bundle, service)} {name}" for service, name in names.items()]
        (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        (folder / "token").write_text(TOKEN)
        # The only setting made beforehand is the ACME server.
        (bundle.folder / ".env").write_text(f"# ours\nACME_SERVER={acme.DIRECTORY}\n")
        yield Host(bundle, folder / "hosts", folder / "token")


def address_of(bundle: Bundle, service: str) -> str:
    (network,) = bundle.inspect(service)["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


@pytest.fixture(scope="module")
def done(host) -> Done:
    """Make the first run, which finds nothing but docker."""
    run(["scripts/setup.sh", "--help"], environ=host.bundle.environ, cwd=host.bundle.folder, timeout=PYTHON_TIMEOUT)
    began = time.monotonic()
    done = host.setup(*host.options)
    note(f"set-up, from a bare folder to a call that is answered: {time.monotonic() - began:.1f} s")
    return done


@pytest.fixture(autouse=True)
def trust(host, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(host.bundle.acme_folder / "ca.pem"))


def test_it_ends_with_a_call_that_was_answered(host, done):
    assert "The call was answered" in done.stdout
    until = time.monotonic() + CALL_TIMEOUT
    while not host.calls() and time.monotonic() < until:
        time.sleep(0.2)
    assert host.calls() == [{"kept": True, "to": MINE}]


def test_the_number_points_here_and_the_settings_are_the_owners_alone(host, done):
    assert host.number() == wanted(f"https://{DOMAIN}", proof=edge_proof(TOKEN))
    env = host.bundle.folder / ".env"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert env.read_text().startswith(f"# ours\nACME_SERVER={acme.DIRECTORY}\n")
    assert dotenv_values(env)["TWILIO_PHONE_NUMBER"] == NUMBER


def test_no_secret_and_no_whole_number_was_shown(host, done):
    secrets = [TOKEN, edge_proof(TOKEN), NUMBER, MINE, dotenv_values(host.bundle.folder / ".env")["ADMIN_TOKEN"]]
    shown = done.stdout + done.stderr
    assert [secret for secret in secrets if secret in shown] == []


def test_a_second_run_changes_nothing_and_says_so(host, done):
    before = host.state()
    again = host.setup(*host.options)
    assert host.state() == before
    assert "nothing was changed" in again.stdout


def test_undo_restores_the_number_and_a_second_undo_nothing(host, done):
    host.setup("undo", "--yes")
    assert host.number() == BEFORE
    assert "nothing to undo" in host.setup("undo", "--yes").stdout
    assert host.number() == BEFORE
