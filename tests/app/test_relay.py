"""A call between Twilio and the model: what each hears, and what ends the call."""

from __future__ import annotations

import asyncio
import json
from xml.etree import ElementTree

import pytest
from callgate.peers.linecheck.realtime.response import Speech
from support.fake_openai import At, Change, Delay, FakeOpenAI, Faults, Script, Send, say, tone, tool, wrong_format
from support.relayed import meets_the_safety_net, until
from support.service import WSS_URL, Line, config_for, new_sid, running, sign, start_frame

GREETING = tone(0.6, 440)
ANSWER = tone(0.4, 660)
WORDS = tone(0.5, 300)
MURMUR = b"\xfe\x7e" * 2000  # too quiet to be taken for speech
PAUSE = b"\xff" * 8000

pytestmark = pytest.mark.usefixtures("both_paths", "no_backoff")


async def test_the_agent_greets_first_and_every_byte_is_heard(service, fake):
    fake.script = Script((say(GREETING),))
    async with service.stream() as line:
        await line.hear(GREETING)


async def test_the_callers_words_reach_the_model_unchanged_and_are_answered(service, fake):
    fake.script = Script((say(GREETING), say(ANSWER)))
    async with service.stream() as line:
        await line.hear(GREETING)
        await line.say(WORDS + PAUSE)
        await line.hear(GREETING + ANSWER)
    assert fake.connections[0].audio.startswith(WORDS)


async def test_no_audio_reaches_a_session_that_is_not_confirmed(fake, tmp_path, log):
    fake.faults = Faults(at=(At("session.updated", Delay(0.3)),))
    fake.script = Script((say(GREETING),))
    async with running(config_for(fake.url, tmp_path)) as service, service.stream() as line:
        await line.say(MURMUR)
        await line.hear(GREETING)
        connection = fake.connections[0]
        types = [event["type"] for event in connection.received]
        assert types[:3] == ["session.update", "response.create", "input_audio_buffer.append"]
        await fake.until(lambda: connection.audio == MURMUR)  # and nothing of it was lost


async def test_the_operator_reads_how_the_call_came_about(service, fake, log):
    fake.script = Script((say(GREETING),))
    async with service.stream() as line:
        await line.hear(GREETING)
    stream = [
        "Creating Media Stream with URL: wss://voice.example.com/media-stream ",
        "MEDIA STREAM WEBSOCKET ENDPOINT HIT!",
        "Media Stream WebSocket connection ACCEPTED from Twilio",
        "Stream started: MZ",
    ]
    model = ["Attempting to connect to ", "Connected to "]  # started at the webhook, in parallel with the stream
    for lines in (stream, model):
        found = [log.getvalue().find(line) for line in lines]
        assert found == sorted(found)
        assert -1 not in found


async def test_the_plain_path_with_the_token_in_the_start_keeps_working(service, fake):
    fake.script = Script((say(GREETING),))
    call = await service.call()
    call.path = "/media-stream"
    async with service.stream(call) as line:
        await line.hear(GREETING)


@pytest.mark.whole
async def test_a_caller_who_speaks_over_the_agent_silences_it_and_the_model_learns_what_was_heard(service, fake):
    fake.script = Script((say(tone(20.0)), say(ANSWER)))
    async with service.stream(hold_marks=True) as line:
        await line.listen(lambda line: len(line.heard) > 16_000)
        heard_of = line.heard
        await line.say(WORDS)
        await line.listen(lambda line: line.clears == 1)
        truncated = await fake.received("conversation.item.truncate")
        await line.say(PAUSE)
        await line.hear(ANSWER)
    assert 0 <= truncated["audio_end_ms"] < len(heard_of) // 8
    assert (truncated["content_index"], truncated["item_id"][:5]) == (0, "item_")


async def test_audio_that_comes_late_after_an_interruption_is_not_heard(fake, tmp_path, log):
    fake.faults = Faults(late_deltas=5)
    fake.script = Script((say(tone(20.0)), say(ANSWER)))
    async with running(config_for(fake.url, tmp_path)) as service, service.stream(hold_marks=True) as line:
        await line.listen(lambda line: len(line.heard) > 16_000)
        await line.say(WORDS + PAUSE)
        await line.listen(lambda line: line.clears == 1)
        await line.hear(ANSWER)


