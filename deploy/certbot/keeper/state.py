"""The keeper's state, which survives restarts, and the lock that lets only one of its processes act.

They are in CERTBOT_STATE/keeper: `<name>.json` for each certificate, `lock`, `heartbeat`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from keeper.errors import BusyError
from keeper.ladder import Ladder

LOCK_POLL_INTERVAL: Final = 0.5

log = logging.getLogger("keeper")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state that is saved."""

    #: The authority that the rest is about; it says nothing about any other.
    server: str = ""
    ladder: Ladder = field(default_factory=Ladder)
    #: The last failure, in words; empty if the last try succeeded.
    failure: str = ""
    #: What was wrong at the service's last look, whether an authority was asked or not; empty if nothing was.
    trouble: str = ""
    #: Since when all tries have failed (Unix time); 0 if the last one succeeded.
    failing_since: float = 0.0
    #: The e-mail address that the authority was last told; None if that is not known.
    contact: str | None = None
    #: Why the published certificate is not served; empty if it is.
    unserved: str = ""
    #: Of the second certificate: what to do so that nginx serves it at all; empty if there is nothing to do.
    not_offered: str = ""
    #: Of the second certificate: the serial number (hex) that nginx was last seen to serve; empty if it serves none.
    offered: str = ""
    #: The serial number (hex) of a staging certificate that is published to be tried; empty if there is none.
    staged: str = ""
    #: The serial number (hex) of a certificate that was of no use although it had just been issued: the authority would
    #: issue another one like it.
    faulty: str = ""
    #: What somebody must know now, by name.
    alarms: dict[str, str] = field(default_factory=dict)
    #: The serial number (hex) of a pair in certbot's folders that must not be published: after a rollback, or while a
    #: staging certificate is tried.
    held_back: str = ""


class Store:
    """The folder with the state, the lock and the heartbeat."""

    def __init__(self, folder: Path, *, name: str, server: str) -> None:
        self._folder = folder
        self._file = folder / f"{name}.json"
        self._server = server

    @property
    def heartbeat(self) -> Path:
        return self._folder / "heartbeat"

    def read(self) -> State:
        """Return the saved state; a new one, with a warning, if it can't be read."""
        try:
            values = json.loads(self._file.read_text())
            state = State(**{**values, "ladder": Ladder(**values["ladder"])})
        except FileNotFoundError:
            return State(server=self._server)
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("the keeper's state can't be read, so a new one is started: %s", error)
            return State(server=self._server)
        return state if state.server == self._server else State(server=self._server)

    def write(self, state: State) -> None:
        """Replace the saved state atomically. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._file.with_name(f"{self._file.name}.new")
        with new.open("w") as file:
            json.dump(asdict(state), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)

    def beat(self) -> None:
        """Show that the service is alive. This works on a full disk too."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.heartbeat.touch()

    def heartbeat_age(self, now: float) -> float | None:
        """Return the seconds since the last heartbeat; None if there was none."""
        try:
            return now - self.heartbeat.stat().st_mtime
        except FileNotFoundError:
            return None

    @contextlib.asynccontextmanager
    async def lock(self, timeout: float) -> AsyncIterator[None]:
        """Hold the lock; wait for it up to ``timeout`` seconds, then raise `BusyError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout
        with (self._folder / "lock").open("w") as file:
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                if time.monotonic() > deadline:
                    raise BusyError("another keeper is at work on this certificate: try again when it is done")
                await asyncio.sleep(LOCK_POLL_INTERVAL)
            yield
