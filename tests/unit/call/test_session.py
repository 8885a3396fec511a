"""A call's session between two sockets under the test's control: what it does when either can't keep up."""

import asyncio
import base64
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from callgate.call.model_leg import CALLER_AUDIO_LIMIT
from callgate.call.session import Session
from callgate.call.twilio_leg import TO_TWILIO_LIMIT
from callgate.core.agent import Agent
from callgate.core.receipt import Receipt
from callgate.core.tools.toolbox import HttpTool, Toolbox
from callgate.core.turns.commands import DropModel, NextStep, OpenModel, Outcome
from callgate.core.turns.conversation import CALLER_DEADLINE
from callgate.core.wire.media_stream import Mark, Media, Start, Stop
from callgate.core.wire.media_stream_json import encode_to_app
from callgate.errors import UpstreamError, UpstreamRefused
from callgate.logs.setup import call_sid
from callgate.models.endpoints import Endpoint

START = Start("MZ1", "AC1", "CA1")
AGENT = Agent("Be brief.", "marin", "Hello!")


def caller(number: int) -> bytes:
    """Return the caller's 20 ms with this number."""
    payload = base64.b64encode(number.to_bytes(2, "big") * 80).decode()
    return encode_to_app(Media("MZ1", payload, "inbound", number, number * 20, number)).encode()


def delta(size: int, item: str = "item_1", response: str = "resp_1") -> bytes:
    """Return ``size`` bytes of the agent's speech."""
    audio = base64.b64encode(b"\x7f" * size).decode()
    head = {"type": "response.output_audio.delta", "event_id": "event_1", "response_id": response, "item_id": item}
    return json.dumps({**head, "output_index": 0, "content_index": 0, "delta": audio}, separators=(",", ":")).encode()


class Peer:
    """Either socket. It keeps what it is sent."""

    lost = None
    receiver = None
    confirmed_in = 0.0

    def __init__(self) -> None:
        self.sent: list[dict] = []
        self.closed: int | None = None

    def send_text(self, message: bytes) -> None:
        self.sent.append(json.loads(message))

    def send_texts(self, first: bytes, second: bytes) -> None:
        self.send_text(first)
        self.send_text(second)

    send = send_text

    def of(self, kind: str) -> list[dict]:
        return [message for message in self.sent if kind in (message.get("event"), message.get("type"))]

    def adopt(self, receiver) -> None:
        self.receiver = receiver

    def release(self) -> None: ...

    async def wait_closed(self) -> None: ...


class Twilio(Peer):
    def close(self, code: int, reason: str) -> None:
        self.closed = code


class Model(Peer):
    endpoint = Endpoint("the model", "ws://localhost", model="line-check")

    async def close(self) -> None:
        self.closed = 1000

    @property
    def audio(self) -> bytes:
        return b"".join(base64.b64decode(event["audio"]) for event in self.of("input_audio_buffer.append"))


class Call:
    """A running session."""

    def __init__(self, agent: Agent = AGENT, **told) -> None:
        self.twilio, self.model = Twilio(), Model()
        self.session = Session(START, self.twilio, self.open_model, agent, **told)
        self.running = asyncio.ensure_future(self.session.run())

    async def open_model(self, history, avoided=""):
        return self.model

    async def talks(self) -> "Call":
        """Wait until both sides may speak."""
        async with asyncio.timeout(5):
            while not (self.model.receiver and self.model.of("response.create")):  # noqa: ASYNC110
                await asyncio.sleep(0)
        return self

    def caller_says(self, *frames: bytes) -> None:
        for frame in frames:
            self.session.receiver.text_received(frame)
        self.session.receiver.batch_received()

    async def end(self) -> Outcome:
        self.session.receiver.text_received(encode_to_app(Stop("MZ1", "AC1", "CA1")).encode())
        return (await asyncio.wait_for(self.running, 5)).ended


@pytest.fixture
async def call():
    call = await Call().talks()
    yield call
    await call.end()


