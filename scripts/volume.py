"""What `scripts/backup.sh` and `scripts/restore.sh` run in a service's container, as the service's user.

    volume.py look NAME FOLDER       do nothing: the container can be started
    volume.py pack NAME FOLDER       write FOLDER to standard output, as a tar stream that can be checked
    volume.py check NAME FOLDER      read such a stream, and check all of it; refuse if FOLDER holds anything
    volume.py unpack NAME FOLDER     the same, and put what it holds in the folder
                  --replace          what is in the folder is moved to FOLDER/before-restore-TIME

NAME says what the stream holds, so that one volume's is not put in another. The program is passed to the container's
own Python, which has nothing but its standard library. Exit status: 0 done, 1 refused, with one sentence.

A stream is an uncompressed tar: it can't take more room than it has itself. Its first entry says what it is, and its
last one has the SHA-256 of all that came before, so a stream that was cut off or changed is known. Nothing is replaced
before the whole stream has been read and checked.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import sqlite3
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

FORMAT: Final = 1
HEAD: Final = ".callgate-volume"
TAIL: Final = ".callgate-end"
STAGED: Final = ".restore-"
COPIED: Final = ".backup-"
ASIDE: Final = "before-restore-"
LOCK_TIMEOUT: Final = 300.0
SQLITE_SUFFIX: Final = ".sqlite3"
LARGEST_NOTE: Final = 4096

# Left out: locks, signs of life, logs, certbot's own old backups, what a restore set aside, and what is not complete.
# Of a SQLite file, the copy holds what is in the two files beside it.
LEFT_OUT: Final = ("keeper/lock", "keeper/heartbeat", "logs", "work", "staging/logs", "staging/work")


class Refused(Exception):
    """One sentence about what is wrong, and what to do."""


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit status."""
    parser = argparse.ArgumentParser(prog="volume.py")
    parser.add_argument("verb", choices=("look", "pack", "check", "unpack"))
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--replace", action="store_true")
    options = parser.parse_args(argv)
    try:
        with private(), held(options.folder / "keeper" / "lock"):
            if options.verb == "look":
                return 0
            if options.verb == "pack":
                pack(options.name, options.folder, sys.stdout.buffer)
            else:
                is_check = options.verb == "check"
                unpack(options.name, options.folder, sys.stdin.buffer, replace=options.replace, only_check=is_check)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        mend = "make room on its disk" if error.errno == 28 else "run scripts/own-volumes.sh if it is another user's"
        print(f"{name}{error.strerror or error}: {mend}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def private() -> Iterator[None]:
    """Let what is made belong to its owner alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def held(lock: Path) -> Iterator[None]:
    """Hold the keeper's lock, if there is one, so that its folder does not change."""
    if not lock.exists():
        yield
        return
    with lock.open("r+") as file:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Refused("the keeper has been at work on the certificate for 5 min: try again later") from None
                time.sleep(0.2)
        yield


# Packing.


def pack(name: str, folder: Path, to: IO[bytes]) -> None:
    """Write a folder. SQLite files are copied as they are at one moment, whoever writes to them."""
    for left in folder.glob(f"{COPIED}*"):
        left.unlink()  # by a run that was killed
    if name == "data" and (os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_URL_FILE")):
        print("the record of calls is in PostgreSQL (DATABASE_URL), not in this backup: use pg_dump", file=sys.stderr)
    seen = hashlib.sha256()
    with tarfile.open(fileobj=to, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _note(tar, HEAD, {"format": FORMAT, "volume": name})
        for path in _wanted(folder):
            if path.suffix == SQLITE_SUFFIX and not path.is_symlink():
                with copy_of(path, folder / f"{COPIED}{os.getpid()}{SQLITE_SUFFIX}") as copy:
                    _add(tar, path, path.relative_to(folder), seen, content=copy)
            else:
                _add(tar, path, path.relative_to(folder), seen)
        _note(tar, TAIL, {"sha256": seen.hexdigest()})


def _wanted(folder: Path) -> Iterator[Path]:
    for at, folders, files in os.walk(folder):
        here = Path(at)
        folders[:] = sorted(name for name in folders if not _is_left_out((here / name).relative_to(folder)))
        for name in sorted([*folders, *files]):
            path = here / name
            if _is_left_out(path.relative_to(folder)):
                continue
            yield path


def _is_left_out(path: Path) -> bool:
    name = path.name
    beside_sqlite = any(name.endswith(SQLITE_SUFFIX + end) for end in ("-wal", "-shm", "-journal"))
    return beside_sqlite or name.startswith((STAGED, COPIED, ASIDE)) or str(path) in LEFT_OUT or name == "lost+found"


def _add(tar: tarfile.TarFile, path: Path, name: Path, seen: hashlib._Hash, content: Path | None = None) -> None:
    try:
        member = tar.gettarinfo(content or path, arcname=str(name))
    except FileNotFoundError:
        return  # it was deleted meanwhile
    if not (member.isfile() or member.isdir() or member.issym()):
        return  # a socket, for example
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    if member.islnk():  # a second name for a file that is in the stream already: a file of its own
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", path.stat().st_size
    if not member.isfile():
        tar.addfile(member)
        seen.update(_digest(member, hashlib.sha256()))
        return
    with (content or path).open("rb") as file:
        hashing = Hashing(file)
        tar.addfile(member, hashing)
    seen.update(_digest(member, hashing.seen))


class Hashing:
    """A file that is read once, and the SHA-256 of what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seen = hashlib.sha256()
        self._file = file

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.seen.update(data)
        return data


def _digest(member: tarfile.TarInfo, content: hashlib._Hash) -> bytes:
    about = f"{member.name}\0{member.type!r}\0{member.mode & 0o777:o}\0{member.linkname}\0{member.size}\0"
    return about.encode(errors="surrogateescape") + content.digest()


def _note(tar: tarfile.TarFile, name: str, value: dict[str, object]) -> None:
    data = json.dumps(value).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


@contextlib.contextmanager
def copy_of(path: Path, copy: Path) -> Iterator[Path]:
    """Make a consistent copy of a SQLite file that a service may be writing to."""
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=10)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)  # in one step, so from one moment
            (verdict,) = target.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
        yield copy
    except sqlite3.Error as error:
        raise Refused(
            f"{path} can't be copied ({error}): docs/store.md says what to do about a store that fails"
        ) from None
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            copy.with_name(copy.name + end).unlink(missing_ok=True)


# Unpacking.


def unpack(name: str, folder: Path, stream: IO[bytes], *, replace: bool, only_check: bool) -> None:
    """Check a stream, and put what it holds in the folder."""
    if not replace:
        _check_empty(name, folder)
    for left in folder.glob(f"{STAGED}*"):
        shutil.rmtree(left)
    staged = folder / f"{STAGED}{os.getpid()}"
    try:
        if not only_check:
            staged.mkdir()
        _read(name, stream, None if only_check else staged)
        if not only_check:
            if not replace:
                _check_empty(name, folder)
            _put(staged, folder)  # only now is it known what is there: a service has been stopped meanwhile
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _present(folder: Path) -> list[Path]:
    ignored = (STAGED, COPIED, ASIDE)
    return [
        path for path in sorted(folder.iterdir()) if not path.name.startswith(ignored) and path.name != "lost+found"
    ]


def _check_empty(name: str, folder: Path) -> None:
    if present := _present(folder):
        raise Refused(f"the volume {name} is not empty ({present[0].name}): --replace sets aside what is in it")


def _read(name: str, stream: IO[bytes], to: Path | None) -> None:
    """Read a whole stream, and write its files below ``to``, if that is given. Raises `Refused`."""
    seen, names, head, tail = hashlib.sha256(), set[str](), None, None
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                if tail is not None:
                    raise Refused("this backup has something behind its end: it was changed")
                if head is None:
                    head = _about(tar, member, HEAD)
                    _check_head(head, name)
                elif member.name == TAIL:
                    tail = _about(tar, member, TAIL)
                elif member.name in names:
                    raise Refused(f"this backup is not one of ours: it has {member.name} twice")
                else:
                    names.add(member.name)
                    seen.update(_take(tar, member, to))
            while stream.read(1 << 16):
                pass  # its end is the sign that the folder may be replaced
    except (FileExistsError, NotADirectoryError) as error:
        raise Refused(f"this backup is not one of ours: {error.filename} would be written twice") from None
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        if head is None:
            raise Refused(f"this is not a backup of Callgate: it holds no volume ({error})") from None
        raise Refused(f"this backup is cut off or damaged ({error}): take another one") from None
    if head is None:
        raise Refused("this is not a backup of Callgate: it is empty")
    if tail is None:
        raise Refused(f"this backup is cut off: the end of the volume {name} is missing: take another one")
    if tail.get("sha256") != seen.hexdigest():
        raise Refused("this backup is damaged: it is not what was written: take another one")


def _about(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> dict[str, object]:
    file = tar.extractfile(member) if member.isfile() and member.size <= LARGEST_NOTE else None
    if member.name != name or file is None:
        raise Refused("this is not a backup of Callgate")
    about = json.loads(file.read())
    if not isinstance(about, dict):
        raise Refused("this is not a backup of Callgate")
    return about


def _check_head(head: dict[str, object], name: str) -> None:
    if head.get("format") != FORMAT:
        raise Refused(
            f"this backup was made by another version of Callgate (format {head.get('format')}): use that one"
        )
    if head.get("volume") != name:
        raise Refused(f"this backup's part for the volume {name} holds {head.get('volume')}: it was changed")


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, to: Path | None) -> bytes:
    """Write an entry below ``to``, if that is given. Return its digest."""
    if not (member.isfile() or member.isdir() or member.issym()) or member.issparse():
        raise Refused(f"this backup is not one of ours: {member.name} is neither a file, a folder nor a link")
    first = member.name.split("/")[0]
    if not _is_name(member.name) or first.startswith((STAGED, COPIED, ASIDE)):
        raise Refused(f"this backup is not one of ours: {member.name} is no name in a volume")
    if member.issym() and _leads_out(member.name, member.linkname):
        raise Refused(f"this backup is not one of ours: the link {member.name} leads out of the volume")
    content = hashlib.sha256()
    target = _place(to, member.name) if to else None
    if member.isfile():
        with _opened(target, member) as file:
            for block in _blocks(tar, member):
                content.update(block)
                file.write(block)
    elif target is not None and member.isdir():
        target.mkdir(exist_ok=True)
    elif target is not None:
        target.symlink_to(member.linkname)
    return _digest(member, content)


def _is_name(name: str) -> bool:
    """Whether it names something in a folder, without detours."""
    return all(part not in ("", ".", "..") for part in name.split("/"))


def _leads_out(name: str, link: str) -> bool:
    """Whether a link might lead out of the volume: it may go up only at its beginning, where its place is known."""
    parts = link.split("/")
    ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    return ups > name.count("/") or not _is_name("/".join(parts[ups:]))


def _place(to: Path, name: str) -> Path:
    """Return where an entry goes. Its folder is made if it is not there; it must not be a link."""
    target = to / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.parent.resolve() != to.resolve() / Path(name).parent:
        raise Refused(f"this backup is not one of ours: {name} would be written through a link")
    return target


@contextlib.contextmanager
def _opened(target: Path | None, member: tarfile.TarInfo) -> Iterator[IO[bytes]]:
    """Open the new file of an entry; without ``target``, one that keeps nothing."""
    if target is None:
        with open(os.devnull, "wb") as nothing:
            yield nothing
        return
    with target.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    target.chmod(member.mode & 0o700)
    os.utime(target, (member.mtime, member.mtime))


def _blocks(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    file = tar.extractfile(member)
    while file is not None and (block := file.read(1 << 20)):
        yield block


def _put(staged: Path, folder: Path) -> None:
    """Set aside what is in the folder, and put the staged files there. If that fails, all is as it was."""
    moves = []
    if present := _present(folder):
        aside = folder / f"{ASIDE}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        aside.mkdir()
        moves = [(path, aside / path.name) for path in present]
    moves += [(path, folder / path.name) for path in sorted(staged.iterdir())]
    done: list[tuple[Path, Path]] = []
    try:
        for before, after in moves:
            before.rename(after)
            done.append((before, after))
    except OSError:
        for before, after in reversed(done):
            after.rename(before)
        raise
    opened = os.open(folder, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)


if __name__ == "__main__":
    sys.exit(main())
