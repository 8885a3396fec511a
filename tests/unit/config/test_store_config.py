"""The store's settings."""

from __future__ import annotations

import pytest
from callgate.config.settings import Config
from callgate.errors import ConfigError

URL = "postgresql://callgate:p%20s3cret@db.example.com:5432/calls?sslmode=require"


def test_a_database_url_is_a_secret_and_so_is_its_password():
    config = Config.parse({"DATABASE_URL": URL})
    assert config.database_url == URL
    assert "s3cret" not in repr(config)
    assert {URL, "p%20s3cret", "p s3cret"} <= set(config.secrets)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u@h/calls",
        "postgresql:///calls?host=/run/postgresql",
        "postgresql://h/c",
        "postgresql://u:p@[::1]:5432/c",
        "postgresql://u:p@a:5432,b:5433/c?target_session_attrs=read-write",
        "postgresql://u:12%2F34%40%23%3F@h/c",
    ],
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


@pytest.mark.parametrize("sign", ["/", "?", "#", "@", "/@", "?/", "#/", "["])
@pytest.mark.parametrize("head", ["top", "12", ""])
def test_a_password_with_a_special_sign_as_it_is_is_refused_and_no_part_of_it_shown(head, sign):
    url = f"postgresql://someone:{head}{sign}s3cret@127.0.0.1:1/calls"
    with pytest.raises(ConfigError) as caught:
        Config.parse({"DATABASE_URL": url})
    (problem,) = caught.value.problems
    assert "written as %XX" in problem
    assert not any(part in problem for part in ("s3cret", "top", "12", "someone"))


@pytest.mark.parametrize("url", ["postgresql://u:s3cret/c", "postgresql://h/c?password=a&s3cret", "postgresql://h/c#s"])
def test_what_could_be_read_in_two_ways_is_refused_as_well(url):
    with pytest.raises(ConfigError) as caught:
        Config.parse({"DATABASE_URL": url})
    assert "s3cret" not in str(caught.value)


def test_a_database_url_may_be_in_a_file(tmp_path):
    (tmp_path / "url").write_text(URL + "\n")
    assert Config.parse({"DATABASE_URL_FILE": str(tmp_path / "url")}).database_url == URL


def test_the_store_is_on_and_keeps_calls_for_a_month_unless_told_otherwise():
    assert (Config().store, Config().retention_days) == (True, 30)
    config = Config.parse({"STORE": "off", "RETENTION_DAYS": "0"})
    assert (config.store, config.retention_days) == (False, 0)
