"""`keeper adopt`: takes over the certificate and the accounts of another certbot, from an archive of its folder.

The archive is read from standard input, so nothing here needs the rights that /etc/letsencrypt asks for.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from keeper.acme.certbot import Certbot
from keeper.acme.folders import Folders
from keeper.acme.problems import Start
from keeper.confirm import confirm
from keeper.errors import UsageError
from keeper.keeper import Keeper
from keeper.labels import labelled
from keeper.ladder import Ladder
from keeper.pairs import certificate
from keeper.words import describe

LOCK_TIMEOUT: Final = 300.0
MOST_BYTES: Final = 100_000_000
PARTS: Final = {"accounts", "archive", "live", "renewal"}
KINDS: Final = ("cert", "privkey", "chain", "fullchain")

log = logging.getLogger("keeper")


async def adopt(keeper: Keeper, archive: BinaryIO) -> None:
    """Take over from a tar archive of certbot's configuration folder, and publish its certificate.

    Raises a KeeperError. Unless that is an `UnservedError`, nothing has been changed then.
    """
    settings = keeper.settings
    if settings.own_pair:
        raise UsageError("TLS_CERTIFICATE is set, so that file is served: remove it from .env first")
    if settings.is_rehearsal:
        raise UsageError("DOMAIN is not set: write the certificate's host name into .env as DOMAIN first")
    async with keeper.store.lock(LOCK_TIMEOUT):
        settings.state.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="adopted.", dir=settings.state) as folder:
            root = _unpack(archive, Path(folder))
            found = {one: _find(one, root) for one in keeper.all}
            if not found[keeper]:
                raise UsageError(f"the archive has no valid certificate and key for {', '.join(settings.names)}")
            adopted = [one for one in keeper.all if found[one]]
            for one in adopted:
                with labelled(one.label):
                    await _adopt(one, root, found[one])
        for one in adopted:  # nginx may need both for each handshake
            with labelled(one.label):
                if seen := await confirm(one):
                    log.info("served now, by the handshake: %s", describe(seen))
        log.info("the accounts were taken over, and the service renews the certificate from here on")


async def _adopt(keeper: Keeper, root: Path, name: str) -> None:
    settings, certbot = keeper.settings, keeper.certbot()
    certbot.folders.config.mkdir(exist_ok=True)
    # The first one brings the accounts, which the second one has too.
    with certbot.folders.set_aside(Start.WITHOUT_CERTIFICATE if keeper.first else Start.AFRESH):
        _take_over(root, name, certbot)
        await keeper.published.publish(certbot.folders.lineage, names=settings.names, staging=keeper.is_staging)
    keeper.remember(replace(keeper.recall(), ladder=Ladder(), failure="", failing_since=0.0))


def _unpack(archive: BinaryIO, folder: Path) -> Path:
    """Unpack what is needed, and nothing that would leave the folder. Return the folder that holds `live`."""
    total = 0
    try:
        with tarfile.open(fileobj=archive, mode="r|*") as tar:
            for member in tar:
                is_plain = member.isreg() or member.issym() or member.isdir()
                if not (is_plain and PARTS & set(Path(member.name).parts)):
                    continue
                if (total := total + member.size) > MOST_BYTES:
                    raise UsageError("the archive is larger than any of certbot's: give it /etc/letsencrypt alone")
                member.mode = 0o700 if member.isdir() else 0o600
                with contextlib.suppress(tarfile.FilterError):  # a link that leaves the folder: nothing needs it
                    tar.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UsageError(f"standard input is not a tar archive of /etc/letsencrypt ({error})") from error
    found = [path.parent for path in folder.rglob("live") if path.is_dir()]
    if not found:
        raise UsageError("the archive has no folder live: give it /etc/letsencrypt, as in tar -C /etc/letsencrypt -c .")
    return found[0]


def _find(keeper: Keeper, root: Path) -> str:
    """Return certbot's name of the certificate that is good for all our names, and lives longest; empty if none is.

    One with our kind of key is preferred. The second one must have it.
    """
    wanted, now = keeper.settings.names, keeper.clock()
    good = []
    for folder in (root / "live").iterdir():
        kept = certificate.read(folder / "fullchain.pem")
        if kept and kept.covers(wanted) and kept.valid_at(now) and not certificate.flaw(folder):
            good.append((kept.kind is keeper.kind, kept.not_after, folder.name))
    best = max(good, default=(False, None, ""))
    return best[2] if best[0] or keeper.first is None else ""


def _take_over(root: Path, name: str, certbot: Certbot) -> None:
    """Write certbot's folders as it would have written them here, under our name of the certificate."""
    folders = certbot.folders
    archive = folders.config / "archive" / folders.name
    (folders.config / "renewal").mkdir(parents=True, exist_ok=True)
    for folder in (archive, folders.lineage):
        folder.mkdir(parents=True)
    if (root / "accounts").is_dir() and not (folders.config / "accounts").exists():
        (root / "accounts").rename(folders.config / "accounts")
    for kind in KINDS:
        shutil.copy(root / "live" / name / f"{kind}.pem", archive / f"{kind}1.pem")
        (folders.lineage / f"{kind}.pem").symlink_to(Path("../../archive") / folders.name / f"{kind}1.pem")
    conf = root / "renewal" / f"{name}.conf"
    if conf.is_file():  # without it, the service gets a new certificate at its next check
        (folders.config / "renewal" / conf.name).with_stem(folders.name).write_text(_with_our_paths(conf, folders))


def _with_our_paths(conf: Path, folders: Folders) -> str:
    paths = [f"archive_dir = {folders.config / 'archive' / folders.name}"]
    paths += [f"{kind} = {folders.lineage / kind}.pem" for kind in KINDS]
    replaced = tuple(line.partition("=")[0] for line in paths)
    kept = [line for line in conf.read_text(errors="replace").splitlines() if not line.startswith(replaced)]
    return "\n".join([*paths, *kept]) + "\n"
