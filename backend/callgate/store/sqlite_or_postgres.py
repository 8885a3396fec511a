"""The two kinds of database that can hold a store, and everything that differs between them.

`SqliteFile` is the default: a file in ``DATA_DIR``. `PostgresServer` is the server in ``DATABASE_URL``; its driver is
asyncpg, which reads the URL as libpq does (``sslmode`` and the like), and gives up at once on a server that hangs.
"""

from __future__ import annotations

import asyncio
import functools
import re
import sqlite3
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy import URL, Connection, event
from sqlalchemy import exc as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from callgate.config.owners import MEND, of_another_user
from callgate.config.settings import Config
from callgate.core.foreign import foreign
from callgate.core.units import SECONDS

FILE_NAME: Final = "calls.sqlite3"
CONNECTIONS: Final = 3
BUSY_TIMEOUT: Final = 2 * SECONDS  # for another process to release the file
CONNECT_TIMEOUT: Final = 4 * SECONDS
WAL_RETRY: Final = 0.05 * SECONDS
MIGRATION_LOCK: Final = 0x43616C6C67617465  # PostgreSQL's advisory locks are numbers: "Callgate"

# The exceptions that a database is expected to raise. A wrong address is an asyncpg.InterfaceError, a closed port an
# OSError.
FAULTS: Final = (
    sa.SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    sqlite3.Error,
    OSError,
)


class Place(Protocol):
    """A database that can hold a store."""

    @property
    def name(self) -> str:
        """Its name for people, without a password."""
        ...

    @property
    def may_be_cancelled(self) -> bool:
        """Whether a running use may be cancelled without leaving a lock behind."""
        ...

    def engine(self, statement_timeout: float) -> AsyncEngine:
        """Return a new engine for the running event loop. ``statement_timeout``: for one statement, in seconds."""
        ...

    def prepare(self) -> None:
        """Create what must exist before the database is opened. Blocks briefly. Raises `OSError`."""
        ...

    def exists(self) -> bool:
        """Whether the database may exist. Blocks briefly."""
        ...

    def identity(self) -> object:
        """Return what changes when the database is replaced by another one under its name. Blocks briefly."""
        ...

    async def lock_for_migration(self, connection: AsyncConnection) -> None:
        """Begin a transaction that excludes migrations by other processes."""
        ...

    async def forget_deleted(self, connection: AsyncConnection) -> None:
        """Remove the remains of what earlier transactions have deleted."""
        ...

    def explain(self, fault: BaseException) -> str:
        """Return one sentence for the operator: what is wrong, and what to do."""
        ...


def place_of(config: Config) -> Place:
    """Return the database that the settings name."""
    return PostgresServer(config.database_url) if config.database_url else SqliteFile(config.data_dir / FILE_NAME)


class SqliteFile:
    """A SQLite file in WAL mode, where readers never wait. Several processes on one machine may share it."""

    # A thread can't be interrupted, and a connection that is closed before its cursors are gone keeps its lock.
    may_be_cancelled = False

    # NORMAL: commits survive any end of the process, but a power cut may lose the last seconds.
    # secure_delete: deleted content is overwritten.
    PRAGMAS: Final = (
        f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}",
        "PRAGMA foreign_keys = ON",
        "PRAGMA synchronous = NORMAL",
        "PRAGMA secure_delete = ON",
    )

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def engine(self, statement_timeout: float) -> AsyncEngine:
        url = URL.create("sqlite+aiosqlite", database=str(self.path))
        engine = create_async_engine(
            url, pool_size=CONNECTIONS, max_overflow=0, pool_timeout=BUSY_TIMEOUT, hide_parameters=True
        )
        event.listen(engine.sync_engine, "connect", self._connected)
        event.listen(engine.sync_engine, "begin", _begin)
        return engine

    def _connected(self, connection: Any, record: object) -> None:
        connection.isolation_level = None  # `_begin` begins transactions, not the driver
        cursor = connection.cursor()
        for pragma in self.PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    def prepare(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)

    def exists(self) -> bool:
        return self.path.exists()

    def identity(self) -> object:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    async def lock_for_migration(self, connection: AsyncConnection) -> None:
        plain = await connection.execution_options(begin="")
        while True:  # until the caller's deadline: SQLite's busy timeout does not apply to a change of the mode
            try:
                await plain.exec_driver_sql("PRAGMA journal_mode = WAL")
                break
            except sa.OperationalError as exc:
                if "locked" not in str(exc.orig):
                    raise
                await asyncio.sleep(WAL_RETRY)
        await plain.commit()
        await plain.execution_options(begin="BEGIN EXCLUSIVE")
        await plain.begin()

    async def forget_deleted(self, connection: AsyncConnection) -> None:
        plain = await connection.execution_options(begin="")
        await plain.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def explain(self, fault: BaseException) -> str:
        text = _first_line(fault)
        if "malformed" in text or "not a database" in text:
            return (
                f"{self.path} is damaged ({text}): stop the service, move it and its -wal and -shm files away (or put "
                "a backup in its place), and start it; a new one is made"
            )
        if "is full" in text or "No space left" in text or "disk I/O error" in text:
            return f"{self.path} can't be written ({text}): make room on its disk"
        if "unable to open" in text or "readonly" in text or isinstance(fault, (PermissionError, NotADirectoryError)):
            beside = [self.path.with_name(self.path.name + end) for end in ("", "-wal", "-shm")]
            if found := of_another_user([self.path.parent, *beside]):
                return f"{found}: {MEND}"
            return f"{self.path} can't be written ({text}): name a directory this user can write in DATA_DIR"
        if "locked" in text:
            return f"{self.path} is locked: another program has been writing to it for {BUSY_TIMEOUT:.0f} s"
        return _explain_any(self.name, fault, text)