async def test_one_frame_is_passed_on_as_it_is(call):
    call.caller_says(caller(1))
    call.caller_says(caller(2))
    assert call.model.audio == (b"\0\1" * 80) + (b"\0\2" * 80)
    assert len(call.model.of("input_audio_buffer.append")) == 2


async def test_frames_that_were_waiting_together_go_on_as_one(call):
    call.caller_says(*(caller(number) for number in range(1, 6)))
    assert len(call.model.of("input_audio_buffer.append")) == 1
    assert call.model.audio == b"".join(number.to_bytes(2, "big") * 80 for number in range(1, 6))


async def test_what_comes_behind_audio_is_not_done_before_it(call):
    for number in (1, 2):
        call.session.receiver.text_received(caller(number))
    assert await call.end() is Outcome.CALLER_HUNG_UP
    assert call.model.audio == (b"\0\1" * 80) + (b"\0\2" * 80)


async def test_a_model_that_stalls_misses_the_oldest_of_the_callers_audio_and_the_operator_is_told(call, caplog):
    call.model.receiver.model_is_full()
    for number in range(1, 1000):
        call.caller_says(caller(number))
    assert call.model.audio == b""
    call.model.receiver.model_takes_more()
    kept = call.model.audio
    assert kept.endswith((999).to_bytes(2, "big") * 80)
    assert 200 * 160 < len(kept) <= CALLER_AUDIO_LIMIT
    await call.end()
    assert f"{999 - len(kept) // 160} frames of the caller's audio were dropped" in caplog.text


async def test_nothing_of_the_agents_is_lost_on_a_twilio_that_takes_nothing_for_a_while(call):
    call.model.receiver.model_sent(delta(800))
    call.session.receiver.pause_writing()
    for _ in range(50):
        call.model.receiver.model_sent(delta(8000))
    assert len(call.twilio.of("media")) == 1
    call.session.receiver.resume_writing()
    assert len(call.twilio.of("media")) == 51
    names = [message["mark"]["name"] for message in call.twilio.of("mark")]
    assert names == [f"0:{800 + 8000 * count}" for count in range(1, 51)]


async def test_what_waits_for_twilio_when_the_caller_speaks_up_is_never_sent(call):
    call.session.receiver.pause_writing()
    for _ in range(5):
        call.model.receiver.model_sent(delta(8000))
    call.model.receiver.model_sent(b'{"type":"input_audio_buffer.speech_started"}')
    call.session.receiver.resume_writing()
    assert [message["event"] for message in call.twilio.sent] == ["clear"]
    assert call.model.of("conversation.item.truncate")


