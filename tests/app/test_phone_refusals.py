"""The phone refuses what Twilio refuses, naming Twilio's code, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from callgate.peers.phone.call import place_call
from callgate.peers.phone.options import Address, PhoneOptions, TwilioLimits
from callgate.peers.phone.simulation.faults import Faults, Injection
from callgate.peers.phone.simulation.report import CallReport
from callgate.peers.phone.simulation.script import Hold, Wait
from support.phone_peer import (
    CONNECT,
    NAME,
    STREAM,
    TOKEN,
    WEBHOOK,
    App,
    Certificates,
    Leg,
    Talk,
    Webhook,
    serving,
    xml,
)

pytestmark = pytest.mark.whole

LIMITS = TwilioLimits(connect=5.0, read=5.0, upgrade=5.0, send=5.0, close=0.5)  # generous, for a busy machine


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def call_to(port: int, ca: Path | None, **options: object) -> PhoneOptions:
    given = {
        "to": WEBHOOK,
        "auth_token": TOKEN,
        "connect_to": Address("127.0.0.1", port),
        "ca": ca,
        "greeting": False,
        "max_seconds": 10.0,
        "limits": LIMITS,
        **options,
    }
    return PhoneOptions(**given)  # type: ignore[arg-type]


async def call_app(
    certificates: Certificates,
    answer: str | Webhook,
    talk: Talk = Leg.drain,
    *,
    tls: ssl.SSLContext | None = None,
    **options: object,
) -> CallReport:
    """Call an app with this webhook answer and this stream."""
    async with serving(App({"/incoming-call": answer}, talk), tls or certificates.server()) as app:
        return await place_call(call_to(app.port, certificates.ca, **options))


def assert_broken(report: CallReport, code: int, text: str = "") -> None:
    """Check that the report has the code, and that a broken promise names it."""
    assert code in report.codes
    assert any(f"error {code}" in promise.happened and text in promise.happened for promise in report.promises)
    assert not report.kept


@contextlib.asynccontextmanager
async def raw_server(behave, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server that does not speak HTTP."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await behave(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the phone gives up


async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


def free_port() -> int:
    """Return a loopback port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# The webhook


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda _: web.Response(status=500), 11200),
        (lambda _: web.Response(status=403), 11200),
        (lambda _: web.Response(status=302, headers={"Location": "/incoming-call"}), 11200),
        (lambda _: xml("<Response>" + " " * 65536 + "</Response>"), 11750),
        (lambda _: xml("<Response>"), 12100),
        (lambda _: xml("<Response><Shout/></Response>"), 12200),
        (lambda _: web.Response(text=CONNECT, content_type="text/plain"), 12300),
        (lambda _: web.json_response({}), 12300),
    ],
)
async def test_an_answer_that_twilio_refuses(certificates: Certificates, answer: Webhook, code: int) -> None:
    assert_broken(await call_app(certificates, answer), code)


async def test_twiml_that_is_not_simulated_is_said_to_be_so(certificates: Certificates) -> None:
    report = await call_app(certificates, "<Response><Gather/></Response>")
    assert any("does not simulate" in promise.happened for promise in report.promises)


@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST")])
async def test_a_redirect_is_followed_with_the_first_urls_signature(
    certificates: Certificates, status: int, method: str
) -> None:
    app = App({"/incoming-call": lambda _: web.Response(status=status, headers={"Location": "/moved"}),
               "/moved": "<Response><Hangup/></Response>"}, Leg.drain)  # fmt: skip
    async with serving(app, certificates.server()):
        report = await place_call(call_to(app.port, certificates.ca))
    first, second = app.requests
    assert (second.method, second.target) == (method, "/moved")
    assert second.headers["X-Twilio-Signature"] == first.headers["X-Twilio-Signature"]
    assert report.verbs == ("Hangup",)


async def test_a_permanent_redirect_is_not_followed(certificates: Certificates) -> None:
    app = App({"/incoming-call": lambda _: web.Response(status=308, headers={"Location": "/moved"})}, Leg.drain)
    async with serving(app, certificates.server()):
        report = await place_call(call_to(app.port, certificates.ca))
    assert_broken(report, 11200, "status 308")
    assert app.asked("/moved") == []


