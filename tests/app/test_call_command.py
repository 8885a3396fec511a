"""``callgate call`` when the connection to the service is bad: how it interprets that, and what it prints."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest
from aiohttp import web
from callgate.__main__ import main
from callgate.errors import ConfigError
from callgate.operator import call
from callgate.operator import service as service_module
from callgate.operator.call import Follower, service_url
from callgate.operator.doctor import real_call
from callgate.operator.doctor.world import Case, World
from callgate.operator.service import Service, ServiceError, ServiceUnheardError
from support.service import config_for

OVER = {"ok": True, "call_sid": "CA00", "status": "completed", "over": True, "events": [], "receipt": None}
TALKS = {**OVER, "status": "in-progress", "over": False}


def cut_off(status: int = 504) -> web.Response:
    return web.Response(status=status, text="<html>Gateway Time-out</html>", content_type="text/html")


class Answers:
    """A service that gives these answers in order, then repeats the last one."""

    def __init__(self) -> None:
        self.answers: dict[str, list[object]] = {}
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.method)
        answers = self.answers[request.method]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer() if callable(answer) else web.json_response(answer)


@pytest.fixture
def world() -> Answers:
    return Answers()


@pytest.fixture
async def address(world, monkeypatch):
    """Return the service's URL."""
    monkeypatch.setattr(call, "PAUSE", 0.0)
    monkeypatch.setattr(service_module, "PAUSE", 0.0)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", world.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        yield f"http://{host}:{port}"


@pytest.fixture
def service(address) -> Service:
    return Service(address, "the-admin-token")


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_call_is_followed_on_when_its_news_were_cut_off(world, service, status):
    world.answers["GET"] = [TALKS, lambda: cut_off(status), lambda: cut_off(status), OVER]
    follower = Follower(service, "CA00", quiet=True)
    await follower.follow(asyncio.Event())
    assert (follower.news["status"], len(world.asked)) == ("completed", 4)


async def test_when_nothing_is_heard_for_long_it_says_that_the_call_may_go_on(world, service, monkeypatch):
    monkeypatch.setattr(service_module, "NEWS_DEADLINE", 0.05)
    world.answers["GET"] = [cut_off]
    with pytest.raises(ServiceError, match=r"The call may still be going on.*with status 504"):
        await Follower(service, "CA00", quiet=True).follow(asyncio.Event())
    assert len(world.asked) > 1


async def test_its_end_is_asked_for_again_when_that_was_cut_off(world, service):
    world.answers = {"GET": [TALKS], "DELETE": [cut_off, lambda: told_of_the_end()]}

    def told_of_the_end() -> web.Response:
        world.answers["GET"] = [OVER]
        return web.json_response({"ok": True})

    pressed = asyncio.Event()
    pressed.set()
    await Follower(service, "CA00", quiet=True).follow(pressed)
    assert world.asked.count("DELETE") == 2


async def test_where_its_end_can_not_be_asked_for_it_says_that_the_call_may_go_on(world, service, monkeypatch):
    monkeypatch.setattr(call, "END_DEADLINE", 0.05)
    world.answers = {"GET": [TALKS], "DELETE": [cut_off]}
    pressed = asyncio.Event()
    pressed.set()
    with pytest.raises(ServiceError, match="The call may still be going on"):
        await Follower(service, "CA00", quiet=True).follow(pressed)


async def test_a_request_for_a_call_that_was_cut_off_is_not_called_refused(world, service):
    world.answers["POST"] = [cut_off, lambda: web.json_response({"error": "Not yet.", "fix": "Wait."}, status=504)]
    for _ in range(2):
        with pytest.raises(ServiceUnheardError):
            await service.ask("POST", "/calls")


