"""deploy/certbot: a bad pair is never published, and the working one is never touched."""

from __future__ import annotations

import datetime
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from demo.local_edge import DEPLOY, LocalEdge
from support.edge.keepers import files_below
from support.edge.pairs import Authority, Pair

DOMAIN = "callgate.example"
DAY = datetime.timedelta(days=1)

Publish = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """Run the hook as certbot does. It publishes to ``tmp_path / "published"``."""

    def run(lineage: Path, domains: str = DOMAIN) -> subprocess.CompletedProcess[str]:
        environ = {
            "PATH": os.environ["PATH"],
            "RENEWED_LINEAGE": str(lineage),
            "RENEWED_DOMAINS": domains,
            "CERT_PUBLISHED": str(tmp_path / "published"),
        }
        hook = [str(DEPLOY / "certbot" / "hooks" / "publish")]
        return subprocess.run(hook, env=environ, capture_output=True, text=True, timeout=20)

    return run


@pytest.fixture
def current(tmp_path: Path) -> Path:
    return tmp_path / "published" / DOMAIN / "current"


def lineage(tmp_path: Path, pair: Pair) -> Path:
    folder = tmp_path / "live"
    pair.write(folder)
    return folder


def test_good_pair_is_published(tmp_path: Path, publish: Publish, current: Path, authority: Authority) -> None:
    pair = authority.issue(DOMAIN)
    done = publish(lineage(tmp_path, pair))
    assert done.returncode == 0, done.stderr
    assert (current / "fullchain.pem").read_bytes() == pair.fullchain
    assert (current / "privkey.pem").read_bytes() == pair.privkey
    assert sorted(path.name for path in current.iterdir()) == ["fullchain.pem", "privkey.pem"]


def test_pair_published_again_changes_nothing(
    tmp_path: Path, publish: Publish, current: Path, authority: Authority
) -> None:
    live = lineage(tmp_path, authority.issue(DOMAIN))
    publish(live)
    before = files_below(current.parent)
    done = publish(live)
    assert done.returncode == 0, done.stderr
    assert files_below(current.parent) == before


def test_the_pair_before_is_kept_and_older_ones_are_not(
    tmp_path: Path, publish: Publish, current: Path, authority: Authority
) -> None:
    pairs = [authority.issue(DOMAIN) for _ in range(3)]
    for pair in pairs:
        assert publish(lineage(tmp_path, pair)).returncode == 0
    kept = {path.read_bytes() for path in current.parent.glob("*/fullchain.pem")}
    assert kept == {pair.fullchain for pair in pairs[1:]}
    assert (current / "fullchain.pem").read_bytes() == pairs[-1].fullchain


def test_every_name_of_the_certificate_is_published(tmp_path: Path, publish: Publish, authority: Authority) -> None:
    done = publish(lineage(tmp_path, authority.issue("one.example", "two.example")), "one.example two.example")
    assert done.returncode == 0, done.stderr
    for name in ("one.example", "two.example"):
        assert (tmp_path / "published" / name / "current" / "privkey.pem").exists()


def no_intermediate(authority: Authority) -> Pair:
    pair = authority.issue(DOMAIN)
    return Pair(pair.fullchain.removesuffix(authority.pem), pair.privkey)


def another_intermediate(authority: Authority) -> Pair:
    pair = authority.issue(DOMAIN)
    return Pair(pair.fullchain.removesuffix(authority.pem) + Authority().pem, pair.privkey)


BAD_PAIRS: dict[str, tuple[Callable[[Authority], Pair], str]] = {
    "another key": (lambda a: Pair(a.issue(DOMAIN).fullchain, a.issue(DOMAIN).privkey), "is not the certificate's"),
    "expired": (lambda a: a.issue(DOMAIN, starts_in=-2 * DAY, ends_in=-DAY), "certificate has expired"),
    "not yet valid": (lambda a: a.issue(DOMAIN, starts_in=DAY, ends_in=2 * DAY), "certificate is not yet valid"),
    "another name": (lambda a: a.issue("other.example"), "hostname mismatch"),
    "no intermediate": (no_intermediate, "lacks the intermediate certificate"),
    "another intermediate": (another_intermediate, "unable to get"),
    "no certificate": (lambda a: Pair(b"", a.issue(DOMAIN).privkey), "is not a certificate"),
    "cut short": (lambda a: Pair(a.issue(DOMAIN).fullchain[:300], a.issue(DOMAIN).privkey), "is not a certificate"),
    "no key": (lambda a: Pair(a.issue(DOMAIN).fullchain, b""), "is not a private key"),
}


@pytest.mark.parametrize("bad", BAD_PAIRS)
def test_bad_pair_is_refused_and_the_working_one_untouched(
    tmp_path: Path, publish: Publish, current: Path, authority: Authority, bad: str
) -> None:
    publish(lineage(tmp_path, authority.issue(DOMAIN)))
    before = files_below(current.parent)
    make, reason = BAD_PAIRS[bad]

    done = publish(lineage(tmp_path, make(authority)))

    assert done.returncode != 0
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert files_below(current.parent) == before


def test_missing_lineage_is_refused(tmp_path: Path, publish: Publish, current: Path) -> None:
    done = publish(tmp_path / "nowhere")
    assert done.returncode != 0
    assert "fullchain.pem can't be read" in done.stderr
    assert files_below(tmp_path / "published") == {}


@pytest.mark.parametrize("name", ["../evil", "*.callgate.example", "-rf", ".hidden"])
def test_name_that_is_no_folder_name_is_refused(
    tmp_path: Path, publish: Publish, authority: Authority, name: str
) -> None:
    done = publish(lineage(tmp_path, authority.issue(DOMAIN)), name)
    assert done.returncode != 0
    assert "is not a host name" in done.stderr
    assert not (tmp_path / "published").exists()


def test_key_is_read_by_the_workers_group_only(edge: LocalEdge) -> None:
    key = (edge.published / edge.domain / "current" / "privkey.pem").stat()
    assert stat.S_IMODE(key.st_mode) == 0o640
    assert key.st_uid == os.geteuid()
    folders = [edge.published / edge.domain, (edge.published / edge.domain / "current").resolve()]
    assert {(stat.S_IMODE(f.stat().st_mode), f.stat().st_gid) for f in folders} == {(0o750, key.st_gid)}


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "DOMAIN is not set"),
        ({"DOMAIN": "https://callgate.example"}, "wanted a host name"),
        ({"DOMAIN": DOMAIN, "CERTBOT": "no-such-program"}, "there is no program no-such-program"),
    ],
)
def test_issue_refuses_what_can_not_work(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    folders = {"ACME_WEBROOT": str(tmp_path / "webroot"), "CERTBOT_STATE": str(tmp_path / "certbot")}
    done = subprocess.run(
        [str(DEPLOY / "certbot" / "issue")],
        env={"PATH": os.environ["PATH"], **folders, **environ},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
