"""scripts/backup.sh and scripts/restore.sh, with a stand-in for docker that runs what they run in containers here."""

from __future__ import annotations

import io
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from support.project import ROOT

SCRIPTS = ("bundle.sh", "backup.sh", "restore.sh", "volume.py")

# Volumes are folders in $VOLUMES. $RUNNING names the services that run.
DOCKER = """#!/bin/sh
case "$*" in
"version --format"*) echo 28.5.2 ;;
"compose version --short") echo 2.40.3 ;;
*" ps --quiet --status running "*)
  for word in "$@"; do service=$word; done
  case " ${RUNNING:-} " in *" $service "*) echo 4711 ;; esac
  ;;
*" run "*)
  while [ "$1" != -c ]; do shift; done
  program=$2 verb=$3 volume=$4
  shift 5
  echo "$verb $volume" >>"$CALLS"
  if [ "$verb $volume" = "${FAIL:-}" ]; then echo "no room" >&2; exit 1; fi
  exec "$PYTHON" -c "$program" "$verb" "$volume" "$VOLUMES/$volume" "$@"
  ;;
*" stop backend") echo "stop backend, with $(echo $(ls "$VOLUMES/data"))" >>"$CALLS" ;;
*" stop "*) echo "stop certbot, with $(echo $(ls "$VOLUMES/certbot"))" >>"$CALLS" ;;
*" start "*) while [ "$1" != start ]; do shift; done; echo "$*" >>"$CALLS" ;;
esac
"""


