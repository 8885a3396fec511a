"""scripts/volume.py: what goes into a backup comes out of it, and nothing else is let in."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sqlite3
import stat
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import volume
from volume import Refused, pack, unpack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder as certbot and the keeper leave it."""
    folder = tmp_path / "certbot"
    for name, text in {
        "config/accounts/acme/private_key.json": "key",
        "config/archive/a.example/cert1.pem": "one",
        "config/renewal/a.example.conf": "server = https://ca.example/dir\n",
        "keeper/a.example.json": "{}",
        "keeper/lock": "",
        "keeper/heartbeat": "",
        "logs/letsencrypt.log": "long",
        "before-restore-20260101T000000Z/config/old": "old",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    (folder / "config/live/a.example").mkdir(parents=True)
    (folder / "config/live/a.example/cert.pem").symlink_to("../../archive/a.example/cert1.pem")
    (folder / "config/empty").mkdir()
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def packed(folder: Path, name: str = "certbot") -> bytes:
    stream = io.BytesIO()
    pack(name, folder, stream)
    return stream.getvalue()


def restore(stream: bytes, target: Path, *, name: str = "certbot", replace: bool = False) -> None:
    with volume.private():
        unpack(name, target, io.BytesIO(stream), replace=replace, only_check=False)


def below(folder: Path) -> dict[str, str]:
    """Return all files, links and empty folders below a folder."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_text()
        elif not any(path.iterdir()):
            found[name] = ""
    return found


def test_what_counts_is_there_again_for_its_owner_alone(folder: Path, target: Path) -> None:
    restore(packed(folder), target)
    assert below(target) == {
        "config/accounts/acme/private_key.json": "key",
        "config/archive/a.example/cert1.pem": "one",
        "config/renewal/a.example.conf": "server = https://ca.example/dir\n",
        "config/live/a.example/cert.pem": "../../archive/a.example/cert1.pem",
        "config/empty": "",
        "keeper/a.example.json": "{}",
    }
    for path in target.rglob("*"):
        assert path.is_symlink() or stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_check_changes_nothing(folder: Path, target: Path) -> None:
    unpack("certbot", target, io.BytesIO(packed(folder)), replace=False, only_check=True)
    assert list(target.iterdir()) == []


# The record of calls.


def test_the_record_is_of_one_moment_while_it_is_written_to(tmp_path: Path, target: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    path = data / "calls.sqlite3"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as service:
        service.executescript("PRAGMA journal_mode = WAL; CREATE TABLE a (n); CREATE TABLE b (n);")
        stop, begun = threading.Event(), threading.Event()

        def write() -> None:
            n = 0
            while not stop.is_set():
                service.executescript(f"BEGIN; INSERT INTO a VALUES ({n}); INSERT INTO b VALUES ({n}); COMMIT;")
                n += 1
                if n == 10:
                    begun.set()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert begun.wait(30)
            stream = packed(data, "data")
        finally:
            stop.set()
            writer.join()
        assert {path.name for path in data.iterdir()} == {"calls.sqlite3", "calls.sqlite3-wal", "calls.sqlite3-shm"}
    restore(stream, target, name="data")
    assert [path.name for path in target.iterdir()] == ["calls.sqlite3"]
    with contextlib.closing(sqlite3.connect(target / "calls.sqlite3")) as restored:
        (in_a,), (in_b,) = (restored.execute(f"SELECT count(*) FROM {table}").fetchone() for table in "ab")
        assert in_a == in_b >= 10


def test_a_damaged_record_is_not_taken_for_a_backup(tmp_path: Path) -> None:
    (tmp_path / "calls.sqlite3").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(Refused, match=r"calls\.sqlite3 can't be copied .*docs/store\.md"):
        packed(tmp_path, "data")
    assert [path.name for path in tmp_path.iterdir()] == ["calls.sqlite3"]


def test_a_record_on_postgresql_is_said_not_to_be_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://callgate:secret@db.example.com/callgate")
    packed(tmp_path, "data")
    said = capsys.readouterr().err
    assert "pg_dump" in said
    assert "secret" not in said


# A volume that holds something.


def test_a_volume_that_is_not_empty_is_refused_and_left_alone(folder: Path, target: Path) -> None:
    (target / "config").mkdir()
    with pytest.raises(Refused, match=r"the volume certbot is not empty \(config\): --replace"):
        restore(packed(folder), target)
    assert [path.name for path in target.iterdir()] == ["config"]


def test_what_was_there_is_set_aside_each_time_and_is_in_no_backup(
    folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target / "config").mkdir()
    (target / "config/mine").write_text("mine")
    for day in ("1", "2"):
        monkeypatch.setattr(volume.time, "strftime", lambda form, at, day=day: f"2026010{day}T000000Z")
        restore(packed(folder), target, replace=True)
    assert (target / "before-restore-20260101T000000Z/config/mine").read_text() == "mine"
    assert (target / "before-restore-20260102T000000Z/config/renewal/a.example.conf").exists()
    assert b"before-restore" not in packed(target)


def test_what_a_service_does_until_it_is_stopped_is_set_aside_as_it_is_then(folder: Path, target: Path) -> None:
    (target / "calls.sqlite3").write_text("mine")
    (target / "calls.sqlite3-shm").write_text("")

    class Stream(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            if not data:  # the end of the input: the service has been stopped
                (target / "calls.sqlite3-shm").unlink(missing_ok=True)
                (target / "calls.sqlite3").write_text("mine, complete")
            return data

    unpack("certbot", target, Stream(packed(folder)), replace=True, only_check=False)
    (aside,) = target.glob("before-restore-*")
    assert below(aside) == {"calls.sqlite3": "mine, complete"}


def test_what_a_killed_restore_left_is_removed_and_is_in_nobodys_way(folder: Path, target: Path) -> None:
    (target / ".restore-99/config").mkdir(parents=True)
    restore(packed(folder), target)
    assert not list(target.glob(".restore-*"))


def test_a_replacement_that_fails_half_way_leaves_all_as_it_was(
    folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target / "config").mkdir()
    (target / "config/mine").write_text("mine")
    rename = Path.rename

    def fail(path: Path, to: Path) -> Path:
        if path.name == "keeper":
            raise OSError(28, "No space left on device", str(path))
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space"):
        restore(packed(folder), target, replace=True)
    assert (target / "config/mine").read_text() == "mine"


# Streams that are not ours, or not whole.


def test_a_stream_that_is_cut_off_anywhere_is_refused_and_changes_nothing(folder: Path, target: Path) -> None:
    stream = packed(folder)
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        (end,) = (member.offset_data + member.size for member in tar if member.name == volume.TAIL)
    for length in {0, 1, 511, 512, 513, *range(1024, end, 700), end - 1}:
        with pytest.raises(Refused, match=r"cut off|not a backup"):
            restore(stream[:length], target)
        assert list(target.iterdir()) == [], length


@pytest.mark.parametrize("stream", [b"hello", b"\0" * 10240, b"PK\3\4" + b"x" * 5000], ids=["text", "zeros", "zip"])
def test_what_is_no_backup_is_said_to_be_none(target: Path, stream: bytes) -> None:
    with pytest.raises(Refused, match="this is not a backup of Callgate"):
        restore(stream, target)


def test_a_changed_byte_is_noticed(folder: Path, target: Path) -> None:
    stream = packed(folder)
    at = stream.index(b"server = https://ca.example/dir")
    with pytest.raises(Refused, match="damaged"):
        restore(stream[:at] + b"S" + stream[at + 1 :], target)
    assert list(target.iterdir()) == []


def test_one_volumes_stream_is_not_put_in_another(folder: Path, target: Path) -> None:
    with pytest.raises(Refused, match="the volume data holds certbot"):
        restore(packed(folder), target, name="data")


def test_a_stream_of_another_format_says_so(target: Path) -> None:
    with pytest.raises(Refused, match="another version of Callgate"):
        restore(stream_of([], head={"format": 2, "volume": "certbot"}), target)


# Hostile ones: a head and an end as they should be, and something else in between.


def stream_of(entries: list[tarfile.TarInfo], head: dict[str, object] | None = None, data: bytes = b"") -> bytes:
    stream, seen = io.BytesIO(), hashlib.sha256()
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        note(tar, volume.HEAD, head or {"format": volume.FORMAT, "volume": "certbot"})
        for entry in entries:
            entry.size = len(data) if entry.isfile() else 0
            tar.addfile(entry, io.BytesIO(data))
            seen.update(volume._digest(entry, hashlib.sha256(data if entry.isfile() else b"")))
        note(tar, volume.TAIL, {"sha256": seen.hexdigest()})
    return stream.getvalue()


def note(tar: tarfile.TarFile, name: str, value: dict[str, object]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(json.dumps(value))
    tar.addfile(entry, io.BytesIO(json.dumps(value).encode()))


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, 0o4777
    return made


HOSTILE: dict[str, list[tarfile.TarInfo]] = {
    "up": [entry("../evil")],
    "up, further in": [entry("config/../../evil")],
    "absolute": [entry("/tmp/evil")],
    "a link out": [entry("config", tarfile.SYMTYPE, "../..")],
    "an absolute link": [entry("config", tarfile.SYMTYPE, "/etc")],
    "through a link out": [entry("a", tarfile.SYMTYPE, "/"), entry("a/evil")],
    "through a link within": [entry("b", tarfile.DIRTYPE), entry("a", tarfile.SYMTYPE, "b"), entry("a/evil")],
    "a link out through another": [
        entry("p", tarfile.DIRTYPE),
        entry("p/q", tarfile.DIRTYPE),
        entry("p/q/e", tarfile.SYMTYPE, "../../p"),
        entry("p/q/x", tarfile.SYMTYPE, "e/../../../evil"),
    ],
    "a link to nothing": [entry("evil", tarfile.SYMTYPE, "")],
    "below a file": [entry("evil"), entry("evil/evil")],
    "a detour": [entry("config/./evil")],
    "a hard link": [entry("evil", tarfile.LNKTYPE, "/etc/passwd")],
    "a device": [entry("evil", tarfile.CHRTYPE)],
    "a pipe": [entry("evil", tarfile.FIFOTYPE)],
    "the same name twice": [entry("evil"), entry("evil")],
    "where a restore works": [entry(".restore-1/evil")],
    "no name": [entry(".")],
}


@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE)
def test_nothing_gets_out_of_the_volume_or_in_the_way(
    target: Path, tmp_path: Path, entries: list[tarfile.TarInfo]
) -> None:
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(Refused, match="not one of ours"):
        restore(stream_of(entries, data=b"evil"), target)
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert not Path("/tmp/evil").exists()


def test_a_time_that_no_file_can_have_is_no_reason_to_break_down(target: Path) -> None:
    late = entry("evil")
    late.pax_headers = {"mtime": "1e300"}
    with pytest.raises(Refused, match="damaged"):
        restore(stream_of([late]), target)


def test_no_entry_brings_a_mode_that_lets_others_in(target: Path) -> None:
    restore(stream_of([entry("config", tarfile.DIRTYPE), entry("config/run")], data=b"x"), target)
    assert stat.S_IMODE((target / "config").stat().st_mode) == 0o700
    assert stat.S_IMODE((target / "config/run").stat().st_mode) == 0o700


# The command.


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: (folder / "sub").mkdir(), "the volume data is not empty"),
        (lambda folder: folder.rmdir(), "No such file or directory"),
    ],
)
def test_the_command_says_one_sentence(
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], None],
    says: str,
) -> None:
    make(target)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert volume.main(["unpack", "data", str(target)]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
