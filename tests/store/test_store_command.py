"""`callgate calls`, as an operator uses it."""

from __future__ import annotations

import json

import pytest
from callgate.__main__ import main
from support.stores import CALLED, CALLER, at, flushed, message, record, store_of, turn

RECEIPT = {"duration_s": 12.5, "tokens": {"audio_in": 310, "audio_out": 420}, "cost_usd": 0.0123}


@pytest.fixture
def calls(environ, monkeypatch, capsys):
    """Return a function that runs ``callgate calls`` and returns its exit code, output and error output."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def run(*words):
        code = main(["calls", *words, "--env-file", ""])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
async def kept(config):
    """Store two calls; in the second, the caller interrupted."""
    async with store_of(config) as store:
        store.journal.call_started(record("CA1", started_at=at(-3600)))
        store.journal.call_ended("CA1", at(-3500), "caller_hung_up", "the caller hung up")
        store.journal.call_started(record("CA2"))
        store.journal.turn("CA2", turn(1, "Hello! How can I", heard_ms=2210, cut=True, at=at(0.4)))
        store.journal.turn("CA2", turn(2, "Stop,\nplease \x1b[31m", at=at(2.6)))
        store.journal.turn("CA2", turn(3, "reconnected", role="note", item_id=None))
        store.journal.call_resumed("CA2", at(4))
        store.journal.call_ended("CA2", at(75.2), "goodbye", "the agent said goodbye", RECEIPT)
        await store.keep_message("CA2", message("call_1"))
        await flushed(store)


def test_list_shows_the_newest_first_with_numbers_masked(kept, calls):
    code, out, err = calls("list")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "STARTED (UTC)        LENGTH  CALL  FROM          TO            ENDED           MESSAGES",
        "2126-11-23 10:00:00  1:15    CA2   +*********01  +*********02  goodbye         1",
        "2126-11-23 09:00:00  1:40    CA1   +*********01  +*********02  caller_hung_up  -",
    ]


@pytest.fixture
async def kept_of_nobody(config):
    """Store calls whose callers' numbers are not known."""
    async with store_of(config) as store:
        store.journal.call_started(record("CA1", from_number="withheld"))
        store.journal.call_started(record("CA2", from_number="+266696687", started_at=at(-60)))  # as it once was kept
        store.journal.call_started(record("CA3", from_number="", started_at=at(-120)))
        await flushed(store)


def test_a_caller_who_withheld_their_number_is_shown_so(kept_of_nobody, calls):
    for numbers in ([], ["--numbers"]):
        rows = [line.split() for line in calls("list", *numbers)[1].splitlines()[1:]]
        assert [row[4] for row in rows] == ["withheld", "withheld", "-"]
    assert "inbound withheld to " in calls("show", "CA2")[1].replace("  ", " ")
    assert [call["from_number"] for call in json.loads(calls("list", "--json")[1])] == ["withheld", "withheld", ""]


def test_list_shows_no_more_than_asked_for_and_none_from_before(kept, calls):
    assert [line.split()[3] for line in calls("list", "--limit", "1")[1].splitlines()[1:]] == ["CA2"]
    assert [line.split()[3] for line in calls("list", "--since", "2126-11-23T09:30")[1].splitlines()[1:]] == ["CA2"]
    assert len(calls("list", "--since", "7d")[1].splitlines()) == 3
    assert calls("list", "--since", "2127-01-01")[1] == "No calls.\n"


def test_show_prints_what_was_said_where_the_caller_cut_in_and_the_receipt(kept, calls):
    code, out, err = calls("show", "CA2")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "CA2  inbound  +*********01 to +*********02",
        "started 2126-11-23 10:00:00 UTC, ended after 1:15: the agent said goodbye",
        "interrupted and resumed 1 time",
        "",
        "     0.4 s  Agent   Hello! How can I — the caller cut in after 2.2 s",
        "     2.6 s  Caller  Stop, please [31m",
        "     3.0 s  --      reconnected",
        "",
        "Message, 2126-11-23 10:01:00 UTC",
        "  The parcel is broken. Call me back.",
        "  from Ada",
        "  call back at +*********01",
        "",
        "Receipt",
        "  duration_s        12.5",
        "  tokens.audio_in   310",
        "  tokens.audio_out  420",
        "  cost_usd          0.0123",
    ]


