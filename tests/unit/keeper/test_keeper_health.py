"""`keeper health --wait`: it waits while the service is at work, and ends as soon as a cause is known."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from keeper.acme.certbot import Certbot
from keeper.attempt import attempt
from keeper.cli import FAILED, GOOD, main
from keeper.errors import IssueError, PreflightError
from keeper.health import HEARTBEAT_LIMIT, health, patience
from keeper.keeper import Keeper
from keeper.settings import Settings
from support.disks import fill, small_disk
from support.edge.pairs import Authority

DOMAIN = "voice.example.com"
CAUSE = "voice.example.com does not resolve: make an A record"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the command, which runs in this process, from changing the logging of other tests."""
    monkeypatch.setattr("keeper.cli.set_up_logging", lambda *, with_time: None)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    folders = {"ACME_WEBROOT": "webroot", "CERTBOT_STATE": "certbot", "CERT_PUBLISHED": "published"}
    return {"DOMAIN": DOMAIN, "REHEARSAL": str(tmp_path / "rehearsal")} | {
        name: str(tmp_path / folder) for name, folder in folders.items()
    }


@pytest.fixture
def keeper(environ: dict[str, str]) -> Keeper:
    keeper = Keeper(Settings.parse(environ))
    keeper.store.beat()
    return keeper


@pytest.fixture
def certbot(keeper: Keeper) -> Certbot:
    return Certbot(keeper.settings, [DOMAIN])


def publish(keeper: Keeper, environ: dict[str, str]) -> None:
    pair = Authority().issue(DOMAIN)
    pair.write(Path(environ["CERT_PUBLISHED"]) / DOMAIN / "current")


class Command(threading.Thread):
    """The command in a thread. ``looked``: it has looked twice, and so is waiting."""

    def __init__(self, environ: dict[str, str]) -> None:
        super().__init__()
        self.status = -1
        self.looks = 0
        self.looked = threading.Event()
        self._environ = environ

    def run(self) -> None:
        self.status = main(["health", "--wait", "60"], self._environ)

    def health(self, keeper: Keeper) -> tuple[bool, str]:
        self.looks += 1
        if self.looks == 2:
            self.looked.set()
        return health(keeper)


@pytest.fixture
def waiting(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    command = Command(environ)
    monkeypatch.setattr("keeper.cli.health", command.health)
    yield command
    command.join(timeout=90)
    assert not command.is_alive()


def fail(keeper: Keeper, certbot: Certbot, error: Exception, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Make an attempt that fails."""
    try:
        with attempt(keeper, certbot, interrupted="the last try was interrupted"):
            assert meanwhile() is not False
            raise error
    except type(error):
        pass


def test_a_service_that_has_just_been_started_is_given_time(keeper: Keeper) -> None:
    assert patience(keeper) == math.inf
    keeper.store.heartbeat.unlink()
    assert patience(keeper) == HEARTBEAT_LIMIT
    keeper.store.beat()
    os.utime(keeper.store.heartbeat, (1, 1))  # left by a run before
    assert patience(keeper) == HEARTBEAT_LIMIT


def test_a_try_that_goes_on_is_waited_for_however_often_it_failed_before(keeper: Keeper, certbot: Certbot) -> None:
    fail(keeper, certbot, PreflightError(CAUSE))
    with pytest.raises(IssueError), attempt(keeper, certbot, interrupted="issuing by hand was interrupted"):
        assert patience(keeper) == math.inf


@pytest.mark.parametrize("error", [PreflightError(CAUSE), IssueError(CAUSE)])
def test_a_try_that_failed_is_not_waited_for_until_the_next_one_is_due(
    keeper: Keeper, certbot: Certbot, error: Exception
) -> None:
    fail(keeper, certbot, error)
    assert patience(keeper) == 0
    state = keeper.recall()
    keeper.remember(replace(state, ladder=replace(state.ladder, next_try=keeper.clock() - 1)))
    assert patience(keeper) == math.inf


def test_the_cause_ends_the_wait_and_is_its_last_line(
    keeper: Keeper, certbot: Certbot, waiting: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting.start()
    fail(keeper, certbot, PreflightError(CAUSE), meanwhile=lambda: waiting.looked.wait(30))
    waiting.join(timeout=30)
    assert waiting.status == FAILED
    assert f"no certificate is published for {DOMAIN}; the last try failed: {CAUSE}" in capsys.readouterr().out


def test_a_certificate_ends_the_wait(keeper: Keeper, environ: dict[str, str], waiting: Command) -> None:
    waiting.start()
    assert waiting.looked.wait(30)
    publish(keeper, environ)
    waiting.join(timeout=30)
    assert waiting.status == GOOD


def test_nginx_is_given_time_to_serve_what_is_published(keeper: Keeper, environ: dict[str, str]) -> None:
    publish(keeper, environ)
    keeper.remember(replace(keeper.recall(), unserved="nothing listens at nginx:8443"))
    assert health(keeper) == (False, "nothing listens at nginx:8443")
    assert 0 < patience(keeper) < math.inf


def test_a_full_disk_is_said_though_no_failure_can_be_recorded(
    environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "small", "1m") as disk:
        environ["CERTBOT_STATE"] = str(disk)
        keeper = Keeper(Settings.parse(environ))
        keeper.store.beat()
        fill(disk / "ballast")
        assert main(["health", "--wait", "60"], environ) == FAILED
    assert f"no certificate is published for {DOMAIN}; the disk of {disk} is full" in capsys.readouterr().out
