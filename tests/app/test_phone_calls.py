"""Simulated calls to a small real app: webhook, TwiML, stream, and what happens when the stream ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from callgate.peers.phone import cli
from callgate.peers.phone.call import place_call, place_calls
from callgate.peers.phone.options import Address, PhoneOptions, TwilioLimits
from callgate.peers.phone.simulation import signing
from callgate.peers.phone.simulation.faults import Faults, Injection
from callgate.peers.phone.simulation.report import CallReport
from callgate.peers.phone.simulation.script import Digits, Hold, Interrupt, Speak, Wait
from callgate.peers.phone.voices import each_its_own
from callgate.peers.phone.wav import encode, write_stereo
from support.phone_peer import (
    CONNECT,
    NAME,
    STREAM,
    TOKEN,
    WEBHOOK,
    App,
    Certificates,
    Leg,
    Request,
    Talk,
    say_back,
    serving,
)
from twilio.request_validator import RequestValidator

pytestmark = pytest.mark.whole

QUIET = 0.1


def speech(seed: int = 1, seconds: float = 0.4) -> bytes:
    """Return something to say: noise that resembles nothing else."""
    return encode((0.25 * np.random.default_rng(seed).standard_normal(round(8000 * seconds))).astype(np.float32))


WORDS = speech()
GREETING = speech(99, 0.2)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


Serve = Callable[..., AbstractAsyncContextManager[tuple[App, PhoneOptions]]]


@pytest.fixture
def serve(certificates: Certificates) -> Serve:
    """Serve an app, and return the options of a call to it, silent and short by default."""

    @asynccontextmanager
    async def serve(talk: Talk = Leg.drain, **webhooks: object) -> AsyncIterator[tuple[App, PhoneOptions]]:
        app = App({"/" + path.replace("_", "-"): answer for path, answer in webhooks.items()}, talk)
        app.webhooks.setdefault("/incoming-call", CONNECT)
        async with serving(app, certificates.server()):
            yield app, options_for(app, certificates)

    return serve


def options_for(app: App, certificates: Certificates) -> PhoneOptions:
    return PhoneOptions(
        to=WEBHOOK,
        auth_token=TOKEN,
        connect_to=Address("127.0.0.1", app.port),
        ca=certificates.ca,
        greeting=False,
        quiet_seconds=QUIET,
        reply_within=5.0,
        max_seconds=20.0,
        limits=TwilioLimits(connect=5.0, read=5.0, upgrade=5.0, send=5.0, close=1.0),
    )


async def greet_and_say_back(leg: Leg) -> None:
    await say_back(leg, GREETING)


async def goodbye(leg: Leg) -> None:
    await leg.until("start")


def signed(request: Request, url: str) -> bool:
    return bool(RequestValidator(TOKEN).validate(url, dict(request.form), request.headers["X-Twilio-Signature"]))


def outcome(report: CallReport) -> list[str]:
    """Return the promises that were not kept."""
    return [promise.as_line() for promise in report.promises if not promise.kept]


# A whole call


async def test_a_caller_is_greeted_speaks_and_hears_its_own_words(serve: Serve) -> None:
    async with serve(greet_and_say_back) as (app, options):
        calls = await place_calls([dataclasses.replace(options, script=(Speak(WORDS),), greeting=True, echo=True)])

    (report,) = calls.reports
    assert outcome(report) == []
    assert calls.echo is not None
    assert calls.echo.own > 0.999
    assert report.ended == "the caller hung up"
    assert (report.marks, report.verbs, report.codes) == (2, ("Connect",), ())
    assert [(close.by, close.code) for close in report.closes] == [("caller", 1000)]
    assert WORDS in report.said
    assert GREETING in report.heard
    assert WORDS in report.heard
    assert len(report.said) == len(report.heard)
    assert report.utterances[0].latency >= 0
    assert app.legs[0].kinds() == ["connected", "start", "mark", "mark", "stop"]


async def test_the_app_is_asked_and_connected_to_as_by_twilio(serve: Serve) -> None:
    twiml = CONNECT.replace("/media-stream", "/media-stream/tok").replace(
        "/></C", '><Parameter name="token" value="tok"/></Stream></C'
    )
    async with serve(incoming_call=twiml) as (app, options):
        options = dataclasses.replace(options, to=WEBHOOK + "?line=1#rc=2", script=(Digits("5#"),))
        report = await place_call(options)

    assert outcome(report) == []
    (request,) = app.requests
    assert (request.method, request.target) == ("POST", "/incoming-call?line=1")
    assert request.headers["Host"] == NAME
    assert request.form["CallSid"] == report.call_sid
    assert (request.form["CallStatus"], request.form["Direction"]) == ("ringing", "inbound")
    assert signed(request, WEBHOOK + "?line=1")
    (upgrade,) = app.upgrades
    assert upgrade.headers["Host"] == NAME
    assert ("x-twilio-signature", signing.sign_upgrade(TOKEN, STREAM + "/tok")) in upgrade.headers.items()
    assert "Sec-WebSocket-Extensions" not in upgrade.headers
    assert app.server_names == [NAME, NAME]
    connected, start, *_ = app.legs[0].received
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start["start"]["customParameters"] == {"token": "tok"}
    assert (start["start"]["callSid"], start["streamSid"]) == (report.call_sid, report.stream_sids[0])
    assert [m["dtmf"]["digit"] for m in app.legs[0].received if m["event"] == "dtmf"] == ["5", "#"]


async def test_a_get_webhook_carries_and_signs_the_parameters_in_its_query(serve: Serve) -> None:
    async with serve(incoming_call="<Response/>") as (app, options):
        await place_call(dataclasses.replace(options, method="GET"))
    (request,) = app.requests
    assert request.method == "GET"
    assert "CallStatus=ringing" in request.target
    assert RequestValidator(TOKEN).validate(
        f"https://{NAME}{request.target}", {}, request.headers["X-Twilio-Signature"]
    )


async def test_frames_come_fifty_a_second_without_gap(serve: Serve) -> None:
    async with serve() as (app, options):
        await place_call(dataclasses.replace(options, script=(Wait(0.5),)))
    media = [message for message in app.legs[0].received if message["event"] == "media"]
    assert [int(m["media"]["timestamp"]) for m in media] == [20 * n for n in range(len(media))]
    assert [m["media"]["chunk"] for m in media] == [str(n) for n in range(1, len(media) + 1)]
    assert 1 < len(media) <= 27  # on a busy machine, some are missing at the end
    numbers = [int(m["sequenceNumber"]) for m in app.legs[0].received[1:]]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_an_interruption_is_timed_until_the_apps_clear(serve: Serve) -> None:
    async def stop_when_spoken_over(leg: Leg) -> None:
        await leg.until("start")
        await leg.play(speech(7, 5.0))
        await leg.mark("never heard whole")
        while "/////" in (await leg.until("media"))["media"]["payload"]:
            pass
        await leg.send("clear")
        await say_back(leg)

    async with serve(stop_when_spoken_over) as (app, options):
        report = await place_call(dataclasses.replace(options, script=(Interrupt(WORDS, after=0.2),), reply_within=0.5))
    (utterance,) = report.utterances
    assert utterance.interrupts
    assert utterance.cleared_after > 0
    assert report.clears == 1
    assert [m["mark"]["name"] for m in app.legs[0].received if m["event"] == "mark"] == ["never heard whole"]
    assert any(promise.kept for promise in report.promises if "interrupts" in promise.what)


async def test_an_app_that_talks_over_the_caller_breaks_a_promise(serve: Serve) -> None:
    async def talk(leg: Leg) -> None:
        await leg.until("start")
        await leg.play(speech(7, 1.0))
        await leg.drain()

    async with serve(talk) as (_, options):
        report = await place_call(dataclasses.replace(options, script=(Interrupt(WORDS, after=0.1),), reply_within=0.5))
    assert any("the app sent no clear" in line for line in outcome(report))


async def test_silence_from_the_app_breaks_the_promises_of_greeting_and_reply(serve: Serve) -> None:
    async with serve() as (_, options):
        options = dataclasses.replace(options, script=(Speak(WORDS),), greeting=True, reply_within=0.2)
        report = await place_call(options)
    assert [promise.what for promise in report.promises if not promise.kept] == [
        "the agent greets the caller",
        "utterance 1 (words) is answered within 0.2 s",
    ]


async def test_a_call_that_lasts_too_long_is_hung_up_and_said_so(serve: Serve) -> None:
    async with serve() as (app, options):
        report = await place_call(dataclasses.replace(options, script=(Hold(),), max_seconds=1.0))
    assert report.ended == "it lasted too long"
    assert outcome(report)[0].startswith("the call ends within 1 s: NOT kept")
    assert app.legs[0].kinds()[-1] == "stop"


# After the stream


@pytest.mark.parametrize(("lost", "code", "by"), [(False, 31921, "app"), (True, 31903, "nobody")])
async def test_twiml_continues_after_the_app_has_closed_or_lost_the_stream(
    serve: Serve, lost: bool, code: int, by: str
) -> None:
    async def talk(leg: Leg) -> None:
        await leg.until("start")
        await leg.until("media")
        if lost:
            leg.lose()

    twiml = CONNECT.replace("</Response>", "<Redirect>/call-interrupted</Redirect><Say>never</Say></Response>")
    after = "<Response><Say>Sorry.</Say><Dial>+15550001234</Dial></Response>"
    async with serve(talk, incoming_call=twiml, call_interrupted=after) as (app, options):
        report = await place_call(dataclasses.replace(options, script=(Hold(),)))

    assert report.verbs == ("Connect", "Redirect", "Say", "Dial")
    assert report.codes == (code,)
    assert report.closes[0].by == by
    assert report.ended == "dialled"
    (interrupted,) = app.asked("/call-interrupted")
    assert interrupted.form["CallStatus"] == "in-progress"
    assert signed(interrupted, f"https://{NAME}/call-interrupted")
    assert outcome(report) == []


async def test_a_caller_goes_on_with_its_script_on_the_stream_it_is_resumed_on(serve: Serve) -> None:
    async def talk(leg: Leg) -> None:
        if leg.request.path == "/media-stream":
            await leg.until("start")
            for _ in range(5):
                await leg.until("media")
            leg.lose()
        else:
            await say_back(leg)

    twiml = CONNECT.replace("</Response>", "<Redirect>/call-interrupted</Redirect></Response>")
    resumed = CONNECT.replace("/media-stream", "/media-stream/again")
    async with serve(talk, incoming_call=twiml, call_interrupted=resumed) as (_, options):
        calls = await place_calls([dataclasses.replace(options, script=(Speak(WORDS),), echo=True)])
    (report,) = calls.reports
    assert outcome(report) == []
    assert report.codes == (31903,)
    assert len(report.stream_sids) == 2
    assert len(report.said) == len(report.heard)


async def test_a_caller_that_has_hung_up_runs_no_more_verbs(serve: Serve) -> None:
    twiml = CONNECT.replace("</Response>", "<Redirect>/call-interrupted</Redirect></Response>")
    async with serve(incoming_call=twiml) as (app, options):
        report = await place_call(options)
    assert report.verbs == ("Connect",)
    assert app.asked("/call-interrupted") == []


async def test_the_connects_action_is_asked_instead_of_the_next_verb(serve: Serve) -> None:
    twiml = CONNECT.replace("<Connect>", '<Connect action="/after">').replace("</R", "<Say>never</Say></R")
    async with serve(goodbye, incoming_call=twiml, after="<Response><Hangup/></Response>") as (_, options):
        report = await place_call(dataclasses.replace(options, script=(Hold(),)))
    assert report.verbs == ("Connect", "Hangup")
    assert report.ended == "the app hung up"


async def test_every_verb_is_acted_out(serve: Serve) -> None:
    twiml = (
        '<Response><Say>Hello</Say><Pause length="1"/><Play digits="1"/>'
        '<Dial action="/dialled">+15550001234</Dial></Response>'
    )
    recorded = "<Response><Record action='/last'/></Response>"
    last = '<Response><Reject reason="busy"/></Response>'
    async with serve(incoming_call=twiml, dialled=recorded, last=last) as (app, options):
        report = await place_call(options)
    assert report.verbs == ("Say", "Pause", "Play", "Dial", "Record", "Reject")
    assert report.ended == "the app rejected the call"
    assert app.asked("/dialled")[0].form["DialCallStatus"] == "completed"
    assert report.seconds >= 1  # from the pause


async def test_what_comes_of_each_dial_is_told_to_the_app_in_order(serve: Serve) -> None:
    twiml = '<Response><Dial action="/dialled" timeout="5">+15550001234</Dial></Response>'
    async with serve(incoming_call=twiml, dialled=twiml) as (app, options):
        dials = ("busy", "no-answer", "failed")
        report = await place_call(dataclasses.replace(options, dials=dials, ring_seconds=0.1, max_seconds=1.0))
    told = [request.form["DialCallStatus"] for request in app.asked("/dialled")]
    assert told[:4] == [*dials, "completed"]
    assert all(signed(request, f"https://{NAME}/dialled") for request in app.asked("/dialled"))
    assert set(report.dialled) == {"+15550001234"}
    assert "+15550001234" not in json.dumps(report.as_json())


async def test_keys_are_played_into_the_line_and_shown_to_nobody(serve: Serve) -> None:
    async with serve(incoming_call='<Response><Play digits="42w#"/><Hangup/></Response>') as (_, options):
        report = await place_call(options)
    assert report.digits == ("42w#",)
    assert report.seconds >= 0.5  # from the pause
    assert "42w" not in json.dumps(report.as_json())


async def test_a_loop_of_redirects_comes_to_an_end(serve: Serve) -> None:
    async with serve(incoming_call="<Response><Redirect/></Response>") as (app, options):
        report = await place_call(options)
    assert len(app.requests) == 50
    assert "redirects in a loop" in outcome(report)[0]


async def test_twiml_without_a_stream_breaks_a_promise_that_shows_what_it_did(serve: Serve) -> None:
    async with serve(incoming_call="<Response><Say>All lines are busy</Say><Hangup/></Response>") as (_, options):
        report = await place_call(dataclasses.replace(options, greeting=True))
    assert "All lines are busy" in outcome(report)[0]


async def test_status_callbacks_tell_of_the_stream_and_of_the_end(serve: Serve) -> None:
    twiml = CONNECT.replace("<Stream ", '<Stream name="line" statusCallback="/stream-status" ')
    ok = "<Response/>"
    async with serve(goodbye, incoming_call=twiml, stream_status=ok, call_status=ok) as (app, options):
        url = f"https://{NAME}/call-status"
        report = await place_call(dataclasses.replace(options, script=(Hold(),), status_callback=url))
    told = app.asked("/stream-status")
    assert [request.form["StreamEvent"] for request in told] == ["stream-started", "stream-stopped"]
    assert {request.form["StreamSid"] for request in told} == set(report.stream_sids)
    assert all(signed(request, f"https://{NAME}/stream-status") for request in told)
    (over,) = app.asked("/call-status")
    assert over.form["CallStatus"] == "completed"
    assert over.form["CallDuration"].isdigit()
    assert outcome(report) == []


async def test_a_status_callback_that_fails_breaks_a_promise(serve: Serve) -> None:
    async with serve(goodbye) as (_, options):
        options = dataclasses.replace(options, script=(Hold(),), status_callback=f"https://{NAME}/missing")
        report = await place_call(options)
    assert "status 404" in outcome(report)[0]


# Many calls


async def test_twenty_calls_at_once_do_not_mix(serve: Serve) -> None:
    async with serve(say_back) as (_, options):
        options = dataclasses.replace(options, script=(Speak(WORDS),), echo=True)
        calls = await place_calls(each_its_own(options, 20), stagger=0.01)
    assert [line for report in calls.reports for line in outcome(report)] == []
    assert calls.echo is not None
    assert calls.echo.own > 0.999
    assert calls.echo.anothers < 0.05
    assert len({report.call_sid for report in calls.reports}) == 20


async def test_callers_that_hear_each_others_words_are_noticed(serve: Serve) -> None:
    def swapping() -> Talk:
        heard: list[asyncio.Future[bytes]] = []

        async def talk(leg: Leg) -> None:
            mine = asyncio.get_running_loop().create_future()
            heard.append(mine)
            other = 1 - heard.index(mine)
            played: list[bytes] = []

            async def play(audio: bytes) -> None:
                played.append(audio)
                mine.set_result(audio)
                await Leg.play(leg, await heard[other])

            leg.play = play  # type: ignore[method-assign]
            await say_back(leg)

        return talk

    async with serve(swapping()) as (_, options):
        options = dataclasses.replace(options, script=(Speak(WORDS),), echo=True)
        calls = await place_calls(each_its_own(options, 2))
    assert all(any("own words: NOT kept" in line for line in outcome(report)) for report in calls.reports)
    assert all(any("other caller's words: NOT kept" in line for line in outcome(report)) for report in calls.reports)


# Deliberate faults


async def test_the_upgrades_signature_can_be_wrong_missing_or_for_another_scheme(serve: Serve) -> None:
    signers = [signing.sign_wrongly, signing.sign_nothing, signing.sign_as_https]
    async with serve(goodbye) as (app, options):
        for signer in signers:
            await place_call(dataclasses.replace(options, faults=Faults(sign_upgrade=signer)))
    found = [upgrade.headers.get("x-twilio-signature") for upgrade in app.upgrades]
    assert found == [signer(TOKEN, STREAM) for signer in signers]


async def test_the_token_can_be_anothers_in_path_and_parameter(serve: Serve) -> None:
    faults = Faults(stream_url=lambda url: url + "/foreign", parameters=lambda given: {**given, "token": "foreign"})
    async with serve() as (app, options):
        await place_call(dataclasses.replace(options, faults=faults))
    assert app.upgrades[0].target == "/media-stream/foreign"
    assert app.upgrades[0].headers["x-twilio-signature"] == signing.sign_upgrade(TOKEN, STREAM + "/foreign")
    assert app.legs[0].received[1]["start"]["customParameters"] == {"token": "foreign"}


async def test_start_can_be_left_out_or_sent_twice(serve: Serve) -> None:
    async with serve() as (app, options):
        for starts in (0, 2):
            faults = Faults(starts=starts)
            await place_call(dataclasses.replace(options, max_seconds=1.0, script=(Hold(),), faults=faults))
    never, twice = (leg.received for leg in app.legs)
    assert {message["event"] for message in never} <= {"connected", "stop"}
    assert [message["event"] for message in twice][:3] == ["connected", "start", "start"]


async def test_any_frame_can_be_sent_at_any_moment(serve: Serve) -> None:
    raw: list[object] = []

    async def talk(leg: Leg) -> None:
        async for message in leg.socket:
            if not message.data[:20].startswith('{"event"') if isinstance(message.data, str) else True:
                raw.append(message.data)

    frames = (Injection(0.1, "nonsense"), Injection(0.05, b"\x00"), Injection(0.2, lambda sid: f"for {sid}"))
    async with serve(talk) as (_, options):
        options = dataclasses.replace(options, script=(Wait(0.4),), faults=Faults(injections=frames))
        report = await place_call(options)
    assert raw == [b"\x00", "nonsense", f"for {report.stream_sids[0]}"]


async def test_the_connection_can_be_dropped_without_a_goodbye(serve: Serve) -> None:
    async with serve() as (app, options):
        report = await place_call(dataclasses.replace(options, script=(Hold(),), faults=Faults(drop_after=0.1)))
    assert report.closes[0].code is None
    assert app.legs[0].kinds() == ["connected", "start"]
    assert app.legs[0].socket.close_code == 1006


async def test_what_the_app_sends_can_be_left_unread(serve: Serve) -> None:
    async def endless(leg: Leg) -> None:
        while True:
            await leg.play(bytes(500_000))

    async def flood(leg: Leg) -> None:
        await leg.until("start")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await endless(leg)
        leg.lose()

    async with serve(flood) as (_, options):
        faults = Faults(stop_reading_after=0.0)
        report = await place_call(dataclasses.replace(options, script=(Wait(1.5),), faults=faults))
    assert set(report.heard) == {0xFF}


# The command


async def run_cli(*arguments: str) -> tuple[int, str, str]:
    """Run the command as its own process, and return its exit code and both outputs."""
    environ = {"TWILIO_AUTH_TOKEN": TOKEN, "PATH": "", "HOME": str(Path.home())}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "callgate.peers.phone", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environ,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_command_writes_what_was_asked_for_and_its_outputs_hold_no_secret(
    certificates: Certificates, tmp_path: Path
) -> None:
    wav, record, timeline, picture = (tmp_path / name for name in ("words.wav", "call.wav", "call.json", "call.png"))
    write_stereo(wav, WORDS, WORDS)
    secret = "a-token-of-the-stream-0123456789"
    app = App({"/incoming-call": CONNECT.replace("/media-stream", f"/media-stream/{secret}")}, greet_and_say_back)
    async with serving(app, certificates.server()):
        code, out, err = await run_cli(
            "--to", WEBHOOK, "--connect-to", f"127.0.0.1:{app.port}", "--ca", str(certificates.ca), "--say", str(wav),
            "--expect-echo", "--record", str(record), "--timeline", str(timeline), "--picture", str(picture),
            "--live", "--from", "+15557654321",
        )  # fmt: skip
    assert (code, err.count("error")) == (0, 0)
    assert "1 call: own words 1.000 (lowest)" in out
    assert "promises kept" in out
    assert record.read_bytes()[:4] == b"RIFF"
    assert picture.read_bytes()[1:4] == b"PNG"
    report = json.loads(timeline.read_text())
    assert report["kept"] is True
    assert report["calls"][0]["utterances"][0]["name"] == "words.wav"
    for text in (out, err, timeline.read_text()):
        for hidden in (TOKEN, secret, "5557654321", signing.sign_upgrade(TOKEN, f"{STREAM}/{secret}") or ""):
            assert hidden not in text


async def test_a_broken_promise_is_one_line_and_exit_code_1_and_json_is_all_there_is_on_stdout(
    certificates: Certificates,
) -> None:
    app = App({}, Leg.drain)
    async with serving(app, certificates.server()):
        code, out, err = await run_cli(
            "--to",
            WEBHOOK,
            "--connect-to",
            f"127.0.0.1:{app.port}",
            "--ca",
            str(certificates.ca),
            "--json",
            "--calls",
            "2",
        )
    assert (code, bool(out)) == (1, True), err
    assert [call["errors"][0]["code"] for call in json.loads(out)["calls"]] == [11200, 11200]
    assert [line[:58] for line in err.splitlines()] == [
        f"call {n}: webhooks answer in time, with valid TwiML: NOT kept"[:58] for n in (1, 2)
    ]


def test_the_help_names_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for option in ("--say", "--interrupt", "--after", "--digits", "--wait", "--listen", "--hold", "--connect-to"):
        assert option in shown