async def test_a_twilio_for_which_ten_minutes_wait_is_given_up():
    call = await Call().talks()
    call.session.receiver.pause_writing()
    for _ in range(TO_TWILIO_LIMIT // 80_000 + 1):
        call.model.receiver.model_sent(delta(60_000))
    end = await asyncio.wait_for(call.running, 5)
    assert (end.ended, end.reason) == (Outcome.STREAM_LOST, "more than ten minutes of audio wait for Twilio")
    assert (call.twilio.closed, call.model.closed) == (1000, 1000)


async def test_a_twilio_that_stays_full_ends_the_call(monkeypatch):
    monkeypatch.setattr("callgate.call.timers.WRITE_DEADLINE", 0.01)
    call = await Call().talks()
    call.session.receiver.pause_writing()
    end = await asyncio.wait_for(call.running, 5)
    assert "accepted no frame for" in end.reason


async def test_a_model_that_stays_full_is_replaced_and_hears_what_it_should_have(monkeypatch):
    monkeypatch.setattr("callgate.call.timers.WRITE_DEADLINE", 0.01)
    call = await Call().talks()
    first, call.model = call.model, Model()
    first.receiver.model_is_full()
    loud = encode_to_app(Media("MZ1", base64.b64encode(b"\x10" * 160).decode(), "inbound", 1, 20, 1)).encode()
    call.caller_says(*[loud] * 30)
    async with asyncio.timeout(5):
        while call.model.audio != b"\x10" * 160 * 30:  # noqa: ASYNC110
            await asyncio.sleep(0)
        while first.closed is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert first.audio == b""
    await call.end()


async def test_a_frame_that_lay_waiting_while_the_loop_was_busy_still_counts(call):
    """When the deadline for the caller's silence is checked late, audio that came in time may still be unread."""
    loop = asyncio.get_running_loop()
    due = loop.time() - CALLER_DEADLINE
    call.session._conversation._last_from_twilio = due - CALLER_DEADLINE
    call.session._deadline.met(due)
    call.caller_says(caller(1))
    call.session._deadline.met(loop.time())
    assert await call.end() is Outcome.CALLER_HUNG_UP  # and no silence was reported before


async def test_a_caller_who_is_silent_is_missed(monkeypatch):
    monkeypatch.setattr("callgate.core.turns.conversation.CALLER_DEADLINE", 0.01)
    assert (await asyncio.wait_for(Call().running, 5)).ended is Outcome.STREAM_LOST


async def test_a_model_that_can_not_be_opened_fails_the_call(monkeypatch):
    async def refused(call, history, avoided=""):
        raise UpstreamRefused("there is none")

    monkeypatch.setattr(Call, "open_model", refused)
    call = Call()
    end = await asyncio.wait_for(call.running, 5)
    assert (end.ended, end.reason, call.twilio.closed) == (Outcome.FAILED, "there is none", 1011)


async def test_what_the_operator_reads_names_the_call_though_the_sockets_do_not(caplog):
    token = call_sid.set("CA1")
    call = await Call().talks()
    call_sid.reset(token)
    named = []
    handler = logging.Handler()
    handler.emit = lambda record: named.append(call_sid.get())
    logging.getLogger("callgate.call.session").addHandler(handler)
    try:
        with caplog.at_level(logging.DEBUG):
            call.session.receiver.text_received(b'{"event":"later"}')
    finally:
        logging.getLogger("callgate.call.session").removeHandler(handler)
    assert named == ["CA1"]
    await call.end()


async def test_a_mark_that_comes_back_is_told_to_the_conversation(call):
    call.model.receiver.model_sent(delta(1600))
    (mark,) = call.twilio.of("mark")
    call.session.receiver.text_received(encode_to_app(Mark("MZ1", mark["mark"]["name"])).encode())
    call.model.receiver.model_sent(b'{"type":"input_audio_buffer.speech_started"}')
    assert not call.twilio.of("clear")  # all of it had been played


class Openings(Call):
    """A call whose sessions after the first are opened when the test says so. ``late`` is the result that a
    cancelled opening still returns some iterations of the loop later, as when both happen at the same moment."""

    def __init__(self, late: Model | UpstreamError | None = None, steps: int = 0) -> None:
        self.late, self.steps = late, steps
        self.opened: list[asyncio.Future[Model]] = []
        self.asked = 0
        self.given_up = 0
        super().__init__()

    async def open_model(self, history, avoided=""):
        self.asked += 1
        if self.asked == 1:
            return self.model
        self.opened.append(asyncio.get_running_loop().create_future())
        try:
            return await self.opened[-1]
        except asyncio.CancelledError:
            self.given_up += 1
            if self.late is None:
                raise
            for _ in range(self.steps):
                await asyncio.sleep(0)
            if isinstance(self.late, UpstreamError):
                raise self.late from None
            return self.late

    async def until(self, condition) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0)


@pytest.mark.parametrize("late", [None, Model(), UpstreamError("reset")], ids=["cancelled", "opened", "failed"])
async def test_a_model_lost_while_its_successor_is_opened_is_followed_by_one_that_knows_more_and_by_no_other(
    late, caplog
):
    call = Openings(late)
    await call.talks()
    call.session._do([OpenModel(0.0, ())])  # the successor, for the next pause
    await call.until(lambda: len(call.opened) == 1)
    call.model.receiver.model_lost("it was reset")
    await call.until(lambda: len(call.opened) == 2)
    await call.until(lambda: call.given_up == 1)
    following = Model()
    call.opened[1].set_result(following)
    await call.until(lambda: following.of("response.create"))
    call.model.receiver.model_sent(delta(800))
    assert call.twilio.of("media")
    assert following.closed is None
    await call.end()
    assert following.closed == 1000
    assert not isinstance(late, Model) or (late.sent, late.closed) == ([], 1000)
    assert "trying again" not in caplog.text


