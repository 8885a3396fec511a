"""certbot's folders for one certificate, CERTBOT_STATE/{config,work,logs}: reading them, and setting them aside."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from keeper.acme.problems import Start
from keeper.ladder import DAYS, HOURS
from keeper.pairs import certificate
from keeper.pairs.certificate import Certificate

WEEK: Final = 7 * DAYS
# Let's Encrypt backdates certificates by an hour.
BACKDATED: Final = 1 * HOURS
LOG_READ: Final = 1_000_000

# What was set aside is named after its folder and the time: config.<nanoseconds>.aside. As long as the new start has
# not succeeded, it is .tried instead.
ASIDE: Final = ".aside"
TRIED: Final = ".tried"


@dataclass(frozen=True, slots=True)
class Folders:
    """certbot's folders. ``name``: what certbot calls the certificate; ``others``: those that it keeps beside it."""

    state: Path
    name: str
    others: tuple[str, ...] = ()

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def lineage(self) -> Path:
        """The folder of the newest certificate and its key."""
        return self.config / "live" / self.name

    def certificate(self) -> Certificate | None:
        """Return the newest certificate; None if there is none."""
        return certificate.read(self.lineage / "fullchain.pem")

    def holds_anything(self) -> bool:
        """Whether certbot keeps anything under this name, complete or not."""
        parts = (self._renewal, self.lineage, self.config / "archive" / self.name)
        return any(part.exists() or part.is_symlink() for part in parts)

    def remembered(self, option: str) -> str:
        """Return an option with which certbot got the certificate; empty if that is not known."""
        try:
            text = self._renewal.read_text(errors="replace")
        except OSError:
            return ""
        found = re.search(rf"^{option} = (.+)$", text, re.MULTILINE)
        return found[1].strip().strip("\"'") if found else ""  # certbot quotes what has a comma or a #

    @property
    def server(self) -> str:
        """The directory URL of the authority that issued the certificate; empty if that is not known."""
        return self.remembered("server")

    @property
    def _renewal(self) -> Path:
        return self.config / "renewal" / f"{self.name}.conf"

    def account(self, server: str) -> str:
        """Return the account to use with an authority; empty if there is none. certbot refuses to choose by itself."""
        url = urlsplit(server)
        folder = self.config / "accounts" / url.netloc / url.path.lstrip("/")
        try:
            found = sorted(
                (path for path in folder.iterdir() if (path / "regr.json").is_file()),
                key=lambda path: path.stat().st_mtime,
            )
        except OSError:
            return ""
        names = [path.name for path in found]
        used = self.remembered("account")
        return used if used in names else names[-1] if names else ""

    def log(self) -> str:
        """Return the end of what certbot's last run logged."""
        try:
            return (self.state / "logs" / "letsencrypt.log").read_text(errors="replace")[-LOG_READ:]
        except OSError:
            return ""

    def issued_lately(self, names: Collection[str], now: float) -> list[float]:
        """Return when certificates of exactly these names were issued in the week before ``now``, oldest first.

        The limit does not tell kinds of keys apart, so all certificates in the folders count, and also those in the
        folders that were set aside. There may be copies there.
        """
        found = [certificate.read(file) for file in self.state.glob("config*/archive/*/cert*.pem")]
        times = {c.serial: c.not_before.timestamp() + BACKDATED for c in found if c and c.names == frozenset(names)}
        return sorted(at for at in times.values() if at > now - WEEK)

    # Setting aside.

    @contextlib.contextmanager
    def set_aside(self, start: Start) -> Iterator[None]:
        """Let certbot start with less than it remembers. If that does not succeed, everything is as it was before.

        What it keeps of the other certificates is taken along.
        """
        if start is Start.AS_IT_IS:
            yield
            return
        names = ("config",) if start is Start.WITHOUT_CERTIFICATE else ("config", "work", "logs")
        stamp = time.time_ns()
        moved: dict[str, Path] = {}
        try:
            for name in names:
                if (self.state / name).exists():
                    (self.state / name).rename(tried := self.state / f"{name}.{stamp}{TRIED}")
                    moved[name] = tried
            if start is Start.WITHOUT_CERTIFICATE:
                self._take_accounts_along(moved["config"])
            if "config" in moved:
                self._take_others_along(moved["config"])
            yield
        except BaseException:
            self._settle(moved, is_kept=self._has_good_certificate())
            raise
        self._settle(moved, is_kept=True)
        self._prune()

    def _has_good_certificate(self) -> bool:
        return self.certificate() is not None and not certificate.flaw(self.lineage)

    def _settle(self, moved: Mapping[str, Path], *, is_kept: bool) -> None:
        """End a new start: what was moved away goes aside, or takes its place again."""
        for name, tried in moved.items():
            if is_kept:
                tried.rename(tried.with_suffix(ASIDE))
                continue
            new = self.state / name
            if any(new.glob("archive/*/cert*.pem")):  # it counts against the limit, though it is of no use
                new.rename(self.state / f"{name}.{time.time_ns()}{ASIDE}")
            elif new.exists():
                shutil.rmtree(new, ignore_errors=True)
            tried.rename(new)

    def _take_accounts_along(self, from_config: Path) -> None:
        if (accounts := from_config / "accounts").is_dir():
            shutil.copytree(accounts, self.config / "accounts", symlinks=True)

    def _take_others_along(self, from_config: Path) -> None:
        for name in self.others:
            for part in (f"archive/{name}", f"live/{name}"):
                if (from_config / part).is_dir():
                    shutil.copytree(from_config / part, self.config / part, symlinks=True)
            if (conf := from_config / "renewal" / f"{name}.conf").is_file():
                (self.config / "renewal").mkdir(parents=True, exist_ok=True)
                shutil.copy2(conf, self.config / "renewal")

    def end_what_was_interrupted(self) -> None:
        """Decide about a new start that was killed: it counts if it got the certificate, and none of the others lacks.

        The start may have been that of another certificate than this one.
        """
        for tried in sorted(self.state.glob(f"*{TRIED}")):
            at = self.state / tried.name.split(".")[0]
            wanted = [self.name, *(name for name in self.others if (tried / "live" / name).exists())]
            if all(certificate.read(at / "live" / name / "fullchain.pem") for name in wanted):
                tried.rename(tried.with_suffix(ASIDE))
            else:
                shutil.rmtree(at, ignore_errors=True)
                tried.rename(at)

    def _prune(self) -> None:
        """Remove what was set aside more than a week ago: until then, its certificates count against the limit."""
        oldest = time.time_ns() - int(WEEK * 1e9)
        for path in self.state.glob(f"*{ASIDE}"):
            if path.name.split(".")[1].isdecimal() and int(path.name.split(".")[1]) < oldest:
                shutil.rmtree(path, ignore_errors=True)
