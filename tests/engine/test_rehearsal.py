"""The bundle without a .env: what a user sees who only starts it, and what a caller notices when containers are
stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from callgate.peers.phone.simulation.script import Hold, Speak, Wait
from callgate.peers.phone.simulation.timeline import Event
from cryptography.x509.oid import NameOID
from support.engine.bundle import ROOT, Bundle, note
from support.engine.line import WORDS, Line

SERVICES = ("nginx", "certbot", "backend")
WAIT = ("Say", "Pause", "Redirect")
NORMAL = ("Connect", "Redirect")


@pytest.fixture(scope="module")
def line(rehearsal: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Line:
    ca = rehearsal.copy_out("backend", "/var/lib/callgate/rehearsal/ca.pem", tmp_path_factory.mktemp("line") / "ca.pem")
    token = rehearsal.exec("backend", "sh", "-c", "cat data/*token*").stdout.strip()
    return Line(rehearsal, "localhost", ca, token)


def when(kind: str, act: Callable[[], object]) -> tuple[Callable[[Event], None], list[asyncio.Future[object]]]:
    """Do something in another thread when the first event of a kind happens in a call."""
    done: list[asyncio.Future[object]] = []

    def on_event(event: Event) -> None:
        if event.kind == kind and not done:
            done.append(asyncio.get_running_loop().run_in_executor(None, act))

    return on_event, done


def wait_for(what: Callable[[], bool], seconds: float) -> float:
    """Wait until a condition holds, and return how long that took. Fail if it does not in time."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, f"it did not happen within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - began


def test_all_services_are_healthy_and_none_was_restarted(rehearsal):
    states = {service: rehearsal.inspect(service) for service in SERVICES}
    assert {service: state["State"]["Health"]["Status"] for service, state in states.items()} == dict.fromkeys(
        SERVICES, "healthy"
    )
    assert {state["RestartCount"] for state in states.values()} == {0}


def test_the_certificate_says_that_it_is_not_for_production(line):
    (organization,) = line.served().subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert organization.value == "Callgate self-signed, not for production"


