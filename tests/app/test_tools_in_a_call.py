"""Calls in which the agent acts: the model asks, the service acts, and the simulated Twilio executes the TwiML."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from callgate.agents.clips import one_moment
from callgate.errors import StoreError
from callgate.peers.linecheck.realtime.response import ScriptedResponse, Speech
from callgate.peers.phone.call import place_call
from callgate.peers.phone.options import Address, PhoneOptions
from callgate.peers.phone.simulation.report import CallReport
from callgate.peers.phone.simulation.script import Digits, Hold, Speak, Wait
from callgate.peers.phone.wav import encode
from support.fake_openai import Connection, FakeOpenAI, Script, asking, say, tone, tool, tools
from support.fixtures import AUTH_TOKEN
from support.phone_peer import App, Certificates, Leg, serving
from support.service import ACCOUNT, BASE_URL, Service, config_for, running
from support.tls_front import tls_front

pytestmark = pytest.mark.whole

HUMAN, SALES = "+15551230009", "+15551230008"
ONE_MOMENT = base64.b64decode(one_moment())
WORDS = Speak(encode((0.25 * np.random.default_rng(1).standard_normal(4000)).astype(np.float32)))
AGENTS = """
[default]
tools = ["hang_up", "transfer_call", "send_digits", "take_message"]
transfer = [
  {{ name = "front_desk", number = "+15551230009", ring_seconds = 5 }},
  {{ name = "sales", number = "+15551230008" }},
]
http = [
  {{ name = "weather", description = "The weather.", url = "https://localhost:{port}/weather", timeout_seconds = 20 }},
  {{ name = "order", description = "Orders it.", url = "https://localhost:{port}/order" }},
]
keys.0 = {{ tool = "transfer_call", to = "front_desk" }}
keys.5 = {{ tool = "weather", city = "Bonn" }}
"""


def agent(text: str) -> Speech:
    return Speech(tone(0.3), text)


class Place:
    """A service whose agent has every tool, and a simulated Twilio to call it. ``server`` is the owner's."""

    def __init__(self, service: Service, fake: FakeOpenAI, port: int, certificates: Certificates) -> None:
        self.service, self.fake, self._port, self._ca = service, fake, port, certificates.ca

    def answers(self, *sessions: Sequence[ScriptedResponse]) -> None:
        """Set what each of the model's sessions says and asks for, turn by turn."""

        def script(connection: Connection) -> Script:
            return Script(sessions[connection.number], after=lambda turn: say(tone(0.3), "Yes."))

        self.fake.script = script

    async def call(self, *script: Any, **options: Any) -> CallReport:
        report = await place_call(
            PhoneOptions(
                to=f"{BASE_URL}/incoming-call",
                auth_token=AUTH_TOKEN,
                account_sid=ACCOUNT,
                script=script,
                connect_to=Address("127.0.0.1", self._port),
                ca=self._ca,
                ring_seconds=0.1,
                max_seconds=60.0,
                status_callback=f"{BASE_URL}/call-status",
                **options,
            )
        )
        broken = [promise.what for promise in report.promises if not promise.kept]
        assert broken in ([], ["the caller comes to the end of its script"])  # if the app ends the call
        return report

    def outputs(self) -> list[Any]:
        """Return the tool results that the model was told, in the order of its sessions."""
        items = [event["item"] for event in self.fake.events("conversation.item.create")]
        return [json.loads(item["output"]) for item in items if item["type"] == "function_call_output"]

    def notes(self, session: int) -> list[str]:
        """Return the notes in brackets that a session was given."""
        events = self.fake.connections[session].received
        items = [event["item"] for event in events if event["type"] == "conversation.item.create"]
        texts = [item["content"][0]["text"] for item in items if item["type"] == "message"]
        return [text for text in texts if text.startswith("[")]


async def weather(request: Any) -> web.Response:
    await asyncio.sleep(1.5)  # a slow server
    return web.json_response({"sunny": True})


def order(request: Any) -> web.Response:
    return web.Response(status=500, text="no")


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
async def server(certificates: Certificates) -> AsyncIterator[App]:
    """Run the owner's server."""
    async with serving(App({"/weather": weather, "/order": order}, Leg.drain), certificates.server("localhost")) as app:
        yield app


Start = Callable[[], contextlib.AbstractAsyncContextManager[Place]]


