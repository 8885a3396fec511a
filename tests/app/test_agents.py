"""Calls with the agent of their number, from the webhook to the model's session, and changes of the agents file."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import aiohttp
import pytest
from callgate.agents import AgentBook
from support.fake_openai import At, Close, FakeOpenAI, Faults, Script, say, tone
from support.serve_process import Backend, backend
from support.service import AUTH_TOKEN, BASE_URL, WSS_URL, Line, Service, config_for, new_sid, running, start_frame

pytestmark = pytest.mark.whole

GREETING = tone(0.4)
SALES, OTHER, CALLER = "+15551230001", "+15551230002", "+15557650000"

FILE = f"""
[default]
instructions = "You answer for everybody."
voice = "marin"

[number."{SALES}"]
instructions = "You answer {{called}} for {{caller}}."
voice = "cedar"
model = "gpt-realtime-2.1-mini"
language = "de-DE"
recording_consent = "Dieses Gespräch wird aufgezeichnet."
noise_reduction = "near_field"
turn_detection = {{ type = "semantic_vad", eagerness = "low" }}
tools = ["hang_up", "transfer_call", "send_digits", "take_message"]
transfer = [{{ name = "boss", number = "+15551230009", about = "Anything hard." }}]
http = [{{ name = "order_status", description = "How it stands.", url = "https://api.example.com/" }}]
mcp = [{{ label = "crm", url = "https://crm.example.com/mcp", authorization = "${{CRM_TOKEN}}" }}]
"""
CLOSED = """
[default]
time_zone = "UTC"
language = "en-GB"
hours.when_closed = { say = "We are closed." }
"""


@contextlib.asynccontextmanager
async def serving(fake: FakeOpenAI, folder: Path, document: str = FILE, **settings: str) -> AsyncIterator[Service]:
    """Run a service with these agents."""
    file = folder / "agents.toml"
    file.write_text(document)
    config = config_for(fake.url, folder, AGENTS_FILE=str(file), CRM_TOKEN="the-crm-token", **settings)
    async with running(config) as service:
        yield service


async def called(service: Service, number: str, path: str = "/incoming-call", **params: str) -> ElementTree.Element:
    """Return the answer to Twilio's request about a call to this number."""
    _, document = await service.webhook(path, **{"To": number, "From": CALLER, **params})
    return ElementTree.fromstring(document)


@contextlib.asynccontextmanager
async def on_the_line(service: Service, call_sid: str, document: ElementTree.Element) -> AsyncIterator[Line]:
    """Open the stream that the TwiML asks for."""
    stream = document.find("./Connect/Stream")
    assert stream is not None
    parameters = {parameter.attrib["name"]: parameter.attrib["value"] for parameter in stream}
    async with service.upgrade(stream.attrib["url"].removeprefix(WSS_URL)) as socket:
        stream_sid = new_sid("MZ")
        await socket.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
        await socket.send(start_frame(call_sid, stream_sid, **parameters))
        yield Line(socket, stream_sid)


async def session_of(fake: FakeOpenAI, number: int = 1) -> dict[str, Any]:
    """Return the settings that the model's session of this number was given."""
    session: dict[str, Any] = (await fake.received("session.update", number))["session"]
    return session


def voice(session: dict[str, Any]) -> str:
    return str(session["audio"]["output"]["voice"])


# The agent of a number.


@pytest.mark.parametrize("caller", ["+266696687", "Anonymous"])
async def test_a_caller_who_hides_their_number_has_none_for_the_agent_the_log_and_the_store(
    fake, tmp_path, log, caller
):
    call_sid = new_sid("CA")
    async with serving(fake, tmp_path, STORE="on") as service:
        await called(service, SALES, CallSid=call_sid, From=caller)
        session = await session_of(fake)
        assert session["instructions"].startswith(f"You answer {SALES} for withheld.")
        memory = await service.services.store.memory(call_sid)
        assert memory.call.from_number == "withheld"
    assert "Call from withheld to +*********01" in log.getvalue()