async def test_keys_reach_the_model_as_text(service, fake):
    fake.script = Script((say(GREETING), say(ANSWER)))
    async with service.stream() as line:
        await line.hear(GREETING)
        for digit in "42#":
            await line.send("dtmf", dtmf={"track": "inbound_track", "digit": digit})
        item = (await fake.received("conversation.item.create"))["item"]
        await line.hear(GREETING + ANSWER)
    assert "42#" in item["content"][0]["text"]


async def test_the_agents_goodbye_is_heard_whole_before_the_line_closes_and_the_call_ends(service, fake):
    fake.script = Script((tool("hang_up", first=Speech(GREETING, "Goodbye.")),))
    call = await service.call()
    async with service.stream(call, hold_marks=True) as line:
        await line.hear(GREETING)
        await line.listen(lambda line: len(line.marks) >= 2)
        await fake.received("conversation.item.create")
        await (await line.socket.ping())  # it is still open
        await line.return_marks()
        assert await line.closed() == 1000
    _, document = await service.webhook("/call-interrupted", CallSid=call.call_sid)
    assert [verb.tag for verb in ElementTree.fromstring(document)] == ["Hangup"]


@pytest.mark.parametrize("how", ["stop", "close", "abort"])
async def test_when_the_caller_is_gone_the_models_session_is_closed(service, fake, log, how):
    fake.script = Script((say(GREETING),))
    async with service.stream() as line:
        await line.hear(GREETING)
        if how == "stop":
            await line.hang_up()
            assert await line.closed() == 1000
        elif how == "abort":
            line.socket.transport.abort()
    await fake.all_closed()
    expected = "the caller hung up" if how == "stop" else "the media stream was lost"
    await until(lambda: f"Stream ended: {expected}" in log.getvalue())


async def test_a_stop_right_before_the_close_counts_as_a_hang_up(service, fake, log):
    fake.script = Script((say(GREETING),))
    async with service.stream() as line:
        await line.hear(GREETING)
        await line.hang_up()
        await line.socket.close()
    await until(lambda: "Stream ended" in log.getvalue())
    assert "Stream ended: the caller hung up" in log.getvalue()


async def test_a_call_goes_on_while_the_service_drains_and_none_comes_in(service, fake):
    fake.script = Script((say(GREETING), say(ANSWER)))
    async with service.stream() as line:
        await line.hear(GREETING)
        draining = asyncio.create_task(service.services.switchboard.registry.drain(30))
        await line.say(WORDS + PAUSE)
        await line.hear(GREETING + ANSWER)
        assert "busy" in (await service.webhook("/incoming-call"))[1]
        assert (await service.ask("GET", "/readyz"))[0] == 503
        await line.hang_up()
        await asyncio.wait_for(draining, 10)


async def test_a_service_that_must_stop_closes_the_stream_so_that_twiml_goes_on(service, fake):
    fake.script = Script((say(GREETING),))
    async with service.stream() as line:
        await line.hear(GREETING)
        await service.services.switchboard.registry.drain(0)
        assert await line.closed() == 1001
    await fake.all_closed()


async def test_a_model_that_would_speak_another_format_is_not_heard(tmp_path, log):
    async with (
        FakeOpenAI(Script(), Faults(at=(wrong_format(),)), api_key="sk-test") as fake,
        running(config_for(fake.url, tmp_path)) as service,
    ):
        call = await service.call()
        async with service.stream(call) as line:
            assert await line.closed() == 1011
            assert line.heard == b""
        await meets_the_safety_net(service, log, call)
    assert "audio/pcm" in log.getvalue()


REFUSALS = {
    401: "Check OPENAI_API_KEY",
    403: "Check OPENAI_API_KEY",
    429: "HTTP 429",
    500: "HTTP 500",
    503: "HTTP 503",
}


@pytest.mark.parametrize("status", REFUSALS)
async def test_a_model_that_refuses_leads_into_the_safety_net_and_says_why(tmp_path, log, status):
    async with (
        FakeOpenAI(Script(), Faults(refuse=status), api_key="sk-test") as fake,
        running(config_for(fake.url, tmp_path)) as service,
    ):
        call = await service.call()
        async with service.stream(call) as line:
            assert await line.closed() == 1011
        await meets_the_safety_net(service, log, call)
        status_code, body = await service.ask("GET", "/readyz")
        assert status_code == 503
        assert f"HTTP {status}" in body
    assert REFUSALS[status] in log.getvalue()
    assert "sk-test" not in log.getvalue()


