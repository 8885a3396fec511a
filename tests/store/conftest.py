from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from callgate.config.settings import Config
from support.fixtures import log, no_task_is_left  # noqa: F401
from support.postgres import Postgres, postgres


@pytest.fixture(scope="session")
def running_postgres() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture
def server(running_postgres: Postgres) -> Iterator[Postgres]:
    """Return a PostgreSQL that a test may kill."""
    yield running_postgres
    running_postgres.start()


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Config:
    return Config(data_dir=tmp_path / "data")


@pytest.fixture
def on_postgres(server: Postgres, tmp_path: Path) -> Config:
    return Config(data_dir=tmp_path / "none", database_url=server.new_database())


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest) -> Config:
    """Return the settings of a service with an empty store. Each test runs on both databases."""
    found: Config = request.getfixturevalue("on_sqlite" if request.param == "sqlite" else "on_postgres")
    return found


@pytest.fixture
def environ(config: Config) -> dict[str, str]:
    """Return the same settings for a process."""
    url = {"DATABASE_URL": config.database_url} if config.database_url else {}
    return {"DATA_DIR": str(config.data_dir), **url}