def test_a_call_is_placed_with_the_command_the_readme_names(rehearsal):
    done = rehearsal.exec("backend", "callgate", "phone", "--expect-echo", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "https://localhost/incoming-call: 200" in done.stdout


async def test_a_call_from_outside_reaches_the_agent_through_the_published_port(line):
    report = await line.call(Speak(WORDS, "words"), echo=True)
    assert report.kept, report.promises
    assert "ordinary path" not in line.bundle.logs("backend")  # the fast path works with the image's Hypercorn


def test_the_log_says_what_is_missing_for_production(rehearsal):
    log = rehearsal.logs("backend")
    for missing in ("TWILIO_AUTH_TOKEN is not set", "OPENAI_API_KEY is not set", "Neither DOMAIN nor BASE_URL is set"):
        assert missing in log


async def test_a_certbot_that_is_restarted_and_one_that_is_replaced_are_not_noticed_in_a_call(line):
    def change() -> None:
        line.bundle.compose("restart", "--timeout", "5", "certbot")
        line.bundle.compose("rm", "--stop", "--force", "--volumes", "certbot")
        line.bundle.compose("up", "--detach", "--no-deps", "certbot")

    on_event, changed = when("says", change)
    report = await line.call(
        Speak(WORDS, "one"), Speak(WORDS, "two"), Speak(WORDS, "three"), echo=True, on_event=on_event
    )
    await asyncio.gather(*changed)
    assert changed
    assert report.kept, report.promises


async def test_a_backend_that_is_killed_in_mid_call_and_comes_back_takes_the_call_up_again(line):
    def kill() -> None:
        line.bundle.compose("kill", "backend")
        line.bundle.compose("up", "--detach", "backend")

    on_event, killed = when("first audio", kill)
    report = await line.call(Wait(12.0), on_event=on_event)
    await asyncio.gather(*killed)
    asked = report.verbs.count("Pause")
    # The new process knows the call only from the record, and makes Twilio ask once more.
    expected = ("Connect", "Redirect", *WAIT * asked, "Redirect", "Connect", "Redirect")
    assert report.verbs == expected[: len(report.verbs)]
    assert asked >= 1
    assert len(report.stream_sids) == 2
    note(f"backend killed in mid-call: asked to wait {asked} times, then connected again")
    line.bundle.up("backend")


async def test_a_backend_that_stays_away_leaves_its_caller_with_an_apology_not_with_silence(line):
    on_event, killed = when("first audio", lambda: line.bundle.compose("kill", "backend"))
    report = await line.call(Hold(), on_event=on_event)
    await asyncio.gather(*killed)
    asked = report.verbs.count("Pause")
    assert report.verbs == ("Connect", "Redirect", *WAIT * asked, "Say", "Hangup")
    line.bundle.up("backend")


def test_while_the_backend_is_down_a_caller_is_asked_to_wait_and_nginx_is_never_touched(line):
    before = line.bundle.inspect("nginx")["State"]["StartedAt"]
    line.bundle.compose("kill", "backend")
    for path in ("/incoming-call", "/call-interrupted"):
        answer = line.webhook(path)
        assert (answer.status, answer.content_type, answer.verbs) == (200, "text/xml", WAIT)
        note(f"backend killed: {path} answered in {answer.seconds * 1000:.0f} ms")

    line.bundle.compose("up", "--detach", "backend")
    seconds = wait_for(lambda: line.webhook("/incoming-call").verbs == NORMAL, 60)
    note(f"backend back: normal TwiML {seconds:.1f} s after `up`")
    assert line.bundle.inspect("nginx")["State"]["StartedAt"] == before


def test_calls_are_spread_over_as_many_backends_as_there_are(line):
    bundle = line.bundle
    scale = ("up", "--detach", "--wait", "--no-deps", "--no-recreate", "--scale")

    def told(word: str) -> list[int]:
        """Return how often each backend has logged it."""
        logs = [bundle.run("docker", "logs", backend) for backend in bundle.containers("backend")]
        return [(log.stdout + log.stderr).count(word) for log in logs]

    bundle.compose(*scale, "backend=2", "backend")
    try:
        before = told("Call from")
        wait_for(lambda: line.webhook("/incoming-call").status == 200 and min(told("Call from")) > min(before), 30)
        before = told("Stream started")
        done = bundle.exec("backend", "callgate", "phone", "--calls", "6", "--expect-echo", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        calls = [after - earlier for after, earlier in zip(told("Stream started"), before, strict=True)]
        assert sum(calls) == 6
        assert min(calls) >= 2, calls
        note(f"two backends: 6 calls at one time, {calls[0]} and {calls[1]}")
    finally:
        bundle.compose(*scale, "backend=1", "backend")


def test_a_backend_that_ends_by_itself_is_started_again(line):
    before = line.bundle.inspect("backend")["RestartCount"]
    line.bundle.exec("backend", "sh", "-c", "kill 1")
    wait_for(lambda: line.bundle.inspect("backend")["RestartCount"] > before, 60)
    wait_for(lambda: line.webhook("/incoming-call").verbs == NORMAL, 60)


async def test_a_restart_of_nginx_cuts_a_call_and_the_operator_is_told_so(line):
    on_event, restarted = when("says", lambda: line.bundle.compose("restart", "--timeout", "1", "nginx"))
    report = await line.call(Speak(WORDS, "words"), Hold(), on_event=on_event, max_seconds=30)
    await asyncio.gather(*restarted)
    assert not report.kept
    assert 31903 in report.codes
    line.bundle.up("nginx")
    assert "restart nginx" in (ROOT / "docs/operations.md").read_text()


def test_nothing_in_the_folder_was_written(rehearsal):
    """A .env, a certificate or a log next to the compose file would be left for the user to clean up."""
    assert not [path for path in Path(rehearsal.folder).iterdir() if path.name in (".env", "data", "logs", "certbot")]