class Stand:
    """The scripts, in a folder with two volumes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.volumes = folder / "volumes"
        for name in ("project/scripts", "bin", "volumes/certbot/config", "volumes/data", "elsewhere"):
            (folder / name).mkdir(parents=True)
        for name in SCRIPTS:
            shutil.copy(ROOT / "scripts" / name, folder / "project/scripts")
        (folder / "bin/docker").write_text(DOCKER)
        (folder / "bin/docker").chmod(0o755)
        (self.volumes / "certbot/config/key").write_text("the key")
        (self.volumes / "data/token").write_text("the token")

    def run(self, script: str, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
        told = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "PYTHON": sys.executable,
            "VOLUMES": str(self.volumes), "CALLS": str(self.folder / "calls"), **environ,
        }  # fmt: skip
        (self.folder / "calls").write_text("")
        return subprocess.run(
            [self.folder / "project/scripts" / script, *argv], cwd=self.folder / "elsewhere", env=told,
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def lose(self) -> None:
        for volume in ("certbot", "data"):
            shutil.rmtree(self.volumes / volume)
            (self.volumes / volume).mkdir()

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    @property
    def kept(self) -> dict[str, str]:
        files = [path for path in self.volumes.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.volumes)): path.read_text() for path in files}


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_what_is_lost_is_back(stand: Stand) -> None:
    before = stand.kept
    done = stand.run("backup.sh", "b.tar")
    assert done.returncode == 0, done.stderr
    backup = stand.folder / "elsewhere/b.tar"  # where it was called
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert [path.name for path in backup.parent.iterdir()] == ["b.tar"]
    assert ".env" in done.stdout
    stand.lose()
    done = stand.run("restore.sh", "b.tar")
    assert done.returncode == 0, done.stderr
    assert stand.kept == before
    assert "start.sh" in done.stdout


def test_only_what_runs_is_stopped_and_started_again(stand: Stand) -> None:
    stand.run("backup.sh", "b.tar")
    stand.lose()
    assert stand.run("restore.sh", "b.tar", RUNNING="backend certbot nginx").returncode == 0
    assert stand.calls[:3] == ["look data", "check data", "check certbot"]
    # Each is stopped before its folder changes, while its part is being handed over.
    assert sorted(stand.calls[3:5]) == ["stop backend, with ", "unpack data"]
    assert stand.calls[5] == "start backend"
    assert sorted(stand.calls[6:8]) == ["stop certbot, with ", "unpack certbot"]
    assert stand.calls[8:] == ["start certbot"]


def test_a_service_is_started_again_although_its_volume_could_not_be_restored(stand: Stand) -> None:
    stand.run("backup.sh", "b.tar")
    stand.lose()
    done = stand.run("restore.sh", "b.tar", RUNNING="backend certbot", FAIL="unpack data")
    assert done.returncode == 1
    assert "the volume data was not restored" in done.stderr
    assert stand.calls[-1] == "start backend"
    assert "unpack certbot" not in stand.calls


def test_a_volume_that_is_not_empty_is_refused_before_anything_is_stopped(stand: Stand) -> None:
    stand.run("backup.sh", "b.tar")
    (stand.volumes / "data/token").write_text("another")
    before = stand.kept
    shutil.rmtree(stand.volumes / "certbot/config")
    del before["certbot/config/key"]
    done = stand.run("restore.sh", "b.tar", RUNNING="backend")
    assert done.returncode == 1
    assert "the volume data is not empty (token): --replace" in done.stderr
    assert "nothing was changed" in done.stderr.splitlines()[-1]
    assert stand.kept == before
    assert not [call for call in stand.calls if call.startswith("stop")]
    assert stand.run("restore.sh", "--replace", "b.tar").returncode == 0
    assert (stand.volumes / "data/token").read_text() == "the token"
    assert [path.read_text() for path in stand.volumes.glob("data/before-restore-*/token")] == ["another"]


def truncated(stand: Stand, backup: Path) -> None:
    backup.write_bytes(backup.read_bytes()[: backup.stat().st_size // 2])


def without_a_part(stand: Stand, backup: Path) -> None:
    with tarfile.open(backup, "w") as tar:
        tar.addfile(tarfile.TarInfo("certbot.tar"))


def with_a_part_too_many(stand: Stand, backup: Path) -> None:
    with tarfile.open(backup, "a") as tar:
        tar.addfile(tarfile.TarInfo("../evil"))


def swapped(stand: Stand, backup: Path) -> None:
    with tarfile.open(backup) as tar:
        parts = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    with tarfile.open(backup, "w") as tar:
        for name, other in (("certbot.tar", "data.tar"), ("data.tar", "certbot.tar")):
            member = tarfile.TarInfo(name)
            member.size = len(parts[other])
            tar.addfile(member, io.BytesIO(parts[other]))


def text(stand: Stand, backup: Path) -> None:
    backup.write_text("DOMAIN=voice.example.com\n")


def empty(stand: Stand, backup: Path) -> None:
    backup.write_bytes(b"")


@pytest.mark.parametrize("spoil", [truncated, without_a_part, with_a_part_too_many, swapped, text, empty])
@pytest.mark.parametrize("option", [(), ("--replace",)], ids=["", "--replace"])
def test_a_file_that_is_not_a_whole_backup_of_ours_is_refused_and_nothing_is_changed(
    stand: Stand, spoil, option: tuple[str, ...]
) -> None:
    stand.run("backup.sh", "b.tar")
    if not option:
        stand.lose()
    spoil(stand, stand.folder / "elsewhere/b.tar")
    before = stand.kept
    done = stand.run("restore.sh", "b.tar", *option, RUNNING="backend")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("restore.sh: b.tar ")
    assert "backup" in done.stderr
    assert stand.kept == before
    assert not [call for call in stand.calls if call.startswith("stop")]
    assert [path.name for path in (stand.folder / "elsewhere").iterdir()] == ["b.tar"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("backup.sh",), "it takes one word"),
        (("backup.sh", "there"), "there exists: name a new file"),
        (("backup.sh", "nowhere/b.tar"), "name another folder, or make it"),
        (("restore.sh",), "which file?"),
        (("restore.sh", "nowhere"), "nowhere is no file that can be read here"),
        (("restore.sh", "there", "and-another"), "it takes one file"),
        (("restore.sh", "--force", "there"), "there is no option --force"),
    ],
    ids=str,
)
def test_wrong_words_are_said_in_one_sentence(stand: Stand, argv: tuple[str, ...], says: str) -> None:
    (stand.folder / "elsewhere/there").touch()
    done = stand.run(*argv)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert stand.calls == []


def test_a_backup_that_fails_leaves_no_file(stand: Stand) -> None:
    (stand.volumes / "data/calls.sqlite3").write_text("not a database at all" * 100)
    done = stand.run("backup.sh", "b.tar")
    assert done.returncode == 1
    assert "calls.sqlite3 can't be copied" in done.stderr
    assert list((stand.folder / "elsewhere").iterdir()) == []
