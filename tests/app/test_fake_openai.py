"""The fake OpenAI is reliable: it behaves when asked to, and misbehaves exactly as told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from callgate.peers.linecheck.realtime.response import Speech, SpeechPace
from support.fake_openai import (
    At,
    Close,
    Delay,
    Drop,
    FakeOpenAI,
    Faults,
    Hang,
    Reset,
    Script,
    Send,
    error_event,
    failed,
    say,
    session_expires,
    tone,
    tool,
    wrong_format,
)
from support.linecheck_driver import WORDS, silence
from support.realtime_client import SESSION, audio_of, closed_with, read_until, send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


@contextlib.asynccontextmanager
async def client(
    fake: FakeOpenAI, *, key: str | None = None, query: str = "?model=gpt-realtime-2.1", **headers: str
) -> AsyncIterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {fake.api_key if key is None else key}", **headers}
    url = fake.url + query
    async with connect(url, additional_headers=headers, proxy=None, close_timeout=1) as websocket:
        yield websocket


async def ask(websocket: ClientConnection) -> list[dict]:
    """Set up the session, request one response, and return all events up to its end."""
    await send(websocket, "session.update", session=SESSION)
    await send(websocket, "response.create")
    return await read_until(websocket, "response.done")


class TestHabits:
    async def test_scripted_answers_come_in_order_then_the_echo(self) -> None:
        async with FakeOpenAI(Script((say(tone(0.5)),))) as fake, client(fake) as websocket:
            first = await ask(websocket)
            assert audio_of(first) == tone(0.5)
            for start in range(0, 4 * 8_000, 1_600):
                audio = (silence(0.5) + WORDS + silence(1.5))[start : start + 1_600]
                await send(websocket, "input_audio_buffer.append", audio=base64.b64encode(audio).decode())
            second = await read_until(websocket, "response.done")
            assert WORDS in audio_of(second)
            assert WORDS in fake.connections[0].audio
            assert fake.violations == []

    async def test_tool_is_asked_for_after_the_speech(self) -> None:
        answer = tool("hang_up", first=Speech(tone(0.2), "Goodbye."), reason="done")
        async with FakeOpenAI(Script((answer,))) as fake, client(fake) as websocket:
            message, call = (await ask(websocket))[-1]["response"]["output"]
            assert message["content"][0]["transcript"] == "Goodbye."
            assert (call["name"], json.loads(call["arguments"])) == ("hang_up", {"reason": "done"})

    async def test_failed_response_says_why(self) -> None:
        async with FakeOpenAI(Script((failed("insufficient_quota"),))) as fake, client(fake) as websocket:
            response = (await ask(websocket))[-1]["response"]
            assert (response["status"], response["output"]) == ("failed", [])
            assert response["status_details"]["error"]["code"] == "insufficient_quota"

    async def test_huge_delta_holds_all_the_audio(self) -> None:
        script = Script((say(tone(2)),), pace=SpeechPace(delta_ms=60_000, times=100))
        async with FakeOpenAI(script) as fake, client(fake) as websocket:
            deltas = [event for event in await ask(websocket) if event["type"] == "response.output_audio.delta"]
            assert len(deltas) == 1

    async def test_session_carries_the_model_of_the_query_and_its_expiry(self) -> None:
        async with FakeOpenAI() as fake, client(fake) as websocket:
            [created] = await read_until(websocket, "session.created")
            assert created["session"]["model"] == "gpt-realtime-2.1"
            assert created["session"]["expires_at"] > 1_700_000_000

    async def test_connections_and_events_are_counted(self) -> None:
        async with FakeOpenAI() as fake:
            assert (fake.upgrades, fake.connections, fake.open_connections) == (0, [], 0)
            async with client(fake) as websocket, client(fake):
                await send(websocket, "response.cancel")
                await fake.received("response.cancel")
                assert fake.open_connections == 2
            await fake.all_closed()
            assert (fake.upgrades, len(fake.connections)) == (2, 2)
            assert [received.connection for received in fake.events_received] == [0]
            assert fake.connections[0].close_code == 1000

    async def test_what_the_client_sends_wrong_is_recorded(self) -> None:
        async with FakeOpenAI() as fake, client(fake) as websocket:
            await websocket.send("[]")
            await send(websocket, "session.update", session={**SESSION, "voice": "marin"})
            await read_until(websocket, "error")
            await read_until(websocket, "error")
            assert len(fake.violations) == 2
            assert "session.voice" in fake.violations[1]


class TestRefusals:
    @pytest.mark.parametrize("key", ["", "of-somebody-else"])
    async def test_wrong_key_is_401_with_a_json_body(self, key: str) -> None:
        async with FakeOpenAI() as fake:
            with pytest.raises(InvalidStatus) as caught:
                async with client(fake, key=key):
                    pass
            assert caught.value.response.status_code == 401
            assert json.loads(caught.value.response.body)["error"]["code"] == "invalid_api_key"
            assert (fake.upgrades, fake.connections) == (1, [])

    @pytest.mark.parametrize("status", [401, 429, 500, 503])
    async def test_upgrade_is_refused_as_told_then_accepted(self, status: int) -> None:
        async with FakeOpenAI(faults=[Faults(refuse=status)]) as fake:
            with pytest.raises(InvalidStatus) as caught:
                async with client(fake):
                    pass
            assert caught.value.response.status_code == status
            assert "error" in json.loads(caught.value.response.body)
            async with client(fake) as websocket:
                await read_until(websocket, "session.created")

    @pytest.mark.parametrize(
        ("headers", "query", "code"),
        [
            ({"OpenAI-Beta": "realtime=v1"}, "?model=gpt-realtime-2.1", "beta_api_shape_disabled"),
            ({}, "", "missing_model"),
        ],
    )
    async def test_what_ga_does_not_take_is_an_error_then_close_4000(
        self, headers: dict[str, str], query: str, code: str
    ) -> None:
        async with FakeOpenAI() as fake, client(fake, query=query, **headers) as websocket:
            [error] = await read_until(websocket, "error")
            assert error["error"]["code"] == code
            assert await closed_with(websocket) == 4000

    async def test_upgrade_hangs(self) -> None:
        async with FakeOpenAI(faults=Faults(hang_upgrade=True)) as fake:
            attempt = asyncio.create_task(client(fake).__aenter__())
            await fake.until(lambda: fake.upgrades == 1)
            assert not attempt.done()
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt


@pytest.mark.whole
class TestFaults:
    async def test_mute_reads_and_never_speaks(self) -> None:
        async with FakeOpenAI(faults=Faults(mute=True)) as fake, client(fake) as websocket:
            await send(websocket, "session.update", session=SESSION)
            await fake.received("session.update")
            assert fake.connections[0].sent == []

    async def test_garbage_comes_before_the_event(self) -> None:
        garbage = ["not json", b"\x00", "[]", {"type": "response.hologram.delta", "event_id": "event_1"}]
        faults = Faults(at=[At("session.created", Send(message)) for message in garbage])
        async with FakeOpenAI(faults=faults) as fake, client(fake) as websocket:
            got = [await websocket.recv() for _ in range(5)]
            assert got[:3] == garbage[:3]
            assert [json.loads(frame)["type"] for frame in got[3:]] == ["response.hologram.delta", "session.created"]
            assert fake.violations == []

    @pytest.mark.parametrize(("action", "code"), [(Close(1011, "sorry"), 1011), (Reset(), 1006)])
    @pytest.mark.parametrize(
        ("at", "nth"), [("session.created", 1), ("response.output_audio.delta", 3), ("*", 2), ("response.done", 1)]
    )
    async def test_connection_ends_at_the_event_told(self, action: Close | Reset, code: int, at: str, nth: int) -> None:
        script = Script((say(tone(1)),))
        async with FakeOpenAI(script, Faults(at=[At(at, action, nth)])) as fake, client(fake) as websocket:
            await fake.until(lambda: len(fake.connections) == 1)
            with contextlib.suppress(ConnectionClosed):
                await send(websocket, "session.update", session=SESSION)
                await send(websocket, "response.create")
            assert await closed_with(websocket) == code
            sent = fake.connections[0].sent
            if at != "*":
                assert sum(event["type"] == at for event in sent) == nth - 1
            else:
                assert len(sent) == nth - 1

    async def test_session_expires_with_an_error_then_close_1001(self) -> None:
        faults = Faults(at=session_expires("response.created"))
        async with FakeOpenAI(faults=faults) as fake, client(fake) as websocket:
            await send(websocket, "session.update", session=SESSION)
            await send(websocket, "response.create")
            error = (await read_until(websocket, "error"))[-1]
            assert error["error"]["code"] == "session_expired"
            assert await closed_with(websocket) == 1001

    @pytest.mark.parametrize("code", ["insufficient_quota", "rate_limit_exceeded", "server_error"])
    async def test_error_event_comes_where_told(self, code: str) -> None:
        faults = Faults(at=[At("response.created", Send(error_event(code)))])
        async with FakeOpenAI(faults=faults) as fake, client(fake) as websocket:
            errors = [event["error"]["code"] for event in await ask(websocket) if event["type"] == "error"]
            assert errors == [code]

    async def test_hang_stops_all_answers_and_keeps_the_socket(self) -> None:
        faults = Faults(at=[At("response.output_audio.delta", Hang())])
        async with FakeOpenAI(Script((say(tone(1)),)), faults) as fake, client(fake) as websocket:
            await send(websocket, "session.update", session=SESSION)
            await send(websocket, "response.create")
            await read_until(websocket, "response.output_audio_transcript.delta")
            await send(websocket, "response.cancel")
            await fake.received("response.cancel")
            assert fake.connections[0].sent[-1]["type"] == "response.output_audio_transcript.delta"
            assert fake.open_connections == 1

    async def test_event_is_dropped(self) -> None:
        faults = Faults(at=[At("session.updated", Drop())])
        async with FakeOpenAI(faults=faults) as fake, client(fake) as websocket:
            types = [event["type"] for event in await ask(websocket)]
            assert types[:2] == ["session.created", "response.created"]

    async def test_event_that_is_delayed_is_not_sent_yet(self) -> None:
        faults = Faults(at=[At("response.created", Delay(60))])
        async with FakeOpenAI(faults=faults) as fake, client(fake) as websocket:
            await send(websocket, "session.update", session=SESSION)
            await send(websocket, "response.create")
            await fake.received("response.create")
            await (await websocket.ping())
            assert fake.connections[0].sent[-1]["type"] == "session.updated"

    async def test_session_updated_echoes_a_wrong_format(self) -> None:
        async with FakeOpenAI(faults=Faults(at=[wrong_format()])) as fake, client(fake) as websocket:
            await send(websocket, "session.update", session=SESSION)
            updated = (await read_until(websocket, "session.updated"))[-1]
            formats = [side["format"]["type"] for side in updated["session"]["audio"].values()]
            assert formats == ["audio/pcm", "audio/pcm"]

    async def test_late_deltas_follow_a_cancelled_response(self) -> None:
        script = Script((say(tone(30)),))
        async with FakeOpenAI(script, Faults(late_deltas=3)) as fake, client(fake) as websocket:
            await send(websocket, "session.update", session=SESSION)
            await send(websocket, "response.create")
            await read_until(websocket, "response.output_audio.delta")
            await send(websocket, "response.cancel")
            await read_until(websocket, "response.done")
            late = await read_until(websocket, "rate_limits.updated")
            assert [event["type"] for event in late[:-1]] == ["response.output_audio.delta"] * 3

    async def test_slow_reader_leaves_the_client_blocked(self) -> None:
        async with FakeOpenAI(faults=Faults(read_interval=30)) as fake, client(fake) as websocket:
            await read_until(websocket, "session.created")
            audio = base64.b64encode(bytes(700_000)).decode()

            async def flood() -> None:
                while True:
                    await send(websocket, "input_audio_buffer.append", audio=audio)

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(flood(), 0.5)
            assert len(fake.events("input_audio_buffer.append")) <= 1
            assert websocket.transport.get_write_buffer_size() > 0
            websocket.transport.abort()