@pytest.fixture
def start(
    fake: FakeOpenAI, server: App, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Start:
    agents = tmp_path / "agents.toml"
    agents.write_text(AGENTS.format(port=server.port))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    settings = {"AGENTS_FILE": str(agents), "HTTP_TOOLS_ALLOW": f"localhost:{server.port}"}

    @contextlib.asynccontextmanager
    async def started() -> AsyncIterator[Place]:
        config = config_for(fake.url, tmp_path, STORE="on", **settings)
        async with (
            running(config) as service,
            tls_front(service.address, certificates.server("voice.example.com")) as port,
        ):
            yield Place(service, fake, port, certificates)

    return started


async def test_a_call_that_uses_every_tool_but_one_ends_with_the_person_whom_a_key_rang(start, log, monkeypatch):
    monkeypatch.setattr("callgate.core.turns.comfort.THINKING", 0.7)  # so that the slow server is slow enough
    async with start() as place:
        place.answers(
            [
                say(tone(0.3), "Hello."),
                tools(asking("weather", city="Bonn"), asking("order", what="a pizza"), first=agent("Let me look.")),
                say(tone(0.3), "It is sunny, and there is no pizza."),
                tool("take_message", text="No pizza!", name="Ada", callback="+15551239999"),
                say(tone(0.3), "I wrote it down."),
                tool("send_digits", digits="12#", first=agent("I press the keys.")),
            ],
            [say(tone(0.3), "Done."), tool("transfer_call", to="front_desk", first=agent("One moment."))],
            [say(tone(0.3), "Nobody is there."), say(tone(0.3), "It is still sunny.")],
        )
        report = await place.call(
            WORDS, Wait(3.0), WORDS, WORDS, WORDS, Digits("5"), Wait(3.0), Digits("0"), Hold(), dials=("no-answer",)
        )  # fmt: skip
        found = await place.service.services.store.call(report.call_sid)
    connect = ("Connect", "Redirect")
    assert report.verbs == (*connect, "Play", *connect, "Dial", *connect, "Say", "Dial", "Hangup")
    assert (report.digits, report.dialled) == (("12#",), (HUMAN, HUMAN))
    assert ONE_MOMENT in report.heard  # while the server was slow
    outputs = place.outputs()
    assert {"sunny": True} in outputs[:2]
    assert any("500" in str(output.get("error")) for output in outputs[:2])
    assert outputs[2] == {"ok": True}  # the message
    assert place.notes(2)[-1] == '[The caller pressed 5, and the tool weather gave: {"sunny": true}]'
    assert place.notes(1)[-1] == "[These keys were sent into the line: 12#]"
    assert any("to front_desk, and nobody answered" in note for note in place.notes(2))
    assert [(message.text, message.name) for message in found.messages] == [("No pizza!", "Ada")]
    assert (found.call.outcome, found.call.resumes) == ("transferred", 0)
    assert not [secret for secret in (HUMAN, "No pizza", "12#", "+15551239999") if secret in log.getvalue()]


async def test_the_agent_goes_on_when_the_line_is_busy_and_hangs_up_when_it_said_goodbye(start):
    async with start() as place:
        place.answers(
            [say(tone(0.3), "Hello."), tool("transfer_call", to="sales", first=agent("I put you through."))],
            [say(tone(0.3), "They are busy."), tool("hang_up", first=agent("Goodbye."))],
        )
        report = await place.call(WORDS, WORDS, Hold(), dials=("busy",))
        found = await place.service.services.store.call(report.call_sid)
    assert report.verbs == ("Connect", "Redirect", "Dial", "Connect", "Redirect", "Hangup")
    assert report.dialled == (SALES,)
    assert "to sales, and the line was busy" in place.notes(1)[-1]
    assert (found.call.outcome, found.call.resumes) == ("goodbye", 0)
    assert [turn.text for turn in found.turns if turn.role == "agent"] == [
        "Hello.", "I put you through.", "They are busy.", "Goodbye.",
    ]  # fmt: skip


async def test_somebody_who_answers_has_the_caller_to_the_end(start):
    async with start() as place:
        place.answers([say(tone(0.3), "Hello."), tool("transfer_call", to="sales", first=agent("One moment."))])
        report = await place.call(WORDS, Hold())
    assert report.verbs == ("Connect", "Redirect", "Dial", "Hangup")
    assert len(place.fake.connections) == 1


async def test_the_agent_rings_nobody_a_fourth_time(start):
    async with start() as place:
        again = tool("transfer_call", to="sales", first=agent("I try."))
        place.answers(*[[say(tone(0.2), "Hello."), again]] * 4)
        report = await place.call(*[WORDS] * 4, dials=("busy", "failed", "no-answer"))
    assert len(report.dialled) == 3
    assert "nobody answered 3 times" in place.outputs()[-1]["error"]


async def test_a_message_that_can_not_be_kept_is_told_to_the_model_as_that(start, log):
    async with start() as place:
        place.answers([say(tone(0.2), "Hello."), tool("take_message", text="No pizza!")])
        keep = place.service.services.store.keep_message
        place.service.services.store.keep_message = failing
        await place.call(WORDS)
        place.service.services.store.keep_message = keep
    assert "could not be kept" in place.outputs()[0]["error"]
    assert "No pizza" not in log.getvalue()


async def failing(call_sid: str, message: Any) -> None:
    raise StoreError("the disk is full")
