"""The log of a call on either database: no words, no complete number, no secret."""

from __future__ import annotations

from dataclasses import replace

from support.logged_call import QUOTES, SAID, check_call, full_call, logged, place, private_in
from support.service import new_sid
from support.stores import flushed, record, store_of, turn


async def test_of_a_call_with_all_that_can_happen_in_it_no_word_is_logged(config, tmp_path, monkeypatch):
    monkeypatch.setattr("callgate.core.turns.recovery.WAITS", (0.01,) * 5)
    url = {"DATABASE_URL": config.database_url} if config.database_url else {}
    async with place(tmp_path, monkeypatch, **url) as (service, fake, settings):
        with logged(settings) as log:
            found = await full_call(service, fake, new_sid("CA"))
    check_call(found, log.getvalue())
    assert url.get("DATABASE_URL", "no database") not in log.getvalue()


async def test_of_a_record_that_a_database_refuses_no_value_is_logged(config):
    """A driver's error quotes the value that it rejects, and the statement with all of its values."""
    with logged(replace(config, log_level="DEBUG")) as log:
        async with store_of(config) as store:
            store.journal.call_started(record())
            store.journal.turn("CA1", turn(0, SAID, at=QUOTES))
            await flushed(store)
            assert store.journal.lost == 1
    assert "An entry of a call can't be kept as it is" in log.getvalue()
    assert private_in(log.getvalue()) == []
