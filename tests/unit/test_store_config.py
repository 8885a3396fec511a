"""The store's settings."""

from __future__ import annotations

import pytest
from callgate.config import Config
from callgate.errors import ConfigError

URL = "postgresql://callgate:p%20s3cret@db.example.com:5432/calls?sslmode=require"


def test_a_database_url_is_a_secret_and_so_is_its_password():
    config = Config.parse({"DATABASE_URL": URL})
    assert config.database_url == URL
    assert "s3cret" not in repr(config)
    assert {URL, "p%20s3cret", "p s3cret"} <= set(config.secrets)


@pytest.mark.parametrize(
    "url", ["postgres://u@h/calls", "postgresql:///calls?host=/run/postgresql", "postgresql://h/c"]
)
def test_a_database_url_is_taken_as_libpq_takes_it(url):
    assert Config.parse({"DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize("url", ["mysql://u:s3cret@h/c", "s3cret", "postgresql://u:s3cret@h", "postgresql://[s3cret/c"])
def test_another_url_is_refused_and_not_shown(url):
    with pytest.raises(ConfigError) as caught:
        Config.parse({"DATABASE_URL": url})
    (problem,) = caught.value.problems
    assert problem.startswith("DATABASE_URL: it must be a PostgreSQL address")
    assert "s3cret" not in problem


def test_a_database_url_may_be_in_a_file(tmp_path):
    (tmp_path / "url").write_text(URL + "\n")
    assert Config.parse({"DATABASE_URL_FILE": str(tmp_path / "url")}).database_url == URL


def test_the_store_is_on_and_keeps_calls_for_a_month_unless_told_otherwise():
    assert (Config().store, Config().retention_days) == (True, 30)
    config = Config.parse({"STORE": "off", "RETENTION_DAYS": "0"})
    assert (config.store, config.retention_days) == (False, 0)
