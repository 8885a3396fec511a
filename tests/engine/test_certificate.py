"""The bundle with a domain, and Pebble as the CA: from empty volumes to a certificate that is renewed and served."""

from __future__ import annotations

import asyncio
import concurrent.futures

import pytest
from callgate.peers.phone.simulation.script import Speak
from support.engine.bundle import Bundle, Done, note
from support.engine.line import WORDS, Line

DOMAIN = "voice.callgate.test"
AUTH_TOKEN = "the-auth-token-of-this-account"
SETTINGS = f"DOMAIN={DOMAIN}\nACME_EMAIL=operator@{DOMAIN}\nTWILIO_AUTH_TOKEN={AUTH_TOKEN}\n"
ISSUE = "scripts/issue-cert.sh"
# Everything that certbot keeps and publishes, except what it writes at each run: logs, and the keeper's notes.
KEPT = "find {0}/published {0}/certbot/config -type f -exec sha256sum {{}} + | sort; readlink {0}/published/*/current"


@pytest.fixture(scope="module")
def bundle(new_bundle, images):
    with new_bundle(DOMAIN) as bundle:
        (bundle.folder / ".env").write_text(SETTINGS)
        bundle.start_acme()
        note(f"from empty volumes to healthy, certificate included: {bundle.up():.1f} s")
        yield bundle


@pytest.fixture(scope="module")
def line(bundle) -> Line:
    return Line(bundle, DOMAIN, bundle.acme_folder / "root.pem", AUTH_TOKEN)


def kept(bundle: Bundle) -> str:
    return bundle.exec("certbot", "sh", "-c", KEPT.format("/var/lib/callgate")).stdout


async def test_a_call_is_answered_over_a_certificate_that_nobody_had_to_ask_for(line):
    assert "Pebble" in line.served().issuer.rfc4514_string()
    report = await line.call(Speak(WORDS, "words"), echo=True)
    assert report.kept, report.promises


def test_the_call_with_the_command_in_the_backend_no_longer_trusts_the_self_signed_certificate(bundle):
    done = bundle.exec("backend", "ls", "/var/lib/callgate/rehearsal")
    assert done.stdout == ""


def test_the_script_says_that_the_certificate_is_good_however_often_it_is_run(bundle, line):
    before, state = line.served(), kept(bundle)
    for _ in range(2):
        done = bundle.run(ISSUE)
        assert "good" in done.stdout + done.stderr
    assert line.served() == before
    assert kept(bundle) == state


def test_a_dry_run_changes_nothing(bundle, line):
    before, state = line.served(), kept(bundle)
    bundle.run(ISSUE, "--dry-run")
    assert line.served() == before
    assert kept(bundle) == state


async def test_a_new_certificate_is_served_at_once_and_a_call_does_not_notice(bundle, line):
    before = line.served()
    started = bundle.inspect("nginx")["State"]["StartedAt"]
    async with asyncio.TaskGroup() as group:
        call = group.create_task(line.call(*[Speak(WORDS, f"words {n}") for n in range(4)], echo=True))
        group.create_task(asyncio.to_thread(bundle.run, ISSUE, "--force"))
    assert call.result().kept, call.result().promises
    assert line.served().serial_number != before.serial_number
    assert bundle.inspect("nginx")["State"]["StartedAt"] == started


def test_the_way_back_is_the_certificate_before(bundle, line):
    now = line.served()
    bundle.run(ISSUE, "--rollback")
    assert line.served().serial_number != now.serial_number
    bundle.run(ISSUE, "--rollback")
    assert line.served() == now


def test_a_name_that_nginx_does_not_serve_is_said_and_nothing_is_changed(bundle, line):
    before, state = line.served(), kept(bundle)
    done = bundle.run(ISSUE, "--domain", DOMAIN, "--domain", "nowhere.invalid", check=False)
    assert done.returncode == 2
    assert "EXTRA_DOMAINS=nowhere.invalid" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert (line.served(), kept(bundle)) == (before, state)


def test_what_certbot_keeps_is_its_own(bundle):
    for service in ("nginx", "backend"):
        assert bundle.exec(service, "ls", "/var/lib/callgate/certbot", check=False).returncode != 0


def test_no_secret_is_in_a_log(bundle):
    for service in ("nginx", "certbot", "backend"):
        log = bundle.logs(service)
        assert AUTH_TOKEN not in log
        assert "PRIVATE KEY" not in log


# Block the port until nobody can connect any more.
BLOCK_PORT_80 = """
while socat -u /dev/null TCP:127.0.0.1:80 2>/dev/null; do
  kill $(grep -lz ^TCP-LISTEN:80 /proc/[0-9]*/cmdline | cut -d / -f 3)
  sleep 0.1
done
"""


def test_a_blocked_port_80_is_named_and_what_was_served_is_served(bundle, line):
    before = line.served()
    try:
        bundle.exec("public", "sh", "-c", BLOCK_PORT_80)
        done = bundle.run(ISSUE, "--force", check=False)
    finally:
        bundle.compose("restart", "--timeout", "1", "public")
    assert done.returncode in (1, 2)
    assert "port 80" in done.stdout + done.stderr
    assert line.served() == before


def test_a_certbot_that_is_killed_in_mid_issue_leaves_what_was_served_and_the_next_one_succeeds(bundle, line):
    before = line.served()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        issuing = pool.submit(bundle.run, ISSUE, "--force", check=False)
        killed = kill_when_certbot_runs(bundle, issuing)
        done = issuing.result()
    assert killed, done.stdout + done.stderr
    assert done.returncode != 0
    assert line.served() == before

    bundle.run(ISSUE, "--force")
    assert line.served() != before


def kill_when_certbot_runs(bundle: Bundle, issuing: concurrent.futures.Future[Done]) -> bool:
    """Kill the container that the script started, as soon as certbot runs in it. Return whether that happened."""
    labels = (f"com.docker.compose.project={bundle.name}", "com.docker.compose.oneoff=True")
    one_off = [word for label in labels for word in ("--filter", f"label={label}")]
    while not issuing.done():
        for container in bundle.run("docker", "ps", "--quiet", *one_off).stdout.split():
            if " certonly " in bundle.run("docker", "top", container, "-eww", "-o", "pid,args", check=False).stdout:
                bundle.run("docker", "kill", container)
                return True
    return False


def test_the_certificate_outlives_its_containers(bundle, line):
    """Restarting the bundle any number of times uses nothing of the authority's weekly limit."""
    before = line.served()
    bundle.compose("rm", "--stop", "--force", "--volumes", "nginx", "certbot", "backend")
    bundle.up("nginx", "certbot", "backend")
    assert line.served() == before


def test_a_ca_that_is_down_is_said_and_what_was_served_is_served(bundle, line):
    before = line.served()
    bundle.compose("stop", "--timeout", "1", "pebble")
    done = bundle.run(ISSUE, "--force", check=False)
    assert done.returncode in (1, 2)
    assert "pebble" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert line.served() == before
