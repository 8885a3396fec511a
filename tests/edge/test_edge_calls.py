"""Calls through everything that a real call passes: TLS, nginx, the backend as its own process, and a model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack
from functools import cache
from pathlib import Path

import pytest
from callgate.peers.linecheck.realtime.response import Speech
from callgate.peers.phone.call import place_call, place_calls
from callgate.peers.phone.options import Address, PhoneOptions
from callgate.peers.phone.simulation.faults import Faults
from callgate.peers.phone.simulation.script import Digits, Hold, Interrupt, Speak, Wait
from callgate.peers.phone.simulation.signing import sign_as_https, sign_nothing, sign_wrongly
from callgate.peers.phone.simulation.timeline import Event
from callgate.peers.phone.voices import each_its_own
from callgate.peers.phone.wav import read_ulaw
from demo.local_edge import LOOPBACK, LocalEdge, free_ports
from support.edge.keepers import one_turn
from support.edge.pairs import Authority
from support.fake_openai import FakeOpenAI, Script, say, tone, tool
from support.project import ROOT
from support.serve_process import Backend, backend

from bench.faulty.hearing import find

SOUNDS = Path("/usr/share/sounds/alsa")  # from the package alsa-utils


@cache
def words(name: str = "Front_Center") -> bytes:
    return read_ulaw(SOUNDS / f"{name}.wav")


AUTH_TOKEN = "the-auth-token-of-this-account"
CALLERS = 50

Beside = Callable[..., AbstractContextManager[LocalEdge]]


class Place:
    """A backend behind an edge, and calls to it."""

    def __init__(self, edge: LocalEdge, backend: Backend) -> None:
        self.edge, self.backend = edge, backend

    def call(self, *script: object, **options: object) -> PhoneOptions:
        values = {
            "to": f"https://{self.edge.domain}/incoming-call",
            "auth_token": AUTH_TOKEN,
            "script": script,
            "connect_to": Address(LOOPBACK, self.edge.https_port),
            "ca": self.edge.ca_file,
            **options,
        }
        return PhoneOptions(**values)  # type: ignore[arg-type]


@pytest.fixture
async def place(beside: Beside, edge: LocalEdge, tmp_path: Path) -> AsyncIterator[Place]:
    settings = {"DOMAIN": edge.domain, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "PORT": "0", "LOG_LEVEL": "INFO"}
    async with backend(tmp_path, **settings) as process:
        port = int((await process.reads(r"listening on http://\S+:(\d+)"))[1])
        reading = asyncio.create_task(process.ends())
        try:
            with beside(port) as other:
                yield Place(other, process)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def test_twenty_callers_at_once_each_hear_their_own_words_and_no_others(place):
    calls = await place_calls(each_its_own(place.call(Speak(words(), "words"), echo=True), 20))
    assert [promise.as_line() for report in calls.reports for promise in report.promises if not promise.kept] == []
    assert calls.echo.own >= 0.95
    assert calls.echo.anothers < 0.5


async def test_a_caller_who_speaks_over_the_agent_silences_it(place):
    report = await place_call(
        place.call(Speak(words(), "words"), Interrupt(words("Rear_Left"), "over", 0.4), echo=True)
    )
    assert report.kept, report.promises
    assert report.clears == 1


@pytest.mark.parametrize("sign", [sign_wrongly, sign_nothing, sign_as_https])
async def test_an_upgrade_that_is_not_twilios_is_refused_through_the_edge_as_twilio_names_it(place, sign):
    report = await place_call(place.call(Hold(), faults=Faults(sign_upgrade=sign)))
    assert 31920 in report.codes
    assert any("403" in error.reason for error in report.errors)
    assert "Stream started" not in place.backend.log


async def test_a_reload_of_nginx_is_not_noticed_on_the_line(place):
    def reload(event: Event) -> None:
        if event.kind == "says":
            place.edge.nginx.send(signal.SIGHUP)

    report = await place_call(
        place.call(Speak(words(), "words"), Speak(words("Rear_Left"), "more"), echo=True, on_event=reload)
    )
    assert report.kept, report.promises


async def test_fifty_callers_notice_nothing_when_your_own_certificate_is_swapped(tmp_path: Path) -> None:
    authority = Authority()
    files = tmp_path / "tls"
    own = {"TLS_CERTIFICATE": str(files / "fullchain.pem"), "TLS_KEY": str(files / "privkey.pem"), "ACME_CA_BUNDLE": ""}
    settings = {"DOMAIN": "callgate.example", "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "PORT": "0", "MAX_CALLS": str(CALLERS)}
    async with backend(tmp_path, **settings) as process:
        port = int((await process.reads(r"listening on http://\S+:(\d+)"))[1])
        with LocalEdge() as edge:
            edge.ca_file.write_bytes(authority.pem)
            edge.start_nginx(port)

            def put_up() -> int:
                authority.issue(edge.domain).write(files)
                done = one_turn(edge, **own)
                assert "served, by the handshake" in done.stdout, done.stdout + done.stderr
                return edge.served_certificate().serial_number

            first = await asyncio.to_thread(put_up)
            talking = asyncio.Event()
            speaking = 0

            def on_event(event: Event) -> None:
                nonlocal speaking
                speaking += event.kind == "says"
                if speaking >= CALLERS:
                    talking.set()

            script = (Speak(words(), "words"), Wait(10.0), Speak(words("Rear_Left"), "more"))
            options = Place(edge, process).call(*script, echo=True, on_event=on_event)
            calls = asyncio.create_task(place_calls(each_its_own(options, CALLERS)))
            await asyncio.wait_for(talking.wait(), 60)
            swapped = await asyncio.to_thread(put_up)
            assert not calls.done(), "the calls ended before the certificate was swapped"
            reports = (await calls).reports
    assert swapped != first
    assert len(reports) == CALLERS
    assert [promise.as_line() for report in reports for promise in report.promises if not promise.kept] == []


async def test_a_backend_that_is_killed_and_stays_away_leaves_the_caller_with_an_apology_not_with_silence(place):
    def kill(event: Event) -> None:
        if event.kind == "first audio":
            place.backend.process.kill()

    report = await place_call(place.call(Hold(), on_event=kill))
    waited = ("Say", "Pause", "Redirect")
    asked = report.verbs.count("Pause")
    assert report.verbs == ("Connect", "Redirect", *waited * asked, "Say", "Hangup")
    assert asked > 3


async def test_a_backend_that_is_killed_in_mid_sentence_comes_back_and_goes_on_where_it_was_cut_off(
    beside: Beside, edge: LocalEdge, tmp_path: Path
) -> None:
    words = [f"word{number}" for number in range(60)]  # ten a second
    speech = tone(6.0, 440)
    long, short = say(speech, " ".join(words)), say(tone(0.6, 660), "As I was saying.")
    port = free_ports(1)[0]
    async with FakeOpenAI(api_key=None) as model:
        model.script = Script(after=lambda turn: long if len(model.connections) == 1 else short)
        settings = {"DOMAIN": edge.domain, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "PORT": str(port)}
        settings |= {"OPENAI_REALTIME_URL": model.url}
        async with backend(tmp_path, **settings) as first, AsyncExitStack() as second:
            await first.reads("listening on")
            other = second.enter_context(beside(port))

            async def supervise() -> None:
                await asyncio.sleep(3.0)  # of the agent's six
                first.process.kill()
                await first.process.wait()
                await second.enter_async_context(backend(tmp_path, **settings))

            supervised: list[asyncio.Task[None]] = []

            def on_event(event: Event) -> None:
                if event.kind == "first audio" and not supervised:
                    supervised.append(asyncio.create_task(supervise()))

            place = Place(other, first)
            report = await place_call(place.call(Wait(9.0), on_event=on_event))
            await asyncio.gather(*supervised)
        await model.all_closed()
    assert report.verbs[0] == report.verbs[-1] == "Connect"
    assert "Pause" in report.verbs  # nginx made the caller wait
    told = [event["item"]["content"][0]["text"] for event in model.events("conversation.item.create")]
    assert len(told) == 1
    heard = told[0].split()
    assert heard == words[: len(heard)]
    played = find(speech, report.heard)[1] // 800  # words
    assert played - 20 <= len(heard) <= played + 2  # the last of them may not have been stored yet
    (back,) = model.events("response.create")[1:]
    assert "cut off" in back["response"]["instructions"]
    assert tone(0.6, 660) in report.heard


async def test_a_caller_who_is_put_through_in_vain_is_back_with_the_agent_and_then_rings_a_person_by_a_key(
    beside: Beside, edge: LocalEdge, tmp_path: Path
) -> None:
    agents = tmp_path / "agents.toml"
    agents.write_text(
        '[default]\ntools = ["transfer_call"]\ntransfer = [{ name = "desk", number = "+15551230009" }]\n'
        'keys.0 = { tool = "transfer_call", to = "desk" }\n'
    )
    announced = tool("transfer_call", to="desk", first=Speech(tone(0.4, 550), "One moment."))
    async with FakeOpenAI(api_key=None) as model:
        model.script = Script((say(tone(0.4, 440)), announced))
        settings = {"DOMAIN": edge.domain, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "PORT": str(free_ports(1)[0])}
        settings |= {"OPENAI_REALTIME_URL": model.url, "AGENTS_FILE": str(agents)}
        async with backend(tmp_path, **settings) as process:
            await process.reads("listening on")
            with beside(int(settings["PORT"])) as other:
                place = Place(other, process)
                report = await place_call(place.call(Speak(words(), "words"), Digits("0"), Hold(), dials=("busy",)))
        await model.all_closed()
    connect = ("Connect", "Redirect")
    assert report.verbs == (*connect, "Dial", *connect, "Say", "Dial", "Hangup")
    assert report.dialled == ("+15551230009", "+15551230009")
    assert report.codes == (31921, 31921)  # both streams were closed from this side


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Yield a folder for temporary files that nginx's workers may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_the_demo_succeeds_shows_what_it_found_and_leaves_nothing_running(tmp_path, scratch):
    out = tmp_path / "out"
    done = subprocess.run(
        [ROOT / "scripts/demo.sh", "--json", "--out", out],
        capture_output=True,
        text=True,
        timeout=150,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.rstrip().endswith("SUCCESS")
    found = json.loads(done.stdout)
    assert found["success"]
    assert found["call"]["correlation"] >= 0.95
    assert "Pebble" in found["certificate"]["issuer"]
    assert sorted(path.name for path in out.iterdir()) == ["call.wav", "timeline.json", "timeline.png"]
    assert list(scratch.glob("callgate-*")) == []


def test_the_demo_says_which_recording_it_can_not_find(tmp_path):
    done = subprocess.run(
        [ROOT / "scripts/demo.sh", "--say", "nothing.wav"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "nothing.wav: name a WAV file with --say" in done.stderr
