"""The doctor examines a set-up: it finds nothing wrong with a good one, and names a broken one's cause first."""

from __future__ import annotations

import datetime
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from callgate.__main__ import main
from callgate.operator.doctor.finding import Status
from callgate.operator.doctor.report import Examination
from demo.local_edge import LOOPBACK, free_ports
from support.edge.doctor_faults import BROKEN, Break
from support.edge.doctor_world import (
    API_KEY,
    AUTH_TOKEN,
    MODEL,
    NOBODY,
    NUMBER,
    PUBLIC,
    Good,
    Handler,
    SetUp,
    good_set_up,
    serving,
    webhooks,
)

Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Good]:
    with good_set_up(tmp_path_factory.mktemp("good")) as good:
        yield good


@pytest.fixture
async def set_up(good: Good, tmp_path: Path) -> AsyncIterator[SetUp]:
    good.reset()
    set_up = SetUp(good, good.values, good.routes, tmp_path)
    async with set_up.stack:
        yield set_up


# The good set-up.


async def test_nothing_is_wrong_with_a_good_set_up_and_a_call_goes_through(set_up: SetUp) -> None:
    found = await set_up.examine(call=True)
    complaints = [
        (result.name, finding.found)
        for result in found.results
        for finding in result.findings
        if finding.status in (Status.WRONG, Status.WARNING)
    ]
    assert complaints == []
    looked = {result.name for result in found.results if result.status is Status.OK}
    assert {"port.443", "tls.certificate", "stream.upgrade", "twilio.number", "model.exists", "call"} <= looked
    assert {"webhook: TwiML", "stream: upgrade", "the agent's first sound"} <= {part.name for part in found.parts}


# Broken set-ups.


@pytest.mark.parametrize(("break_it", "cause", "says"), BROKEN, ids=[entry[0].__name__ for entry in BROKEN])
async def test_the_first_thing_found_wrong_is_the_cause(set_up: SetUp, break_it: Break, cause: str, says: str) -> None:
    done = break_it(set_up)
    if done is not None:
        await done
    found = await set_up.examine()
    first = found.first_wrong
    assert first is not None, "nothing was found wrong"
    assert (first.name, says) == (cause, says if says in first.worst.found else first.worst.found)
    assert first.worst.wanted
    assert first.worst.do
    assert not any(AUTH_TOKEN in finding.found for result in found.results for finding in result.findings)


# Warnings: calls work.


async def warnings_of(set_up: SetUp) -> dict[str, str]:
    found = await set_up.examine()
    assert found.first_wrong is None, found.first_wrong
    return {result.name: result.worst.found for result in found.results if result.status is Status.WARNING}


async def test_errors_that_twilio_noted_are_told_with_what_they_mean(set_up: SetUp) -> None:
    now = datetime.datetime.now(datetime.UTC)
    set_up.good.twilio.alerts = [(31920, now), (31920, now), (11200, now - datetime.timedelta(days=2))]
    warned = await warnings_of(set_up)
    assert set(warned) == {"twilio.alerts"}
    assert "31920 2 times" in warned["twilio.alerts"]
    assert "the WebSocket upgrade was not answered with 101" in warned["twilio.alerts"]


async def test_a_trial_account_and_a_number_without_status_callback_are_warned_of(set_up: SetUp) -> None:
    set_up.good.twilio.account["type"] = "Trial"
    set_up.good.twilio.webhooks[NUMBER]["status_callback"] = ""
    set_up.good.openai.models[MODEL] = {"shutdown_date": str(datetime.date.today() + datetime.timedelta(days=30))}
    assert set(await warnings_of(set_up)) == {"twilio.account", "twilio.number", "model.exists"}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "has no fallback URL"),
        ("https://old-name.ngrok-free.app/sorry", "an old tunnel's address"),
        ("http://sorry.example/", "not encrypted"),
    ],
)
async def test_a_fallback_that_would_not_answer_is_warned_of(set_up: SetUp, url: str, says: str) -> None:
    set_up.good.twilio.webhooks[NUMBER]["voice_fallback_url"] = url
    warned = await warnings_of(set_up)
    assert set(warned) == {"twilio.number"}
    assert says in warned["twilio.number"]


async def test_a_fallback_on_another_machine_is_as_good(set_up: SetUp) -> None:
    set_up.good.twilio.webhooks[NUMBER]["voice_fallback_url"] = "https://handler.twilio.com/twiml/EH1?a=b"
    assert await warnings_of(set_up) == {}


async def test_a_second_model_of_which_openai_says_nothing_now_is_warned_of_and_the_first_is_there(
    set_up: SetUp,
) -> None:
    set_up.values["OPENAI_FALLBACK_MODEL"] = "gpt-realtime-mini"
    set_up.good.openai.refuse_model["gpt-realtime-mini"] = (429, "rate_limit_exceeded")
    found = await set_up.examine()
    assert found.first_wrong is None, found.first_wrong
    assert found.named("model.key").status is Status.WARNING
    told = {finding.found: finding.status for finding in found.named("model.exists").findings}
    assert told[f"{MODEL} is available"] is Status.OK
    assert [status for text, status in told.items() if "gpt-realtime-mini" in text] == [Status.SKIPPED]


