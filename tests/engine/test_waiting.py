"""A start that can't succeed ends soon, and its last line is the cause, whoever asks: the scripts, or the engine."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from support.engine.bundle import Bundle, Done, note
from support.engine.line import Line

DOMAIN = "voice.waiting.test"
NOWHERE = "nowhere.invalid"
START = "scripts/start.sh"
SERVICES = ("nginx", "certbot", "backend")
# The start has a deadline of its own only here. It used to take more than 300 s.
DEADLINE = 200.0


@pytest.fixture
def bundle(new_bundle, images) -> Iterator[Bundle]:
    with new_bundle(DOMAIN) as bundle:
        bundle.start_acme()
        yield bundle


def settings(bundle: Bundle, **values: str) -> None:
    (bundle.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))


def timed(what: str, done: Done, began: float) -> Done:
    note(f"{what}: ended after {time.monotonic() - began:.1f} s")
    return done


def last_line(done: Done) -> str:
    return done.stderr.rstrip().splitlines()[-1]


def test_a_name_that_does_not_resolve_ends_the_wait_and_is_the_last_thing_said(bundle):
    settings(bundle, DOMAIN=NOWHERE)
    began = time.monotonic()
    done = timed(
        "`up --wait` with a name that does not resolve",
        bundle.compose("up", "-d", "--wait", *SERVICES, check=False, timeout=DEADLINE),
        began,
    )
    assert done.returncode != 0
    found = bundle.inspect("certbot")
    assert found["State"]["Health"]["Status"] == "unhealthy"
    assert f"{NOWHERE}: the name does not resolve" in found["State"]["Health"]["Log"][-1]["Output"]
    assert found["RestartCount"] == 0
    assert {bundle.inspect(service)["State"]["Running"] for service in SERVICES} == {True}

    done = bundle.run(START, *SERVICES, check=False, timeout=DEADLINE)
    assert done.returncode == 1
    assert last_line(done).startswith("start.sh: certbot is unhealthy: no certificate is published")
    assert f"{NOWHERE}: the name does not resolve" in last_line(done)

    done = bundle.run("scripts/issue-cert.sh", check=False, timeout=DEADLINE)
    assert done.returncode == 1  # only the authority can tell
    assert f"{NOWHERE}: the name does not resolve" in last_line(done)


def test_once_the_cause_is_mended_the_same_commands_succeed_at_once(bundle):
    settings(bundle, DOMAIN=DOMAIN)
    bundle.compose("stop", "--timeout", "1", "public")  # and with it, the name
    done = bundle.run(START, *SERVICES, check=False, timeout=DEADLINE)
    assert f"{DOMAIN}: the name does not resolve" in last_line(done)
    bundle.compose("start", "public")
    bundle.run("scripts/issue-cert.sh")
    began = time.monotonic()
    timed("a start after the cause was mended", bundle.run(START, *SERVICES, timeout=DEADLINE), began)
    assert "Pebble" in Line(bundle, DOMAIN, bundle.acme_folder / "root.pem", "").served().issuer.rfc4514_string()


@pytest.mark.parametrize(
    ("values", "service", "says"),
    [
        ({"DOMAIN": "https://voice.example.com"}, "certbot", "wanted a host name without https://"),
        ({"DOMAIN": DOMAIN, "ACME_SERVER": "http://ca.example"}, "certbot", "wanted the https:// URL"),
        ({"DOMAIN": "", "MAX_CALLS": "many"}, "backend", "MAX_CALLS"),
        ({"DOMAIN": "", "DATABASE_URL": "mysql://db"}, "backend", "DATABASE_URL"),
    ],
    ids=str,
)
def test_settings_that_can_not_work_end_the_wait_with_their_name(new_bundle, images, values, service, says):
    with new_bundle() as bundle:
        settings(bundle, **values)
        more = {"TEST_ACME_SERVER": values["ACME_SERVER"]} if "ACME_SERVER" in values else {}
        bundle = dataclasses.replace(bundle, more=more)
        began = time.monotonic()
        done = timed(f"a start with {values}", bundle.run(START, service, check=False, timeout=DEADLINE), began)
    assert done.returncode == 1
    assert last_line(done).startswith(f"start.sh: {service} is ")
    assert says in last_line(done)


def test_a_port_that_is_taken_is_named_with_who_has_it_before_and_after_the_engine_says_so(bundle):
    settings(bundle, DOMAIN=DOMAIN)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken = dataclasses.replace(bundle, more={"TEST_HTTP_PORT": str(port)})
        for script in (START, "scripts/issue-cert.sh"):
            done = taken.run(script, check=False)
            assert done.returncode == 2
            assert last_line(done).startswith(
                f"{os.path.basename(script)}: port {port}, which nginx needs, is taken by "
            )
            assert f"(process {os.getpid()}): stop that" in last_line(done)
        assert taken.compose("up", "-d", "nginx", check=False).returncode != 0
        done = taken.run("bash", "-c", "source scripts/bundle.sh; why_not nginx")
        assert f"nginx is created: port {port} is taken by " in done.stdout
        assert f"(process {os.getpid()})" in done.stdout


def test_a_container_that_has_the_port_is_named(bundle):
    settings(bundle, DOMAIN=DOMAIN)
    bundle.compose("up", "-d", "nginx")
    port = bundle.port("nginx", 8080)
    (name,) = bundle.run("docker", "inspect", "--format", "{{.Name}}", bundle.container("nginx")).stdout.split()
    other = dataclasses.replace(bundle, name=f"{bundle.name}-other", more={"TEST_HTTP_PORT": str(port)})
    try:
        assert f"is taken by the container {name.removeprefix('/')}: stop" in last_line(other.run(START, check=False))
    finally:
        other.remove()


def test_the_engine_and_the_compose_here_are_new_enough_for_every_script(bundle):
    assert bundle.run(START, "--check").stderr == ""
    wanted = subprocess.run(
        ["bash", "-c", "source scripts/bundle.sh; echo $ENGINE_WANTED $COMPOSE_WANTED"],
        cwd=bundle.folder, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    readme = (bundle.folder / "README.md").read_text()
    assert f"Docker Engine {wanted[0].removesuffix('.0')} or later with Compose {wanted[1]} or later" in readme