@pytest.mark.parametrize("hang", ["upgrade", "mute", "no server"])
@pytest.mark.whole
async def test_a_model_that_hangs_is_given_up_in_time(tmp_path, log, monkeypatch, hang):
    monkeypatch.setattr("callgate.models.upstream.OPEN_DEADLINE", 0.2)
    monkeypatch.setattr("callgate.models.upstream.CONFIRM_DEADLINE", 0.2)
    faults = Faults(hang_upgrade=hang == "upgrade", mute=hang == "mute")
    async with FakeOpenAI(Script(), faults, api_key="sk-test") as fake:
        url = "ws://127.0.0.1:9/v1/realtime" if hang == "no server" else fake.url
        async with running(config_for(url, tmp_path)) as service:
            call = await service.call()
            async with service.stream(call) as line:
                assert await line.closed() == 1011
            await meets_the_safety_net(service, log, call)


async def test_a_model_out_of_credit_in_mid_call_is_not_asked_again(tmp_path, log):
    quota = {"type": "error", "event_id": "e", "error": {"type": "insufficient_quota", "code": "insufficient_quota",
                                                         "message": "You exceeded your current quota."}}  # fmt: skip
    async with (
        FakeOpenAI(Script(), Faults(at=(At("response.created", Send(quota)),)), api_key="sk-test") as fake,
        running(config_for(fake.url, tmp_path)) as service,
    ):
        call = await service.call()
        async with service.stream(call) as line:
            assert await line.closed() == 1011
        await meets_the_safety_net(service, log, call)
        assert fake.upgrades == 1
    assert "the model reported insufficient_quota (32 characters of text left out)" in log.getvalue()
    assert "You exceeded" not in log.getvalue()  # it could quote what was said


def not_json(line):
    return line.socket.send("}{")


def binary(line):
    return line.socket.send(b"\x00" * 160)


def one_megabyte(line):
    return line.socket.send("x" * 1_000_000)


def one_megabyte_of_audio(line):
    return line.send("media", media={"track": "inbound", "chunk": "1", "timestamp": "0", "payload": "/" * 1_000_000})


def wrong_stream_sid(line):
    line.stream_sid = new_sid("MZ")
    return line.send("media", media={"track": "inbound", "chunk": "1", "timestamp": "0", "payload": "////"})


def second_start(line):
    return line.socket.send(start_frame(new_sid("CA"), line.stream_sid))


def second_connected(line):
    return line.socket.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')


def undecodable_audio(line):
    return line.send("media", media={"track": "inbound", "chunk": "1", "timestamp": "0", "payload": "abc"})


def no_key(line):
    return line.send("dtmf", dtmf={"track": "inbound_track", "digit": ""})


def nameless_mark(line):
    return line.send("mark", mark={})


SKIPPED = [not_json, binary, wrong_stream_sid, second_start, second_connected, undecodable_audio, no_key, nameless_mark]


@pytest.mark.parametrize("odd", SKIPPED)
@pytest.mark.whole
async def test_an_odd_message_of_twilios_is_skipped_and_the_call_goes_on(service, fake, log, odd):
    fake.script = Script((say(GREETING), say(ANSWER)))
    call = await service.call()
    async with service.stream(call) as line:
        await line.hear(GREETING)
        stream_sid = line.stream_sid
        for _ in range(3):
            await odd(line)
        line.stream_sid = stream_sid
        await line.say(WORDS + PAUSE)
        await line.hear(GREETING + ANSWER)
        await line.hang_up()
        assert await line.closed() == 1000
    await until(lambda: "Receipt: " in log.getvalue())
    skipped = [line for line in log.getvalue().splitlines() if "Skipped" in line]
    assert len(skipped) == 2  # it is told once, and counted in the end
    assert all(call.call_sid in line and " WARNING - " in line for line in skipped)
    assert "Skipped 3 messages from Twilio in this call" in skipped[1]
    assert fake.upgrades == 1  # the model noticed nothing