async def test_a_call_is_over_only_when_a_model_that_was_given_up_and_came_all_the_same_is_closed():
    class SlowToClose(Model):
        async def close(self) -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            await super().close()

    call = Openings(late := SlowToClose(), steps=20)
    await call.talks()
    call.session._do([OpenModel(0.0, ())])
    await call.until(lambda: len(call.opened) == 1)
    call.model.receiver.model_lost("it was reset")
    await call.end()
    assert late.closed == 1000


@pytest.mark.parametrize("reason", ["it was reset", ""])
async def test_a_model_is_reported_where_it_is_to_blame(reason):
    failures = []
    call = await Call(at_failure=lambda *failure: failures.append(failure)).talks()
    call.session._do([DropModel(reason), DropModel(reason)])  # once for each session
    await call.end()
    assert failures == ([(call.model, reason)] if reason else [])


async def test_how_a_call_ended_is_known_and_on_record_before_twilio_is_told():
    told = []
    call = Call(at_end=lambda receipt, then: told.append((receipt.ended, receipt.frames_in, call.twilio.closed)))
    await call.talks()
    assert call.session.ending is None
    call.caller_says(caller(1))
    call.session.receiver.text_received(encode_to_app(Stop("MZ1", "AC1", "CA1")).encode())
    assert call.session.ending.outcome is Outcome.CALLER_HUNG_UP
    assert told == []
    receipt = await asyncio.wait_for(call.running, 5)
    assert told == [(Outcome.CALLER_HUNG_UP, 1, None)]
    assert (receipt.ended, call.twilio.closed) == (Outcome.CALLER_HUNG_UP, 1000)


async def test_a_record_that_can_not_be_kept_does_not_keep_the_caller_on_a_dead_line():
    def fails(receipt: Receipt, then: NextStep | None) -> None:
        raise RuntimeError("no room")

    call = Call(at_end=fails)
    await call.talks()
    call.session.receiver.text_received(encode_to_app(Stop("MZ1", "AC1", "CA1")).encode())
    with pytest.raises(RuntimeError, match="no room"):
        await asyncio.wait_for(call.running, 5)
    assert call.twilio.closed == 1000


ASKED = {
    "type": "response.output_item.done",
    "item": {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": '{"what":"it"}'},
}
TOOL = HttpTool("look_up", "Looks it up.", {"type": "object"}, "https://api.example.com/")
EQUIPPED = replace(AGENT, toolbox=Toolbox(http=(TOOL,)))


async def test_a_tool_is_run_beside_the_call_and_the_model_told_what_it_gave():

    async def run(tool: HttpTool, arguments: Mapping[str, Any]) -> str:
        return json.dumps([tool.name, call_sid.get(), arguments])

    call_sid.set("CA1")
    call = await Call(EQUIPPED, run_tool=run).talks()
    call.model.receiver.model_sent(json.dumps(ASKED).encode())
    async with asyncio.timeout(5):
        while not (items := call.model.of("conversation.item.create")):  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert items[0]["item"] == {
        "type": "function_call_output",
        "call_id": "call_1",
        "output": '["look_up", "CA1", {"what": "it"}]',
    }
    await call.end()


async def test_a_call_that_ends_gives_up_the_tool_that_it_waits_for():
    given_up = asyncio.Event()

    async def run(tool: HttpTool, arguments: Mapping[str, Any]) -> str:
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            given_up.set()

    call = await Call(EQUIPPED, run_tool=run).talks()
    call.model.receiver.model_sent(json.dumps(ASKED).encode())
    await asyncio.sleep(0)
    await call.end()
    assert given_up.is_set()
    assert not call.model.of("conversation.item.create")