async def test_nothing_is_sent_where_the_service_is_said_to_have_moved(world, service):
    world.answers["GET"] = [lambda: web.Response(status=302, headers={"Location": "/elsewhere"})]
    with pytest.raises(ServiceError, match="Check the address: --url"):
        await service.ask("GET", "/calls/CA00")
    assert len(world.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://voice.example.com",
        "https://voice.example.com:8443/",
        "http://localhost:8765",
        "http://backend:8765",
        "http://127.0.0.1:8765",
        "http://[::1]:8765",
        "http://10.1.2.3",
        "http://host.docker.internal:8765",
    ],
)
def test_where_the_service_may_be(url):
    assert service_url(url) == url.removesuffix("/")


@pytest.mark.parametrize(
    "url",
    ["voice.example.com", "", "ftp://voice.example.com", "https://", "https://voice.example.com/calls",
     "https://me:secret@voice.example.com", "https://voice.example.com?x", "https://voice.example.com:99999",
     "http://127.0.0.1\\@example.com", "https:// "],
)  # fmt: skip
def test_what_is_no_address_of_a_service(url):
    with pytest.raises(ConfigError, match="--url is not usable"):
        service_url(url)


@pytest.mark.parametrize(
    "url", ["http://voice.example.com", "HTTP://8.8.8.8", "http://134744072", "http://[2606:4700::1111]:80"]
)
def test_the_token_is_not_sent_through_a_public_network_for_all_to_read(url):
    with pytest.raises(ConfigError, match="ADMIN_TOKEN can be read"):
        service_url(url)


def test_an_address_that_is_none_is_said_in_one_line(capsys, monkeypatch):
    monkeypatch.setenv("ADMIN_TOKEN", "the-admin-token")
    assert main(["call", "+15551230000", "--url", "voice.example.com", "--env-file", "/nonexistent"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


# The doctor's test call.


@pytest.fixture
def examine(address, tmp_path):
    """Let the doctor place its test call at this service."""

    async def examine():
        config = config_for("ws://127.0.0.1:1", tmp_path, ADMIN_TOKEN="the-admin-token")
        config = dataclasses.replace(config, host="127.0.0.1", port=int(address.rpartition(":")[2]))
        (finding,) = await real_call.call(Case(config=config, world=World(), call_to="+15551230001", is_local=True))
        return finding

    return examine


PLACED = {"ok": True, "call_sid": "CA00"}


@pytest.mark.parametrize("cut", [cut_off, lambda: web.json_response({"error": "No.", "fix": "Wait."}, status=503)])
async def test_the_doctor_follows_on_when_news_were_cut_off(world, examine, cut):
    world.answers = {"POST": [PLACED], "GET": [TALKS, cut, cut, OVER]}
    assert "was answered, and completed" in (await examine()).found


async def test_the_doctor_says_that_the_call_may_go_on_when_nothing_is_heard_for_long(world, examine, monkeypatch):
    monkeypatch.setattr(service_module, "NEWS_DEADLINE", 0.0)
    world.answers = {"POST": [PLACED], "GET": [cut_off]}
    assert "The call may still be going on" in (await examine()).found


async def test_the_doctor_does_not_ask_again_where_it_is_refused(world, examine):
    world.answers = {
        "POST": [PLACED],
        "GET": [lambda: web.json_response({"error": "No such call.", "fix": "Check."}, status=404)],
    }
    assert "No such call" in (await examine()).found
    assert world.asked == ["POST", "GET"]


async def test_a_call_that_is_not_placed_is_no_call_in_doubt(world, service):
    world.answers["POST"] = [lambda: web.json_response({"error": "Twilio refused.", "fix": "Pay."}, status=502)]
    with pytest.raises(ServiceError, match=r"^Twilio refused. Pay.$") as raised:
        await service.ask("POST", "/calls", document={"to": "+15551230001"})
    assert type(raised.value) is ServiceError


async def test_a_service_that_is_not_there_was_asked_for_nothing():
    with pytest.raises(ServiceError, match="does not answer: connection refused") as raised:
        await Service("http://127.0.0.1:9", "the-admin-token").ask("POST", "/calls")
    assert type(raised.value) is ServiceError