def test_json_is_all_that_is_printed_and_numbers_are_whole_only_when_asked_for(kept, calls):
    code, out, err = calls("list", "--json")
    assert (code, err) == (0, "")
    assert [(call["call_sid"], call["from_number"]) for call in json.loads(out)] == [
        ("CA2", "+*********01"), ("CA1", "+*********01"),
    ]  # fmt: skip
    assert [call["messages"] for call in json.loads(out)] == [1, 0]
    assert json.loads(calls("show", "CA2", "--json")[1])["messages"][0]["callback"] == "+*********01"
    shown = json.loads(calls("show", "CA2", "--json", "--numbers")[1])
    assert (shown["from_number"], shown["to_number"]) == (CALLER, CALLED)
    assert shown["receipt"] == RECEIPT
    assert shown["started_at"] == "2126-11-23T10:00:00.123456+00:00"
    assert [said["text"] for said in shown["turns"]] == ["Hello! How can I", "Stop,\nplease \x1b[31m", "reconnected"]
    assert shown["turns"][0]["heard_ms"] == 2210
    assert shown["messages"] == [
        {
            "key": "call_1",
            "at": "2126-11-23T10:01:00.123456+00:00",
            "text": "The parcel is broken.\nCall me back.",
            "name": "Ada",
            "callback": CALLER,
        }
    ]
    assert CALLER in calls("show", "CA2", "--numbers")[1]


def test_delete_asks_nothing_and_says_what_it_deleted(kept, calls):
    assert calls("delete", "CA1", "CA2") == (
        0, "Deleted CA1: the call and 0 turns.\nDeleted CA2: the call and 3 turns.\n", "",
    )  # fmt: skip
    assert calls("list") == (0, "No calls.\n", "")


def test_delete_goes_on_with_the_others_when_one_is_not_there(kept, calls):
    code, out, err = calls("delete", "CA9", "CA2", "--json")
    assert (code, json.loads(out)) == (1, [{"call_sid": "CA2", "turns": 3}])
    assert err == "callgate: there is no call CA9: callgate calls list shows those that are kept\n"
    assert calls("list")[1].count("CA") == 2  # the heading, and CA1


def test_a_call_that_is_not_there_is_said_to_be_that(kept, calls):
    assert calls("show", "CA9") == (
        1, "", "callgate: there is no call CA9: callgate calls list shows those that are kept\n",
    )  # fmt: skip


def test_what_cannot_be_opened_is_said_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    assert main(["calls", "list", "--env-file", ""]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"there is no {tmp_path}/calls.sqlite3: the service creates it" in err
    (tmp_path / "calls.sqlite3").write_text("not a database " * 100)
    assert main(["calls", "list", "--env-file", ""]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "is damaged" in err
    monkeypatch.setenv("STORE", "off")
    assert main(["calls", "list", "--env-file", ""]) == 1
    assert capsys.readouterr().err == "callgate: STORE is off: nothing is kept of calls\n"


def test_settings_that_cannot_work_are_all_told(monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", "mysql://user:secret@host/calls")
    monkeypatch.setenv("RETENTION_DAYS", "-1")
    assert main(["calls", "list", "--env-file", ""]) == 2
    err = capsys.readouterr().err
    assert [line.split(":")[1] for line in err.splitlines()] == [" DATABASE_URL", " RETENTION_DAYS"]
    assert "secret" not in err


@pytest.mark.parametrize("words", [["list", "--since", "soon"], ["list", "--limit", "0"], ["show"], ["delete"], []])
def test_words_that_make_no_sense_are_refused(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["calls", *words])
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