async def test_a_human_in_a_country_that_may_not_be_called_is_warned_of(set_up: SetUp) -> None:
    set_up.values["FALLBACK_DIAL"] = "+4930123456"
    warned = await warnings_of(set_up)
    assert set(warned) == {"twilio.countries"}
    assert "Germany" in warned["twilio.countries"]


async def test_a_number_whose_callers_would_not_be_put_through_is_warned_of(set_up: SetUp) -> None:
    set_up.values["FALLBACK_DIAL"] = "+15551239999"
    assert await warnings_of(set_up) == {}
    set_up.good.twilio.webhooks[NUMBER]["voice_url"] = f"https://{set_up.domain}/incoming-call"
    warned = await warnings_of(set_up)
    assert "does not prove to nginx" in warned["twilio.number"]


async def test_a_certificate_that_should_have_been_renewed_is_warned_of(set_up: SetUp) -> None:
    start, end = datetime.timedelta(days=-40), datetime.timedelta(days=5)
    pair = set_up.good.authority.issue(set_up.domain, starts_in=start, ends_in=end)
    set_up.nginx_before(set_up.good.backend_port, pair=pair)
    assert set(await warnings_of(set_up)) == {"tls.renewal"}


# Other places.


async def test_before_the_bundle_is_up_the_rest_is_looked_at_all_the_same(set_up: SetUp) -> None:
    set_up.routes[(PUBLIC, 443)] = set_up.routes[(PUBLIC, 80)] = NOBODY
    set_up.values["PORT"] = str(free_ports(1)[0])
    found = await set_up.examine()
    assert not found.is_up
    assert found.first_wrong is not None
    assert found.first_wrong.name == "port.443"
    looked = {result.name for result in found.results if result.status is Status.OK}
    assert {"machine.clock", "dns.addresses", "twilio.account", "twilio.number", "model.exists"} <= looked


async def test_behind_a_tunnel_nothing_is_asked_of_our_own_edge_and_nothing_is_wrong(set_up: SetUp) -> None:
    name = "callgate-rehearsal.ngrok-free.app"
    base = f"https://{name}"
    set_up.good.twilio.webhooks[NUMBER] = webhooks(base)
    set_up.good.tell_dns("add-a", addresses=[PUBLIC], host=name)
    del set_up.values["DOMAIN"]
    set_up.values["BASE_URL"] = base
    port = set_up.backend(DOMAIN="", BASE_URL=base)
    set_up.nginx_before(port, domain=name, pair=set_up.good.authority.issue(name))
    found = await set_up.examine()
    assert found.first_wrong is None, found.first_wrong
    assert {found.named(name).status for name in ("dns.caa", "port.80")} == {Status.SKIPPED}
    assert {found.named(name).status for name in ("tls.certificate", "stream.upgrade")} == {Status.OK}


async def test_in_a_rehearsal_the_whole_chain_is_looked_at_though_twilio_can_not_reach_it(set_up: SetUp) -> None:
    for name in ("DOMAIN", "TWILIO_AUTH_TOKEN", "TWILIO_ACCOUNT_SID", "TWILIO_PHONE_NUMBER", "OPENAI_API_KEY"):
        del set_up.values[name]
    port = set_up.backend(DOMAIN="", TWILIO_AUTH_TOKEN="")
    set_up.values["DATA_DIR"] = str(set_up.folder / "backend" / "data")
    set_up.nginx_before(port, domain="localhost", pair=set_up.good.authority.issue("localhost"))
    set_up.edge = set_up.routes[(PUBLIC, 443)]
    found = await set_up.examine(call=True)
    assert {r.name for r in found.results if r.status is Status.WRONG} == {"settings.address", "settings.real"}
    for name in ("tls.certificate", "webhook.signed", "stream.upgrade", "call"):
        assert found.named(name).status is Status.OK, found.named(name)


async def test_the_made_up_call_leaves_no_session_waiting(set_up: SetUp) -> None:
    await set_up.examine()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{LOOPBACK}:{set_up.good.backend_port}/readyz") as answer,
    ):
        assert (await answer.json())["waiting_sessions"] == 0


# A test call that rings.


def teller(set_up: SetUp, placed: tuple[int, dict[str, object]], status: str) -> Handler:
    """Return a stand-in for the backend's test call: its answer to the request, and how the call ends."""
    news = [("ringing", 0.4), ("answered", 3.1), ("talking", 3.3), ("ended", 9.0)]
    events = [{"number": number, "at": at, "name": name, "text": ""} for number, (name, at) in enumerate(news, 1)]

    async def answer(request: web.Request) -> web.Response:
        if request.path in ("/test-call-realtime", "/calls/CA1"):
            assert request.headers["Authorization"] == "Bearer the-admin-token"
        if request.path == "/test-call-realtime":
            return web.json_response(placed[1], status=placed[0])
        if request.path == "/calls/CA1":
            after = int(request.query["after"])
            told = events[after : after + 2]
            over = after + 2 >= len(events)
            return web.json_response({"over": over, "status": status if over else "ringing", "events": told})
        url = f"http://{LOOPBACK}:{set_up.good.backend_port}{request.path_qs}"
        async with aiohttp.ClientSession() as session, session.get(url) as handed_on:
            return web.Response(status=handed_on.status, body=await handed_on.read())

    return answer


