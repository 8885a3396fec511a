"""Outbound calls from end to end: the command, the service, a Twilio that rings, and who answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from callgate.peers.phone.options import Address, PhoneOptions, TwilioLimits
from callgate.peers.phone.simulation.script import Wait
from support.fake_openai import FakeOpenAI, Script, say, tone
from support.fixtures import AUTH_TOKEN
from support.outbound_service import THEIRS, Outbound, outbound, twilio_rest
from support.phone_peer import Certificates
from support.service import ACCOUNT
from support.tls_front import tls_front
from support.twilio_rest import FakeTwilioRest, by_name, tls_for_hosts
from support.twilio_rest.exchange import Answers, Exchange

pytestmark = pytest.mark.whole

WORDS = tone(0.3, 440)


@dataclass
class World:
    """A service, its fake Twilio, and the exchange that carries out its calls."""

    service: Outbound
    twilio: FakeTwilioRest
    exchange: Exchange

    @contextlib.asynccontextmanager
    async def command(self, *words: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run ``callgate call`` against the service."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "callgate", "call", "--url", f"http://{self.service.service.address}", *words,
            env={"PATH": os.environ["PATH"], "ADMIN_TOKEN": "the-admin-token", **environ}, cwd="/",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    async def prints(self, *words: str, **environ: str) -> tuple[int | None, str, str]:
        """Return the command's exit code, output and error output."""
        async with self.command(*words, **environ) as process, asyncio.timeout(30):
            out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def world(fake: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Run everything as in production, except for the address of Twilio's name and the trusted CAs."""
    fake.script = Script(after=lambda turn: say(WORDS, "Hello there."))
    certificates = Certificates(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        twilio = await stack.enter_async_context(twilio_rest().serving(tls_for_hosts(certificates.server)))
        stack.enter_context(by_name(twilio.port))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.ca))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "*")
        service = await stack.enter_async_context(outbound(fake.url, tmp_path, None, STORE="on"))
        tls = certificates.server("voice.example.com")
        port = await stack.enter_async_context(tls_front(service.service.address, tls))
        options = PhoneOptions(
            to="",
            auth_token=AUTH_TOKEN,
            account_sid=ACCOUNT,
            connect_to=Address("127.0.0.1", port),
            ca=certificates.ca,
            limits=TwilioLimits(close=1.0),
            max_seconds=20.0,
        )
        yield World(service, twilio, await stack.enter_async_context(Exchange(twilio, options, Answers())))


def steps(printed: str) -> list[str]:
    """Return what the command reported about the call, without times."""
    return [line.split(" s  ", 1)[1] for line in printed.splitlines() if " s  " in line]


async def test_a_human_who_answers_talks_with_the_agent_and_the_command_tells_it_to_the_end(world, fake):
    world.exchange.answers = Answers(script=(Wait(0.5),))
    code, out, err = await world.prints(THEIRS)
    assert (code, err) == (0, "")
    told = steps(out)
    assert told[:2] == ["queued", "being dialled"]
    assert told[-1] == "ended (completed, after 1 s)"
    assert {"ringing", "answered", "the agent talks", "a human answered"} <= set(told)
    assert "Receipt" in out
    assert THEIRS not in out
    (report,) = world.exchange.reports
    assert report.heard.count(WORDS) == 1
    assert fake.upgrades == 1
    assert world.exchange.told[:3] == [("call-status", "initiated"), ("call-status", "ringing"),
                                       ("call-status", "in-progress")]  # fmt: skip


async def test_a_machine_hears_the_message_instead_of_the_agent(world):
    world.exchange.answers = Answers(by="machine_end_beep")
    code, out, _ = await world.prints(THEIRS, "--voicemail", "Please call us back.")
    assert code == 0
    assert steps(out)[-3:-1] == ["a machine answered (machine_end_beep)", "the message was left"]
    (report,) = world.exchange.reports
    assert report.verbs == ("Connect", "Say", "Hangup")
    assert report.ended == "the app hung up"


@pytest.mark.parametrize("by", ["machine_start", "fax"])
async def test_a_machine_and_a_fax_are_hung_up_on(world, by):
    world.exchange.answers = Answers(by=by)
    code, out, _ = await world.prints(THEIRS)
    assert (code, steps(out)[-2]) == (0, "hung up on it")
    (report,) = world.exchange.reports
    assert report.verbs == ("Connect", "Hangup")


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed"])
async def test_a_call_that_nobody_answers_ends_as_that(world, status):
    world.exchange.answers = Answers(status=status)
    code, out, _ = await world.prints(THEIRS)
    assert (code, steps(out)[-1]) == (1, f"ended ({status})")
    assert world.exchange.reports == []


async def test_ctrl_c_hangs_up(world):
    async with world.command(THEIRS) as process, asyncio.timeout(30):
        printed = ""
        while "the agent talks" not in printed:
            line = await process.stdout.readline()
            assert line, printed
            printed += line.decode()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, err) == (130, b"")
    assert "ended (completed" in out.decode()
    assert world.twilio.placed[0].updates == [{"Status": "completed"}]
    await world.exchange.over()
    assert world.exchange.reports[0].ended == "the app hung up"


async def test_as_json_it_is_one_object_with_all_events_and_the_receipt(world):
    world.exchange.answers = Answers(script=(Wait(0.3),))
    code, out, _ = await world.prints(THEIRS, "--json")
    told = json.loads(out)
    assert (code, told["status"], told["over"]) == (0, "completed", True)
    assert [event["number"] for event in told["events"]] == list(range(1, len(told["events"]) + 1))
    assert told["receipt"]["ended"] == "caller_hung_up"


async def test_with_the_same_key_it_follows_the_same_call(world):
    world.exchange.answers = Answers(status="busy")
    for _ in range(2):
        code, out, _ = await world.prints(THEIRS, "--key", "one")
        assert (code, steps(out)[-1]) == (1, "ended (busy)")
    assert len(world.twilio.calls) == 1


@pytest.mark.parametrize(
    ("words", "environ", "why"),
    [
        (["+442079460000"], {}, "not listed in OUTBOUND_ALLOW"),
        ([THEIRS, "--limit", "99999"], {}, "limit is not usable"),
        ([THEIRS], {"ADMIN_TOKEN": "another"}, "This needs the admin token"),
        ([THEIRS], {"ADMIN_TOKEN": ""}, "ADMIN_TOKEN is not set"),
        ([THEIRS, "--url", "http://127.0.0.1:9"], {}, "The service does not answer"),
    ],
)
async def test_what_stops_it_is_said_in_one_line(world, words, environ, why):
    code, out, err = await world.prints(*words, **environ)
    assert (code, out) == (1, "")
    assert why in err
    assert err.count("\n") == 1
    assert world.twilio.calls == []
