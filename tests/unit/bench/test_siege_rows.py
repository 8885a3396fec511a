"""How ``bench/siege`` judges its observations: which rows fail, what it finds in a log, and what it writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.sieges import logs, report
from bench.sieges.row import Callers, Memory, Row

GOOD = Row(
    attack="upgrades",
    same_address=False,
    seconds=8.0,
    tried=400,
    unit="upgrades",
    got={"403": 300, "429": 100},
    told=(),
    lost=0,
    problems=(),
    quiet_p99=2.0,
    p99=22.0,
    longest=40.0,
    callers=Callers(26, 26, 3),
    after=Callers(3, 3),
    sessions=1,
    sessions_allowed=1,
    rest=1,
    rest_allowed=1,
    backend=Memory(90, 130, 106),
    nginx=Memory(13, 300, 113),
    tracebacks=(),
    errors=("an error",),
    alerts=("an alert",),
    generator_late=1.0,
    others=0.1,
)


def test_a_row_in_which_all_is_just_as_promised_is_good() -> None:
    assert GOOD.failures == ()
    assert GOOD.is_good


@pytest.mark.parametrize(
    ("amiss", "failure"),
    [
        ({"lost": 1}, "1 frames lost"),
        ({"problems": ("call 7 was closed by the relay",)}, "1 × call 7 was closed by the relay"),
        ({"p99": 22.1}, "p99 +20 ms"),
        ({"quiet_p99": 10.0, "p99": 40.1}, "p99 +30 ms"),
        ({"callers": Callers(26, 25, 0, {"502 at /call-status": 1})}, "1 of 26 callers turned away"),
        ({"after": Callers(3, 2)}, "1 of 3 callers turned away afterwards"),
        ({"told": ("FALLBACK_DIAL",)}, "told FALLBACK_DIAL"),
        ({"sessions": 2}, "2 model sessions"),
        ({"rest": 2}, "2 requests to Twilio"),
        ({"backend": Memory(90, 130, 107)}, "17 MB of the backend's memory not back"),
        ({"nginx": Memory(13, 300, 114)}, "101 MB of nginx's memory not back"),
        ({"tracebacks": ("ValueError",)}, "1 tracebacks"),
        ({"trouble": "OSError: no"}, "the attack failed: OSError: no"),
    ],
)
def test_whatever_is_not_as_promised_fails_the_row(amiss: dict[str, object], failure: str) -> None:
    row = replace(GOOD, **amiss)
    assert row.failures == (failure,)
    assert failure in report.line(row)
    assert f"**{failure}**" in report.cells(row)[-1]


def test_a_delay_of_three_times_the_quiet_one_may_be_added_where_that_is_more() -> None:
    assert replace(GOOD, quiet_p99=10.0, p99=40.0).is_good


def test_who_shares_the_attackers_address_may_be_turned_away_while_it_attacks_and_not_afterwards() -> None:
    shared = replace(GOOD, same_address=True, callers=Callers(26, 0, 0, {"429 at /incoming-call": 26}))
    assert shared.is_good
    assert not replace(shared, after=Callers(3, 2)).is_good


@pytest.mark.parametrize("disturbed", [{"generator_late": 50.0}, {"others": 1.5}])
def test_delays_are_in_doubt_where_the_machine_was_disturbed_and_nothing_else_is_amiss(
    disturbed: dict[str, float],
) -> None:
    late = replace(GOOD, p99=300.0)
    assert not late.in_doubt
    assert replace(late, **disturbed).in_doubt
    assert not replace(late, **disturbed, lost=1).in_doubt


LOG = """\
2026-11-26 21:00:00,000 INFO - the caller said ERROR
2026-11-26 21:00:00,000 ERROR - Error in ASGI Framework
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    pass
    ^^^^
h11._util.LocalProtocolError: can't handle event type Response

During handling of the above exception, another exception occurred:

  + Exception Group Traceback (most recent call last):
  |   File "b.py", line 2, in b
  |     go()
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "c.py", line 3, in c
    | ConnectionResetError
    +------------------------------------
2026-11-26 21:00:01,000 INFO - on it goes
"""


def test_tracebacks_and_errors_are_found_in_what_was_written_since(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("Traceback (most recent call last):\nOldError: of before\n")
    log = logs.Log(file)
    with file.open("a") as more:
        more.write(LOG)
    assert logs.tracebacks(log.text()) == (
        "h11._util.LocalProtocolError: can't handle event type Response",
        "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)",
        "ConnectionResetError",
    )
    assert len(logs.errors(log.text())) == 1


def test_what_nginx_complains_of_loudly_is_found() -> None:
    text = (
        "2026/11/26 21:00:00 [alert] 7#7: 4096 worker_connections are not enough\n2026/11/26 21:00:00 [warn] 7#7: no\n"
    )
    assert logs.alerts(text) == ("2026/11/26 21:00:00 [alert] 7#7: 4096 worker_connections are not enough",)


def test_the_table_has_both_addresses_and_says_what_each_attack_is() -> None:
    text = report.markdown([GOOD, replace(GOOD, attack="smuggling", same_address=True)], calls=20)
    own, _, shared = text.partition("## From the callers' own address")
    assert "| upgrades | 400 upgrades | 403: 300, 429: 100 | 0 | 2.0 | 22.0 | 40 | 26/26 (3 waited) | 3/3 |" in own
    assert "| smuggling | 400 upgrades |" in shared
    assert "2 attacks: all as promised" in own