async def test_a_call_has_all_that_its_numbers_agent_has(fake, tmp_path, log):
    fake.script = Script((say(GREETING),))
    async with serving(fake, tmp_path) as service:
        call_sid = new_sid("CA")
        document = await called(service, SALES, CallSid=call_sid)
        async with on_the_line(service, call_sid, document) as line:
            await line.hear(GREETING)
    session = await session_of(fake)
    assert fake.connections[0].model == "gpt-realtime-2.1-mini"
    assert session["instructions"].startswith(f"You answer {SALES} for {CALLER}.")
    assert voice(session) == "cedar"
    listening = session["audio"]["input"]
    assert (listening["turn_detection"]["type"], listening["turn_detection"]["eagerness"]) == ("semantic_vad", "low")
    assert listening["noise_reduction"] == {"type": "near_field"}
    assert listening["transcription"]["language"] == "de"
    named = [tool.get("name") or tool["server_label"] for tool in session["tools"]]
    assert named == ["hang_up", "transfer_call", "send_digits", "take_message", "order_status", "crm"]
    assert session["tools"][-1]["require_approval"] == "never"
    assert "+15551230009" not in str(session["tools"])
    assert "the-crm-token" not in log.getvalue()


async def test_a_call_to_any_other_number_has_the_default(fake, tmp_path):
    async with serving(fake, tmp_path) as service:
        await called(service, OTHER)
        session = await session_of(fake)
    assert (session["instructions"], voice(session)) == ("You answer for everybody.", "marin")
    assert fake.connections[0].model == "gpt-realtime-2.1"


async def test_a_call_that_we_place_has_the_agent_of_the_number_it_comes_from(fake, tmp_path):
    async with serving(fake, tmp_path) as service:
        await service.webhook("/incoming-call", From=SALES, To=CALLER, Direction="outbound-api")
        session = await session_of(fake)
    assert session["instructions"].startswith(f"You answer {SALES} for {CALLER}.")


async def test_consent_is_said_by_twilio_before_anything_else_and_never_again(fake, tmp_path):
    async with serving(fake, tmp_path) as service:
        call_sid = new_sid("CA")
        first = await called(service, SALES, CallSid=call_sid)
        assert [verb.tag for verb in first] == ["Say", "Connect", "Redirect"]
        assert (first[0].text, first[0].get("language")) == ("Dieses Gespräch wird aufgezeichnet.", "de-DE")
        again = await called(service, SALES, "/call-interrupted?resumed=0", CallSid=call_sid)
        assert [verb.tag for verb in again] == ["Connect", "Redirect"]


def failed(path: str) -> dict[str, str]:
    """Return what Twilio adds to its request to the fallback URL."""
    return {"ErrorCode": "11200", "ErrorUrl": BASE_URL + path}


async def test_a_call_that_comes_by_the_fallback_url_is_answered_as_any_other(fake, tmp_path):
    async with serving(fake, tmp_path, STORE="on") as service:
        call_sid = new_sid("CA")
        document = await called(service, SALES, "/call-interrupted", CallSid=call_sid)
        memory = await service.services.switchboard.ledger.memory(call_sid)
    assert [verb.tag for verb in document] == ["Say", "Connect", "Redirect"]
    assert document[0].text == "Dieses Gespräch wird aufgezeichnet."
    assert "/call-interrupted?resumed=0&" in (document.findtext("./Redirect") or "")
    assert memory.call is not None
    assert (memory.call.from_number, memory.call.resumes) == (CALLER, 0)


@pytest.mark.parametrize("store", ["on", "off"])
async def test_a_call_whose_first_answer_did_not_reach_twilio_is_told_of_the_recording(fake, tmp_path, store):
    async with serving(fake, tmp_path, STORE=store) as service:
        call_sid = new_sid("CA")
        await called(service, SALES, CallSid=call_sid)
        again = await called(service, SALES, "/call-interrupted", CallSid=call_sid, **failed("/incoming-call"))
    assert [verb.tag for verb in again] == ["Say", "Connect", "Redirect"]


async def test_out_of_hours_the_fallback_url_tells_so_too(fake, tmp_path):
    async with serving(fake, tmp_path, CLOSED) as service:
        document = await called(service, OTHER, "/call-interrupted")
    assert (document[0].text, document[1].tag) == ("We are closed.", "Hangup")