def _begin(connection: Connection) -> None:
    """Begin a transaction. One that writes takes the lock at once, because it could not wait for it after a read."""
    if statement := connection.get_execution_options().get("begin", "BEGIN IMMEDIATE"):
        connection.exec_driver_sql(statement)


class PostgresServer:
    """A database on a PostgreSQL server."""

    may_be_cancelled = True

    def __init__(self, url: str) -> None:
        self._url = url
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2] or "its socket"
        self.name = f"PostgreSQL at {host}, database {parts.path.strip('/')}"

    def engine(self, statement_timeout: float) -> AsyncEngine:
        connect = functools.partial(
            asyncpg.connect,
            self._url,
            timeout=CONNECT_TIMEOUT,
            command_timeout=statement_timeout,  # also limits the wait for a cancelled statement
            server_settings={"application_name": "callgate", "timezone": "UTC"},
        )
        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=CONNECT_TIMEOUT,
            pool_pre_ping=True,  # the server may have been restarted
            hide_parameters=True,
        )

    def prepare(self) -> None:
        """Do nothing: the operator creates the database."""

    def exists(self) -> bool:
        return True

    def identity(self) -> object:
        return None

    async def lock_for_migration(self, connection: AsyncConnection) -> None:
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")

    async def forget_deleted(self, connection: AsyncConnection) -> None:
        """Do nothing: PostgreSQL's autovacuum does this."""

    def explain(self, fault: BaseException) -> str:
        text = _first_line(fault)
        match _sqlstate(fault)[:5]:
            case "28P01" | "28000":
                return f"{self.name}: it lets nobody in with this user and password ({text}): check DATABASE_URL"
            case "3D000":
                return f"{self.name}: there is no such database: create it, or check DATABASE_URL"
            case "42501":
                return f"{self.name}: the user of DATABASE_URL may not do this ({text}): make it the database's owner"
            case "53100":
                return f"{self.name}: its disk is full ({text})"
            case "53300":
                return f"{self.name}: it accepts no more connections ({text}): raise its max_connections"
            case "25006":
                return f"{self.name}: it is read-only ({text}): DATABASE_URL must name the primary server"
        return _explain_any(self.name, fault, text)


def is_refusal(fault: BaseException) -> bool:
    """Whether the database works and the fault lies in the data."""
    if isinstance(fault, sa.StatementError) and not isinstance(fault, sa.DBAPIError):
        return True  # a value that its column can't hold
    if isinstance(fault, (sa.DataError, sa.IntegrityError)):
        return True
    return _sqlstate(fault)[:2] in ("22", "23")  # data exception, integrity constraint violation


def _explain_any(name: str, fault: BaseException, text: str) -> str:
    if isinstance(fault, (TimeoutError, sa.TimeoutError)):
        return f"{name} does not answer in time"
    if isinstance(fault, OSError):
        return f"{name} can't be reached: {text}"
    return f"{name}: {text}"


def _sqlstate(fault: BaseException) -> str:
    """Return PostgreSQL's code for the fault; empty if the fault is not PostgreSQL's."""
    return str(getattr(getattr(fault, "orig", fault), "sqlstate", None) or "")


def _first_line(fault: BaseException) -> str:
    """Return the database's own message, without the statement and without any values."""
    cause = getattr(fault, "orig", None) or fault
    text = re.sub(r"^(<class '[^']*'>: ?)+", "", str(cause).strip().split("\n")[0])
    return foreign(text) or type(cause).__name__