async def ring(set_up: SetUp, placed: tuple[int, dict[str, object]], status: str = "completed") -> Examination:
    handler = teller(set_up, placed, status)
    set_up.values["PORT"] = str(await set_up.stack.enter_async_context(serving(handler, None)))
    set_up.values["ADMIN_TOKEN"] = "the-admin-token"
    return await set_up.examine(call_to="+15550007777")


PLACED = (200, {"ok": True, "call_sid": "CA1"})


async def test_a_call_that_rings_is_followed_to_its_end(set_up: SetUp) -> None:
    found = await ring(set_up, PLACED)
    assert found.first_wrong is None, found.first_wrong
    assert found.named("call.real").status is Status.OK
    assert [part.name for part in found.parts] == [f"until: {e}" for e in ("ringing", "answered", "talking", "ended")]
    assert [part.at for part in found.parts] == [0.0, 0.4, 3.1, 3.3]


async def test_a_call_that_nobody_answers_is_wrong(set_up: SetUp) -> None:
    found = await ring(set_up, PLACED, "no-answer")
    assert found.first_wrong is not None
    assert (found.first_wrong.name, "no-answer" in found.first_wrong.worst.found) == ("call.real", True)


async def test_a_call_that_the_backend_does_not_place_is_wrong_for_its_reason(set_up: SetUp) -> None:
    found = await ring(set_up, (403, {"ok": False, "error": "This number is not listed.", "fix": "Add it there."}))
    assert found.first_wrong is not None
    assert found.first_wrong.name == "call.real"
    assert (found.first_wrong.worst.found, found.first_wrong.worst.do) == (
        "This number is not listed.",
        "Add it there.",
    )


# The command.


@pytest.fixture
def command(good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``callgate doctor`` with these changes to the good settings, and return its exit code and output."""
    good.reset()
    world = SetUp(good, good.values, good.routes, tmp_path).world
    monkeypatch.setattr("callgate.operator.doctor.cli.world_of", lambda args, values: world)

    def run(*words: str, **changes: str) -> tuple[int, str]:
        env_file = tmp_path / ".env"
        env_file.touch(mode=0o600)
        env_file.write_text("".join(f"{name}={value}\n" for name, value in {**good.values, **changes}.items()))
        code = main(["doctor", "--env-file", str(env_file), *words])
        return code, capsys.readouterr().out

    return run


def test_the_command_exits_with_0_where_all_is_well_and_shows_no_secret(command: Command) -> None:
    code, printed = command()
    assert code == 0, printed
    assert "All is well." in printed
    assert "[x] The number's webhook is that address" in printed
    assert "[?] A test call goes through: not tried" in printed
    assert not any(secret in printed for secret in (AUTH_TOKEN, API_KEY, NUMBER))


def test_the_command_exits_with_1_and_begins_with_the_cause(command: Command) -> None:
    code, printed = command(OPENAI_API_KEY="sk-another")
    assert code == 1
    assert "Fix this first: OpenAI key" in printed.splitlines()[2]
    assert "sk-another" not in printed


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_secret_in_the_wrong_place_is_not_shown_either(command: Command, form: tuple[str, ...]) -> None:
    code, printed = command(*form, LOG_LEVEL=API_KEY, MAX_CALLS=NUMBER)
    assert code == 1
    assert "LOG_LEVEL" in printed
    assert API_KEY not in printed
    assert NUMBER not in printed


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize("name", ["voice_url", "status_callback", "voice_fallback_url"])
def test_what_may_be_secret_in_an_old_webhook_is_not_shown(
    good: Good, command: Command, name: str, form: tuple[str, ...]
) -> None:
    good.twilio.webhooks[NUMBER][name] = "http://me:their-password@old.example/voice?key=their-key"
    _, printed = command(*form)
    assert "http://***@old.example/voice?***" in printed
    assert "their-" not in printed


def test_the_json_names_the_cause_and_what_it_hides(command: Command) -> None:
    code, printed = command("--json", OPENAI_API_KEY="sk-another")
    found = json.loads(printed)
    assert (code, found["well"], found["first_wrong"]["name"]) == (1, False, "model.key")
    hidden = {check["name"] for check in found["checks"] if check["cause"] == "model.key"}
    assert hidden == {"model.exists", "backend.ready"}
    assert set(found["checks"][0]) == {"name", "title", "status", "cause", "seconds", "findings"}


def test_the_command_exits_with_2_where_it_can_not_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--env-file", str(tmp_path / "none")]) == 2
    assert "there is no such file" in capsys.readouterr().err