async def test_a_call_that_was_cut_off_is_not_ended_because_it_is_late_by_then(fake, tmp_path):
    async with serving(fake, tmp_path, CLOSED) as service:
        document = await called(service, OTHER, "/call-interrupted?resumed=1")
    assert [verb.tag for verb in document] == ["Connect", "Redirect"]


async def test_out_of_hours_the_caller_is_told_so_and_no_model_is_opened(fake, tmp_path):
    async with serving(fake, tmp_path, CLOSED) as service:
        document = await called(service, OTHER)
        assert [verb.tag for verb in document] == ["Say", "Hangup"]
        assert (document[0].text, document[0].get("language")) == ("We are closed.", "en-GB")
        assert service.services.switchboard.parking.waiting == 0
    assert fake.upgrades == 0


async def test_a_number_whose_model_is_refused_keeps_no_other_from_its_own(fake, tmp_path):
    fake.faults = (Faults(refuse=503),)
    fake.script = Script((say(GREETING),))
    async with serving(fake, tmp_path) as service:
        await called(service, SALES)
        await fake.until(lambda: fake.upgrades == 1)
        assert (await service.ask("GET", "/readyz"))[0] == 200
        async with service.stream() as line:
            await line.hear(GREETING)


# Other processes, and calls that are resumed.


async def test_another_process_than_the_webhooks_finds_the_calls_agent(fake, tmp_path):
    fake.script = Script(after=lambda turn: say(GREETING))
    call_sid = new_sid("CA")
    async with serving(fake, tmp_path) as first, serving(fake, tmp_path) as second:
        document = await called(first, SALES, CallSid=call_sid)
        await session_of(fake)
        async with on_the_line(second, call_sid, document) as line:
            await line.hear(GREETING)
    assert voice(await session_of(fake, 2)) == "cedar"


async def test_a_call_that_is_fetched_back_has_its_agent_by_the_record(fake, tmp_path):
    fake.script = Script(after=lambda turn: say(GREETING))
    call_sid = new_sid("CA")
    async with serving(fake, tmp_path, STORE="on") as first:
        await called(first, SALES, CallSid=call_sid)
        await session_of(fake)
    async with serving(fake, tmp_path, STORE="on") as second:
        document = ElementTree.fromstring(second.services.switchboard.streams.reconnect(call_sid))
        async with on_the_line(second, call_sid, document) as line:
            await line.hear(GREETING)
    assert voice(await session_of(fake, 2)) == "cedar"


async def test_a_live_call_keeps_its_agent_when_the_file_changes_and_the_model_is_lost(fake, tmp_path, no_backoff):
    fake.script = Script(after=lambda turn: say(GREETING))
    fake.faults = (Faults(at=(At("response.done", Close(1011)),)),)
    file = tmp_path / "agents.toml"
    file.write_text('default.voice = "cedar"')
    config = config_for(fake.url, tmp_path, AGENTS_FILE=str(file))
    book = AgentBook(config)
    async with running(config, agents=book) as service:
        call = await service.call()
        assert voice(await session_of(fake)) == "cedar"
        file.write_text('default.voice = "ash"')
        await book.reload()
        async with service.stream(call):
            assert voice(await session_of(fake, 2)) == "cedar"
        await service.call()
        assert voice(await session_of(fake, 3)) == "ash"


async def test_a_call_that_was_cut_off_has_the_agent_it_had_whatever_the_file_says_by_then(fake, tmp_path):
    fake.script = Script(after=lambda turn: say(GREETING))
    file = tmp_path / "agents.toml"
    file.write_text('default.voice = "cedar"')
    config = config_for(fake.url, tmp_path, AGENTS_FILE=str(file))
    book = AgentBook(config)
    async with running(config, agents=book) as service:
        call_sid = new_sid("CA")
        async with on_the_line(service, call_sid, await called(service, OTHER, CallSid=call_sid)) as line:
            await line.hear(GREETING)
            line.socket.transport.abort()
        await fake.all_closed()
        file.write_text('default.voice = "ash"')
        await book.reload()
        document = await called(service, OTHER, "/call-interrupted?resumed=0", CallSid=call_sid)
        async with on_the_line(service, call_sid, document) as line:
            await line.hear(GREETING)
        assert voice(await session_of(fake, 2)) == "cedar"
        await service.webhook("/call-status", CallSid=call_sid, CallStatus="completed")
        assert service.services.switchboard.assigned.known(call_sid) is None