@pytest.mark.parametrize(
    ("server", "code"),
    [
        ({"self_signed": True}, 11237),
        ({"name": "another.example.test"}, 11235),
        ({"expired": True}, 11236),
    ],
)
async def test_a_certificate_that_twilio_does_not_trust(certificates: Certificates, server: dict, code: int) -> None:
    assert_broken(await call_app(certificates, CONNECT, tls=certificates.server(**server)), code)


async def test_a_ca_that_is_not_in_the_systems_store(certificates: Certificates) -> None:
    async with serving(App({}, Leg.drain), certificates.server()) as app:
        assert_broken(await place_call(call_to(app.port, None)), 11237)


async def test_a_server_that_speaks_no_tls(certificates: Certificates) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    for behave in (plain, rude):
        async with raw_server(behave) as port:
            assert_broken(await place_call(call_to(port, certificates.ca)), 11220)


async def test_a_server_that_is_not_there_is_tried_twice(certificates: Certificates) -> None:
    assert_broken(await place_call(call_to(free_port(), certificates.ca)), 11205)


async def test_only_a_failure_to_connect_is_tried_again(certificates: Certificates) -> None:
    app = App({"/incoming-call": lambda _: web.Response(status=500)}, Leg.drain)
    async with serving(app, certificates.server()):
        await place_call(call_to(app.port, certificates.ca))
    assert len(app.requests) == 1


async def test_a_server_that_takes_the_connection_and_says_nothing(certificates: Certificates) -> None:
    async with raw_server(silent) as port:
        options = call_to(port, certificates.ca, limits=dataclasses.replace(LIMITS, connect=0.5))
        assert_broken(await place_call(options), 11205, "in time")
    async with raw_server(silent, certificates.server()) as port:
        options = call_to(port, certificates.ca, limits=dataclasses.replace(LIMITS, read=0.5))
        assert_broken(await place_call(options), 11200, "in time")
    async with raw_server(rude, certificates.server()) as port:
        assert_broken(await place_call(call_to(port, certificates.ca)), 11200)


async def test_a_host_without_an_address(certificates: Certificates) -> None:
    report = await place_call(call_to(1, certificates.ca, to="https://nowhere.invalid/", connect_to=None))
    assert_broken(report, 11210)


# The stream


@pytest.mark.parametrize(
    ("url", "code", "text"),
    [
        (f"ws://{NAME}/media-stream", 31922, "ws://"),
        (f"https://{NAME}/media-stream", 31922, "https://"),
        (f"wss://{NAME}:8443/media-stream", 31923, "8443"),
        ("wss:///media-stream", 31923, ""),
        (f"{STREAM}/refused", 31920, "status 403"),
    ],
)
async def test_a_stream_that_twilio_does_not_open(certificates: Certificates, url: str, code: int, text: str) -> None:
    twiml = f'<Response><Connect><Stream url="{url}" statusCallback="/told"/></Connect><Hangup/></Response>'
    told = []

    def tell(request):
        told.append(request.form)
        return web.Response()

    app = App({"/incoming-call": twiml, "/told": tell}, Leg.drain)
    async with serving(app, certificates.server()):
        report = await place_call(call_to(app.port, certificates.ca))
    assert_broken(report, code, text)
    assert report.verbs == ("Connect", "Hangup")  # the call goes on
    assert [form["StreamEvent"] for form in told] == ["stream-error"]
    assert str(code) in told[0]["StreamError"]


async def test_the_query_of_a_streams_url_is_lost_on_the_way(certificates: Certificates) -> None:
    app = App({"/incoming-call": CONNECT.replace('stream"', 'stream?token=1"')}, Leg.drain)
    async with serving(app, certificates.server()):
        report = await place_call(call_to(app.port, certificates.ca))
    assert app.upgrades[0].target == "/media-stream"
    assert any(event.kind == "warning" and "query" in event.text for event in report.events)