@pytest.mark.parametrize(
    ("digits", "told"), [("a", "A"), ((5, 0), "50"), (("1", "", None, "2", "#"), "12#"), (("3", 10, "d"), "3D")]
)
@pytest.mark.whole
async def test_keys_that_are_written_oddly_are_read(service, fake, digits, told):
    fake.script = Script((say(GREETING), say(ANSWER)))
    async with service.stream() as line:
        await line.hear(GREETING)
        for digit in digits:
            await line.send("dtmf", dtmf={"track": "inbound_track", "digit": digit})
        item = (await fake.received("conversation.item.create"))["item"]
        await line.hear(GREETING + ANSWER)
    assert f": {told}]" in item["content"][0]["text"]


async def test_messages_without_a_sequence_number_are_taken(service, fake):
    fake.script = Script((say(GREETING), say(ANSWER)))
    async with service.stream() as line:
        await line.hear(GREETING)
        frame = {"event": "dtmf", "sequenceNumber": None, "streamSid": line.stream_sid, "dtmf": {"digit": "#"}}
        await line.socket.send(json.dumps(frame))
        await line.hear(GREETING + ANSWER)


async def test_odd_messages_before_the_start_are_skipped(service, fake, log):
    fake.script = Script((say(GREETING),))
    call = await service.call()
    async with service.upgrade(call.path) as socket:
        line = Line(socket, new_sid("MZ"))
        for odd in (second_connected, second_connected, not_json, binary, no_key):
            await odd(line)
        await socket.send(start_frame(call.call_sid, line.stream_sid, token=call.token))
        await line.hear(GREETING)
    assert "Skipped 3 of Twilio's messages before start: frame is not JSON" in log.getvalue()


DELTA = "response.output_audio.delta"
ODD_OF_MODEL = {
    "an error that is null": ("response.created", Send({"type": "error", "event_id": "e", "error": None})),
    "an error that is text": ("response.created", Send({"type": "error", "event_id": "e", "error": "no"})),
    "details that are text": ("response.done", Change(lambda event: {
        **event, "response": {**event["response"], "status_details": "all is well", "usage": [], "output": None}})),
    "numeric ids": ("response.output_audio_transcript.done", Change(lambda event: {
        **event, "item_id": 7, "content_index": "x"})),
    "not JSON": (DELTA, Send("}{")),
    "binary": (DELTA, Send(b"\x00\x01")),
    "no object": (DELTA, Send("[]")),
    "a delta without audio": (DELTA, Send({"type": DELTA, "event_id": "e", "response_id": "r", "item_id": "i"})),
    "a delta that is a number": (DELTA, Send({"type": DELTA, "event_id": "e", "delta": 5})),
}  # fmt: skip
SKIPPED_OF_MODEL = ("not JSON", "binary", "no object", "a delta without audio", "a delta that is a number")


@pytest.mark.parametrize("odd", ODD_OF_MODEL)
@pytest.mark.whole
async def test_an_odd_event_of_the_models_is_skipped_and_the_call_goes_on(fake, tmp_path, log, odd):
    event, fault = ODD_OF_MODEL[odd]
    fake.faults = Faults(at=(At(event, fault, nth=0),))
    fake.script = Script((say(GREETING), say(ANSWER)))
    async with running(config_for(fake.url, tmp_path)) as service, service.stream() as line:
        await line.hear(GREETING)
        await line.say(WORDS + PAUSE)
        await line.hear(GREETING + ANSWER)
        await line.hang_up()
        assert await line.closed() == 1000
    await until(lambda: "Receipt: " in log.getvalue())
    assert fake.upgrades == 1
    skipped = [line for line in log.getvalue().splitlines() if "Skipped" in line]
    assert len(skipped) == (2 if odd in SKIPPED_OF_MODEL else 0)
    assert "Traceback" not in log.getvalue()


@pytest.mark.parametrize("odd", ["}{", b"\x00", {"type": "error", "event_id": "e", "error": None}])
async def test_an_odd_event_does_not_keep_a_session_from_being_opened(fake, tmp_path, log, odd):
    fake.faults = Faults(at=(At("session.updated", Send(odd)), At("session.created", Send(odd))))
    fake.script = Script((say(GREETING),))
    async with running(config_for(fake.url, tmp_path)) as service, service.stream() as line:
        await line.hear(GREETING)
    assert fake.upgrades == 1
    assert log.getvalue().count("Skipped a message from") == 1