# The process: start and SIGHUP.


@contextlib.asynccontextmanager
async def process(fake: FakeOpenAI, folder: Path) -> AsyncIterator[tuple[Backend, Service]]:
    """Run ``callgate serve`` in its own folder, where the file may be in its usual place."""
    settings = {"BASE_URL": BASE_URL, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "OPENAI_API_KEY": "sk-test", "STORE": "off"}
    settings |= {"OPENAI_REALTIME_URL": fake.url, "PORT": "0"}
    async with backend(folder, **settings) as started, aiohttp.ClientSession() as http:
        found = await started.reads(r"listening on http://(\S+)")
        yield started, Service(None, found[1], http)


def at_its_usual_place(folder: Path, document: str) -> None:
    (folder / "agents").mkdir(exist_ok=True)
    (folder / "agents/agents.toml").write_text(document)


async def test_a_file_that_cannot_be_used_stops_the_start_with_all_that_is_wrong(tmp_path):
    at_its_usual_place(tmp_path, '[default]\nvoice = 5\ntools = ["fly"]\n')
    async with backend(tmp_path, PORT="0") as started:
        assert await started.ends() == 2
    assert "callgate: agents/agents.toml:2: default.voice: it must be a text" in started.log
    assert "callgate: agents/agents.toml:3: default.tools[0]: 'fly' is not one of" in started.log
    assert "Traceback" not in started.log


async def test_a_file_that_is_named_and_not_there_stops_the_start(tmp_path):
    async with backend(tmp_path, PORT="0", AGENTS_FILE="other.toml") as started:
        assert await started.ends() == 2
    assert "callgate: other.toml: there is no such file (AGENTS_FILE)" in started.log


async def test_sighup_changes_the_agents_of_the_next_calls(fake, tmp_path):
    async with process(fake, tmp_path) as (started, service):
        await service.call()
        assert voice(await session_of(fake)) == "marin"
        at_its_usual_place(tmp_path, 'default.voice = "cedar"')
        started.process.send_signal(signal.SIGHUP)
        await started.reads("Agents from agents/agents.toml: .* Calls from now on have them")
        await service.call()
        assert voice(await session_of(fake, 2)) == "cedar"


async def test_sighup_with_a_bad_file_keeps_the_old_agents_and_tells_what_is_wrong(fake, tmp_path):
    at_its_usual_place(tmp_path, 'default.voice = "cedar"')
    async with process(fake, tmp_path) as (started, service):
        at_its_usual_place(tmp_path, "default.voice = 5\ndefault.tools = 6")
        started.process.send_signal(signal.SIGHUP)
        await started.reads("ERROR - The agents stay as they were: 2 problems")
        assert "ERROR - agents/agents.toml:1: default.voice: it must be a text" in started.log
        assert "ERROR - agents/agents.toml:2: default.tools: it must be a list" in started.log
        await service.call()
        assert voice(await session_of(fake)) == "cedar"


async def test_sighup_when_the_file_is_gone_keeps_the_old_agents_and_tells_so(fake, tmp_path):
    at_its_usual_place(tmp_path, 'default.voice = "cedar"')
    async with process(fake, tmp_path) as (started, service):
        (tmp_path / "agents/agents.toml").unlink()
        started.process.send_signal(signal.SIGHUP)
        await started.reads("ERROR - The agents stay as they were: agents/agents.toml is gone")
        await service.call()
        assert voice(await session_of(fake)) == "cedar"


async def test_sighup_while_it_stops_ends_no_call(fake, tmp_path):
    fake.script = Script((say(GREETING),))
    async with process(fake, tmp_path) as (started, service):
        async with service.stream() as line:
            await line.hear(GREETING)
            started.process.send_signal(signal.SIGTERM)
            await started.reads("Stopping: 1 calls on the line")
            started.process.send_signal(signal.SIGHUP)
            await started.reads("the settings make it. Calls from now on")
            await line.say(b"\xff" * 1600)
            await line.hang_up()
            assert await line.closed() == 1000
        assert await started.ends() == 0