async def test_a_stream_pointed_at_directly(certificates: Certificates) -> None:
    async with serving(App({}, Leg.drain), certificates.server()) as app:
        good = await place_call(call_to(app.port, certificates.ca, to=STREAM, parameters={"a": "b"}))
        plain = await place_call(call_to(app.port, certificates.ca, to="ws" + STREAM[3:]))
        refused = await place_call(call_to(app.port, certificates.ca, to=STREAM + "/refused"))
    assert good.kept
    assert app.legs[0].received[1]["start"]["customParameters"] == {"a": "b"}
    assert_broken(plain, 31922)
    assert_broken(refused, 31920)
    assert len(app.upgrades) == 2


@pytest.mark.parametrize("server", [{"self_signed": True}, {"name": "another.example.test"}, {"expired": True}])
async def test_a_streams_certificate_that_twilio_does_not_trust(certificates: Certificates, server: dict) -> None:
    async with serving(App({}, Leg.drain), certificates.server(**server)) as app:
        assert_broken(await place_call(call_to(app.port, certificates.ca, to=STREAM)), 31910)


async def test_a_stream_to_a_server_that_is_not_there_or_does_not_answer(certificates: Certificates) -> None:
    assert_broken(await place_call(call_to(free_port(), certificates.ca, to=STREAM)), 31902)
    impatient = dataclasses.replace(LIMITS, upgrade=0.5)
    async with raw_server(silent) as port:
        options = call_to(port, certificates.ca, to=STREAM, limits=impatient)
        assert_broken(await place_call(options), 31901, "TLS handshake")
    async with raw_server(silent, certificates.server()) as port:
        options = call_to(port, certificates.ca, to=STREAM, limits=impatient)
        assert_broken(await place_call(options), 31901, "the upgrade")
    async with raw_server(rude, certificates.server()) as port:
        assert_broken(await place_call(call_to(port, certificates.ca, to=STREAM)), 31920)


async def test_an_upgrade_is_not_redirected(certificates: Certificates) -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 307 Go\r\nLocation: {STREAM}/x\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        await reader.read()  # until the phone has gone

    async with raw_server(redirect, certificates.server()) as port:
        assert_broken(await place_call(call_to(port, certificates.ca, to=STREAM)), 31920, "status 307")


# Frames


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda leg: leg.socket.send_bytes(b"\x00"), 31950),
        (lambda leg: leg.socket.send_str("not JSON"), 31950),
        (lambda leg: leg.socket.send_str("{}"), 31951),
        (lambda leg: leg.send("hello"), 31951),
        (lambda leg: leg.socket.send_str('{"event":"clear","streamSid":"MZ0"}'), 31951),
    ],
)
async def test_a_frame_that_twilio_discards(certificates: Certificates, send, code: int) -> None:
    async def talk(leg: Leg) -> None:
        await leg.until("start")
        await send(leg)
        await leg.mark("still here")
        await leg.drain()

    report = await call_app(certificates, CONNECT, talk, script=(Wait(0.2),))
    assert_broken(report, code)
    assert report.marks == 1  # the socket stayed open


async def test_a_message_too_large_for_ten_minutes_of_audio(certificates: Certificates) -> None:
    async def talk(leg: Leg) -> None:
        await leg.until("start")
        await leg.socket.send_str("x" * (9 * 2**20))
        await leg.drain()

    assert_broken(await call_app(certificates, CONNECT, talk, script=(Hold(),)), 31931)


async def test_an_app_that_breaks_the_websocket_protocol(certificates: Certificates) -> None:
    async def talk(leg: Leg) -> None:
        await leg.until("start")
        leg.request.transport.write(b"\xff\xff\xff\xff")
        await leg.drain()

    assert_broken(await call_app(certificates, CONNECT, talk, script=(Hold(),)), 31924)


async def test_an_app_that_stops_reading(certificates: Certificates) -> None:
    given_up = asyncio.Event()

    async def talk(leg: Leg) -> None:
        await leg.until("start")
        leg.request.transport.pause_reading()
        await given_up.wait()

    flood = Faults(injections=tuple(Injection(0.1, "x" * 2**20) for _ in range(30)))
    async with serving(App({"/incoming-call": CONNECT}, talk), certificates.server()) as app:
        limits = dataclasses.replace(LIMITS, send=0.5)
        report = await place_call(call_to(app.port, certificates.ca, script=(Hold(),), faults=flood, limits=limits))
        given_up.set()
    assert_broken(report, 31924, "stopped reading")