@pytest.mark.parametrize("message", [one_megabyte, one_megabyte_of_audio])
async def test_a_message_that_is_far_too_big_ends_its_stream_and_the_call_is_taken_up_again(service, fake, message):
    fake.script = Script((say(GREETING),))
    call = await service.call()
    async with service.stream(call) as line:
        await line.hear(GREETING)
        await message(line)
        assert await line.closed() == 1009
    await fake.all_closed()
    _, document = await service.webhook("/call-interrupted?resumed=0", CallSid=call.call_sid)
    assert "<Connect>" in document


async def test_audio_of_an_odd_number_of_bytes_is_only_audio(service, fake):
    fake.script = Script((say(GREETING), say(ANSWER)))
    async with service.stream() as line:
        await line.hear(GREETING)
        await line.say(WORDS + b"\xff" * 159)
        await line.say(PAUSE)
        await line.hear(GREETING + ANSWER)


@pytest.mark.parametrize("first", [None, "media", "stop"])
@pytest.mark.whole
async def test_a_start_that_never_comes_is_not_waited_for_for_ever(service, fake, log, monkeypatch, first):
    monkeypatch.setattr("callgate.call.reception.START_DEADLINE", 0.2)
    call = await service.call()
    async with service.upgrade(call.path) as socket:
        if first == "media":
            await socket.send('{"event":"media","streamSid":"MZ1","media":{"track":"inbound","payload":"////"}}')
        elif first == "stop":
            await socket.send('{"event":"stop","streamSid":"MZ1","stop":{"accountSid":"AC1","callSid":"CA1"}}')
        await asyncio.wait_for(socket.wait_closed(), 10)
        assert socket.close_code == 1002
    _, document = await service.webhook("/call-interrupted", CallSid=call.call_sid)
    assert ElementTree.fromstring(document).find("./Connect/Stream") is not None  # the next attempt may succeed
    for connection in fake.connections:  # the session that was opened ahead of the stream
        assert [event["type"] for event in connection.received] in ([], ["session.update"])


async def test_a_call_that_ends_while_its_model_is_being_connected_leaves_nothing(tmp_path, log):
    async with (
        FakeOpenAI(Script(), Faults(hang_upgrade=True), api_key="sk-test") as fake,
        running(config_for(fake.url, tmp_path)) as service,
    ):
        async with service.stream() as line:
            await fake.until(lambda: fake.upgrades == 1)
            await line.hang_up()
            assert await line.closed() == 1000
        async with asyncio.timeout(10):  # the time for the connection to the model to end
            while service.services.switchboard.registry.live:  # noqa: ASYNC110 (it does not signal)
                await asyncio.sleep(0)


@pytest.mark.whole
async def test_many_calls_at_once_hear_only_their_own(service, fake):
    async def one_call(number: int) -> None:
        words = tone(0.3, 250 + 40 * number)
        async with service.stream() as line:
            await line.listen(lambda line: len(line.heard) >= 160)
            await line.say(words + PAUSE)
            await line.listen(lambda line: words in line.heard)

    await asyncio.gather(*(one_call(number) for number in range(20)))


@pytest.mark.parametrize("sent", [30, None])
async def test_a_call_that_ends_during_the_handshake_leaves_nothing(service, fake, log, sent):
    """``sent`` is how many bytes of the upgrade are sent before the socket is reset, or None for all."""
    call = await service.call()
    host, port = service.address.split(":")
    request = (
        f"GET {call.path} HTTP/1.1\r\nHost: voice.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"X-Twilio-Signature: {sign(WSS_URL + call.path)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.encode()[:sent])
    await writer.drain()
    if sent is None:
        await until(lambda: "ACCEPTED from Twilio" in log.getvalue())
    writer.transport.abort()
    if sent is None:
        await until(lambda: "closed before it started" in log.getvalue())
    assert await service.ask("GET", "/healthz") == (200, "ok\n")
    assert service.services.switchboard.registry.live == 0
    assert "Traceback" not in log.getvalue()
    assert fake.upgrades <= 1  # the session opened for the call, whose token is still valid
