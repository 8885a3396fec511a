"""Strangers and a stolen token: no calls are placed beyond what is allowed, and the log gives each refusal's reason."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from support.outbound_service import ADMIN, LISTED, THEIRS

pytestmark = pytest.mark.whole

ATTEMPTS = 1000
AT_ONCE = 50


def refusals(log) -> list[str]:
    return [line for line in log.getvalue().splitlines() if "WARNING - An outbound request" in line]


async def many(ask, count: int = ATTEMPTS) -> Counter[int]:
    """Make ``count`` requests, several at a time, and count the statuses."""
    statuses: Counter[int] = Counter()

    async def some(share: int) -> None:
        for _ in range(share):
            statuses[(await ask())[0]] += 1

    await asyncio.gather(*(some(count // AT_ONCE) for _ in range(AT_ONCE)))
    return statuses


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer guessed"}, {"Authorization": "Basic dGhlOmFkbWlu"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/calls"), ("GET", "/test-call-realtime"), ("POST", "/test-call-realtime"), ("GET", "/calls/CA1"),
     ("DELETE", "/calls/CA1")],
)  # fmt: skip
async def test_nobody_does_anything_without_the_admin_token(outbound_with, twilio, log, method, path, headers):
    async with outbound_with() as service:
        status, answer, _ = await service.ask(method, path, headers=headers, data={"to": THEIRS})
    assert (status, "ADMIN_TOKEN" in answer["fix"]) == (401, True)
    assert twilio.requests == 0
    (line,) = refusals(log)
    assert "with 401: This needs the admin token." in line


async def test_a_thousand_guesses_place_no_call_and_each_is_logged(outbound_with, twilio, log):
    async with outbound_with() as service:
        statuses = await many(lambda: service.call(headers={"Authorization": "Bearer guessed"}))
    assert statuses == {401: ATTEMPTS}
    assert len(refusals(log)) == ATTEMPTS
    assert twilio.requests == 0


@pytest.mark.parametrize("path", ["/calls", "/test-call-realtime"])
async def test_a_thousand_calls_with_a_stolen_token_are_no_more_than_the_minute_allows(
    outbound_with, twilio, log, path
):
    async with outbound_with(OUTBOUND_RATE="3", STORE="on") as service:
        statuses = await many(lambda: service.ask("POST", path, data={"to": LISTED}))
        status, _, headers = await service.ask("POST", path, data={"to": LISTED})
    assert len(twilio.calls) == 3
    assert statuses[429] == ATTEMPTS - 3
    assert status == 429
    assert 1 <= int(headers["Retry-After"]) <= 60
    assert len(refusals(log)) == ATTEMPTS - 2
    assert all("to +*********01 is refused with 429: No more calls this minute" in line for line in refusals(log))


@pytest.mark.parametrize("store", ["on", "off"])
async def test_no_more_calls_are_placed_than_the_day_allows(outbound_with, twilio, log, store):
    async with outbound_with(OUTBOUND_DAILY_CAP="2", STORE=store) as service:
        statuses = await many(service.call, 50)
        _, answer, headers = await service.call()
    assert len(twilio.calls) == statuses[201] == 2
    assert "OUTBOUND_DAILY_CAP" in answer["error"]
    assert int(headers["Retry-After"]) > 3600


async def test_a_restart_does_not_begin_a_new_day(outbound_with, twilio):
    for _ in range(3):
        async with outbound_with(OUTBOUND_DAILY_CAP="2", STORE="on") as service:
            await service.call()
    assert len(twilio.calls) == 2


async def test_where_calls_can_not_be_counted_none_is_placed(outbound_with, twilio, log, tmp_path):
    (tmp_path / "calls.sqlite3").write_bytes(b"this is no database" * 1000)
    async with outbound_with(STORE="on") as service:
        status, answer, _ = await service.call()
    assert (status, "can't be counted" in answer["error"]) == (503, True)
    assert twilio.requests == 0


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("+442079460000", "not listed"),
        ("+1 900 555 1234", "premium numbers of North America"),
        ("+1 (876) 555-1234", "islands"),
        ("+44 909 879 0000", "premium and personal numbers of the United Kingdom"),
        ("+881 6 1234 5678", "satellite"),
        ("+979 123456789", "international premium"),
    ],
)
async def test_a_number_that_nobody_allowed_is_not_called(outbound_with, twilio, log, to, why):
    allow = "*" if why != "not listed" else "+1555*"
    async with outbound_with(OUTBOUND_ALLOW=allow) as service:
        status, answer, _ = await service.call(to)
        everything = await service.ask("GET", "/test-call-realtime", params={"to": to})
    assert (status, why in answer["error"]) == (403, True)
    assert everything[0] == 403
    assert twilio.requests == 0
    assert len(refusals(log)) == 2
    assert why in refusals(log)[0]
    assert to not in log.getvalue()


@pytest.mark.parametrize("to", ["", "me", "+0123456789", "+1٥٥٥٧٦٥٤٣٢١", "sip:me@example.com", "client:me",
                                "+15551230001,+19005551234", "+1555123000100000000", 15551230001, None])  # fmt: skip
async def test_what_is_no_number_is_not_called(outbound_with, twilio, to):
    async with outbound_with(OUTBOUND_ALLOW="*") as service:
        status, answer, _ = await service.call(to)
    assert (status, answer["error"]) == (400, "to is not a telephone number.")
    assert twilio.requests == 0


async def test_by_default_only_the_numbers_of_the_test_call_are_called(outbound_with, twilio):
    async with outbound_with(OUTBOUND_ALLOW="") as service:
        assert (await service.call(THEIRS))[0] == 403
        assert (await service.call(LISTED))[0] == 201
    assert [call["To"] for call in twilio.calls] == [[LISTED]]


async def test_a_premium_number_that_is_listed_whole_is_called(outbound_with, twilio):
    async with outbound_with(OUTBOUND_ALLOW="+1*, +1 900 555 1234") as service:
        assert (await service.call("+19005551234"))[0] == 201
        assert (await service.call("+19005551235"))[0] == 403
    assert len(twilio.calls) == 1


async def test_a_call_lasts_no_longer_than_the_setting_whatever_is_asked_for(outbound_with, twilio):
    async with outbound_with(OUTBOUND_SECONDS="120") as service:
        assert (await service.call(limit=4000))[0] == 400
        assert (await service.call(limit=60))[0] == 201
        assert (await service.call())[0] == 201
    assert [call["TimeLimit"] for call in twilio.calls] == [["60"], ["120"]]


async def test_more_calls_than_lines_are_not_placed(outbound_with, twilio):
    async with outbound_with(MAX_CALLS="2") as service:
        answers = [await service.call() for _ in range(3)]
    assert [status for status, _, _ in answers] == [201, 201, 503]
    assert len(twilio.calls) == 2


async def test_refused_calls_are_no_way_to_have_twilio_asked_a_thousand_times(outbound_with, twilio):
    twilio.refuse = (400, 21219, "Unverified.")
    async with outbound_with(OUTBOUND_RATE="3") as service:
        statuses = await many(service.call, 50)
    assert statuses == {502: 3, 429: 47}
    assert twilio.requests == 3


async def test_no_log_line_holds_the_token_or_a_number(outbound_with, log):
    async with outbound_with() as service:
        await service.call()
        await service.call("+442079460000")
    for secret in (THEIRS, "+442079460000", ADMIN["Authorization"].split()[1]):
        assert secret not in log.getvalue()
