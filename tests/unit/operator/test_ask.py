"""HTTP requests of the operator's commands, on loopback."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from callgate.operator.ask import Answer, UnreachableError, ask, open_port
from callgate.peers.phone.options import Address

NOBODY = Address("127.0.0.1", 9)


@pytest.fixture
async def address():
    """Yield the address of a server that answers everything except ``/never`` and ``/cut``."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/never":
            await asyncio.Event().wait()
        if request.path == "/cut" and request.transport is not None:
            request.transport.abort()
        if request.path == "/elsewhere":
            raise web.HTTPFound("/")
        return web.json_response({"host": request.host, "body": await request.text()})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Address(*runner.addresses[0][:2])
    await runner.cleanup()


async def test_it_goes_where_it_was_told_to_whatever_the_name_says(address):
    told = (await ask("GET", "http://voice.example.com/", at=address)).document
    assert told == {"host": "voice.example.com", "body": ""}
    routed = await ask("GET", "http://voice.example.com:81/", route=lambda host, port: address)
    assert routed.document == {"host": "voice.example.com:81", "body": ""}


async def test_what_is_on_this_machine_is_not_asked_for_through_a_proxy(address, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    url = f"http://{address.host}:{address.port}/"
    assert (await ask("GET", url)).status == 200
    with pytest.raises(UnreachableError):
        await ask("GET", url, proxies=True)


async def test_no_redirect_is_followed(address):
    answer = await ask("GET", "http://voice.example.com/elsewhere", at=address)
    assert (answer.status, answer.headers["location"]) == (302, "/")


async def test_a_form_and_a_document_are_sent_as_what_they_are(address):
    sent = [
        await ask("POST", "http://a.example/", at=address, **body)
        for body in ({"form": {"a": "1"}}, {"document": {"a": 1}})
    ]
    assert [answer.document["body"] for answer in sent if answer.document] == ["a=1", '{"a": 1}']


@pytest.mark.parametrize(("path", "why"), [("/never", "does not answer within"), ("/cut", "closed the connection")])
async def test_who_took_the_request_may_have_done_what_it_asks_for(address, path, why):
    with pytest.raises(UnreachableError, match=why) as unreachable:
        await ask("POST", f"http://voice.example.com{path}", at=address, timeout=0.3)
    assert unreachable.value.sent


async def test_who_could_not_be_reached_has_done_nothing():
    with pytest.raises(UnreachableError, match="connection refused") as unreachable:
        await ask("POST", "http://voice.example.com/", at=NOBODY)
    assert not unreachable.value.sent


async def test_a_port_that_nobody_has_is_closed(address):
    await open_port(address)
    with pytest.raises(UnreachableError, match="connection refused"):
        await open_port(NOBODY)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"1", b"\xff"])
def test_what_is_no_object_is_no_document(body):
    assert Answer(200, body).document is None
