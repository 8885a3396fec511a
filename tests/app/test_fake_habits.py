"""The habits of the fake OpenAI that a call must not depend on, and responses that are no answers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from callgate.peers.linecheck.realtime.response import ScriptedResponse, Speech, SpeechPace
from support.fake_openai import (
    AT_ONCE,
    NEVER,
    PATIENCE,
    WHEN_IDLE,
    At,
    Away,
    Behind,
    FakeOpenAI,
    Faults,
    Habits,
    Hang,
    Probes,
    Script,
    Slow,
    Thoughts,
    asking,
    empty,
    incomplete,
    interleaved,
    limited,
    muted,
    say,
    tone,
    unspoken,
)
from support.linecheck_driver import WORDS, silence
from support.realtime_client import SESSION, audio_of, closed_with, read_until, send
from websockets.asyncio.client import ClientConnection, connect

PROBE = {"type": "realtime"}
LONG = say(tone(30))
QUICK = SpeechPace(delta_ms=20, times=1000)


@contextlib.asynccontextmanager
async def session(fake: FakeOpenAI) -> AsyncIterator[ClientConnection]:
    """Open a session, and configure it."""
    fake.api_key = None
    async with connect(f"{fake.url}?model=m", proxy=None, close_timeout=1) as websocket:
        await send(websocket, "session.update", session=SESSION)
        await read_until(websocket, "session.updated")
        yield websocket


async def speak(websocket: ClientConnection, audio: bytes) -> None:
    for start in range(0, len(audio), 1_600):
        piece = base64.b64encode(audio[start : start + 1_600]).decode()
        await send(websocket, "input_audio_buffer.append", audio=piece)


async def types_until(websocket: ClientConnection, type: str) -> list[str]:
    return [event["type"] for event in await read_until(websocket, type)]


@pytest.mark.whole
class TestDistance:
    async def test_events_are_late_both_ways_in_order_and_many_at_once(self) -> None:
        script = Script((say(tone(2)),), pace=QUICK)
        now = asyncio.get_running_loop().time
        async with FakeOpenAI(script, habits=Habits(Away(sent=0.3, received=0.2))) as fake:
            began = now()
            async with session(fake) as websocket:
                assert now() - began >= 0.5 + 0.5  # the upgrade, and session.update, with their answers
                await send(websocket, "response.create")
                events = await read_until(websocket, "response.created")
                sent = fake.connections[0].sent
                assert len(sent) > 50  # the others are under way
                events += await read_until(websocket, "response.done")
                assert events == sent[-len(events) - 1 : -1]  # rate_limits.updated comes last
                assert fake.connections[0].sent_at[-1] - fake.events_received[-1].at >= 0.2
        assert fake.violations == []

    async def test_an_event_is_recorded_when_it_arrives_and_answered_when_it_is_read(self) -> None:
        async with FakeOpenAI(faults=Faults(at=(At("session.updated", Slow(0.0, received=60.0)),))) as fake:
            async with session(fake) as websocket:
                await send(websocket, "input_audio_buffer.clear")
                await fake.until(lambda: fake.connections[0].received[-1]["type"] == "input_audio_buffer.clear")
                assert fake.connections[0].sent[-1]["type"] == "session.updated"
            await fake.all_closed()  # though something is under way

    async def test_session_may_become_slow_at_an_event(self) -> None:
        faults = Faults(at=(At("response.created", Slow(60.0)),))
        async with FakeOpenAI(Script((LONG,)), faults) as fake, session(fake) as websocket:
            await send(websocket, "response.create")
            await fake.until(lambda: any("delta" in event["type"] for event in fake.connections[0].sent))
            with pytest.raises(TimeoutError):
                await read_until(websocket, "response.created", patience=0.1)

    async def test_session_far_away_ends_with_all_that_was_said_before(self) -> None:
        async with FakeOpenAI(habits=Habits(Away(sent=0.3)), session_seconds=0.8) as fake, session(fake) as websocket:
            [error] = await read_until(websocket, "error")
            assert error["error"]["code"] == "session_expired"
            assert await closed_with(websocket) == 1001
        assert fake.connections[0].ended_by_fake


class TestProbes:
    @pytest.mark.parametrize(
        ("probes", "while_responding", "after_that"),
        [(AT_ONCE, True, True), (WHEN_IDLE, False, True), (NEVER, False, False), (Probes(after=60.0), False, False)],
    )
    async def test_probe_is_answered_when_told(self, probes: Probes, while_responding: bool, after_that: bool) -> None:
        async with FakeOpenAI(Script((LONG,)), habits=Habits(probes=probes)) as fake, session(fake) as websocket:
            await send(websocket, "response.create")
            await read_until(websocket, "response.output_audio.delta")
            await send(websocket, "session.update", session=PROBE)
            await send(websocket, "input_audio_buffer.clear")
            answers = await types_until(websocket, "input_audio_buffer.cleared")
            assert ("session.updated" in answers) == while_responding
            await send(websocket, "response.cancel")
            answers += await types_until(websocket, "response.done")
            await send(websocket, "input_audio_buffer.clear")
            answers += await types_until(websocket, "input_audio_buffer.cleared")
            assert answers.count("session.updated") == after_that

    async def test_probe_is_answered_after_a_while(self) -> None:
        probes = Probes(after=lambda number: (0.0, 0.2)[number])
        async with FakeOpenAI(habits=Habits(probes=probes)) as fake, session(fake) as websocket:
            for answered_last in (False, True):
                await send(websocket, "session.update", session=PROBE)
                await send(websocket, "input_audio_buffer.clear")
                last = "session.updated" if answered_last else "input_audio_buffer.cleared"
                assert len(await types_until(websocket, last)) == 2

    @pytest.mark.parametrize("probes", [AT_ONCE, Probes(after=0.05)])
    async def test_session_that_hangs_answers_no_probe(self, probes: Probes) -> None:
        faults = Faults(at=(At("input_audio_buffer.cleared", Hang()),))
        async with FakeOpenAI(faults=faults, habits=Habits(probes=probes)) as fake, session(fake) as websocket:
            await send(websocket, "input_audio_buffer.clear")
            await send(websocket, "session.update", session=PROBE)
            await fake.received("session.update", 2)
            with pytest.raises(TimeoutError):
                await read_until(websocket, "session.updated", patience=0.2)

    async def test_what_changes_the_session_is_no_probe(self) -> None:
        async with FakeOpenAI(habits=Habits(probes=NEVER)) as fake, session(fake) as websocket:
            await send(websocket, "session.update", session={**PROBE, "instructions": "Be kind."})
            await read_until(websocket, "session.updated")


class TestThoughts:
    async def test_response_is_thought_about_for_as_long_as_the_seed_says(self) -> None:
        thoughts = Thoughts(0.1, 0.2, seed=7)
        script = Script((say(tone(0.2)), say(tone(0.2))))
        async with FakeOpenAI(script, habits=Habits.thinking(thoughts)) as fake, session(fake) as websocket:
            for number in range(2):
                await send(websocket, "response.create")
                await read_until(websocket, "response.done")
                connection = fake.connections[0]
                at = dict(zip([event["type"] for event in connection.sent], connection.sent_at, strict=True))
                asked = [each.at for each in fake.events_received if each.event["type"] == "response.create"][-1]
                assert at["response.created"] - asked >= thoughts.before_created(number) - 0.001
                assert at["response.output_audio.delta"] - asked >= thoughts.whole(number) - 0.001
        assert thoughts.whole(0) != thoughts.whole(1)
        assert [Thoughts(1, 2, seed=3).whole(5)] == [Thoughts(1, 2, seed=3).whole(5)]

    async def test_server_may_leave_out_an_answer(self) -> None:
        habits = Habits(answers=lambda number: False)
        async with FakeOpenAI(habits=habits) as fake, session(fake) as websocket:
            await speak(websocket, WORDS + silence(1.0))
            await read_until(websocket, "input_audio_buffer.committed")
            await send(websocket, "input_audio_buffer.clear")
            assert "response.created" not in await types_until(websocket, "input_audio_buffer.cleared")
            await send(websocket, "response.create")
            assert WORDS in audio_of(await read_until(websocket, "response.done"))


class TestErrors:
    @pytest.mark.parametrize("names_events", [True, False])
    async def test_error_names_the_event_that_it_is_about_or_none(self, names_events: bool) -> None:
        async with FakeOpenAI(habits=Habits(names_events=names_events)) as fake, session(fake) as websocket:
            await send(websocket, "response.cancel", event_id="mine")
            error = (await read_until(websocket, "error"))[-1]["error"]
            assert error["event_id"] == ("mine" if names_events else None)
            assert fake.errors == [error]

    @pytest.mark.parametrize("late", [False, True])
    async def test_refusal_of_a_second_response_comes_before_the_end_of_the_first_or_behind_it(
        self, late: bool
    ) -> None:
        habits = Habits(refuses_late=late)
        async with FakeOpenAI(Script((LONG,)), habits=habits) as fake, session(fake) as websocket:
            await send(websocket, "response.create")
            await send(websocket, "response.create")
            await send(websocket, "response.cancel")
            got = await types_until(websocket, "rate_limits.updated")
            assert (got.index("error") > got.index("response.done")) == late


class TestOrder:
    @pytest.mark.parametrize(
        ("held", "behind"),
        [
            ("response.created", "response.output_audio.delta"),
            ("response.output_audio.delta", "response.done"),
            ("response.done", "*"),
        ],
    )
    async def test_event_is_sent_behind_another(self, held: str, behind: str) -> None:
        faults = Faults(at=(At(held, Behind(behind, within=PATIENCE)),))
        script = Script((say(tone(0.02)),), pace=QUICK)
        async with FakeOpenAI(script, faults) as fake, session(fake) as websocket:
            await send(websocket, "response.create")
            types = await types_until(websocket, "rate_limits.updated" if held != "response.done" else held)
            assert types.index(held) > types.index("rate_limits.updated" if behind == "*" else behind)
            assert fake.connections[0].sent[-len(types) :][0]["type"] == types[0]

    async def test_speech_may_seem_to_stop_after_it_was_committed(self) -> None:
        faults = Faults(at=(At("input_audio_buffer.speech_stopped", Behind()),))
        async with FakeOpenAI(faults=faults) as fake, session(fake) as websocket:
            await speak(websocket, WORDS + silence(1.0))
            types = await types_until(websocket, "input_audio_buffer.speech_stopped")
            assert types[-2:] == ["input_audio_buffer.committed", "input_audio_buffer.speech_stopped"]

    async def test_event_behind_which_nothing_comes_is_sent_alone(self) -> None:
        faults = Faults(at=(At("session.updated", Behind(within=0.05)),))
        async with FakeOpenAI(faults=faults) as fake, session(fake):
            pass

    async def test_event_that_waits_for_another_is_not_sent_once_the_session_hangs(self) -> None:
        faults = Faults(at=(At("input_audio_buffer.cleared", Behind(within=0.05)), At("error", Hang())))
        async with FakeOpenAI(faults=faults) as fake, session(fake) as websocket:
            await send(websocket, "input_audio_buffer.clear")
            await send(websocket, "response.cancel")
            await fake.received("response.cancel")
            with pytest.raises(TimeoutError):
                await read_until(websocket, "input_audio_buffer.cleared", patience=0.2)


class TestNoAnswers:
    @pytest.mark.parametrize(
        ("response", "status", "details"),
        [
            (empty(), "completed", None),
            (incomplete(), "incomplete", {"type": "incomplete", "reason": "content_filter"}),
            (
                incomplete(asking("hang_up", reason="done"), reason="max_output_tokens"),
                "incomplete",
                {"type": "incomplete", "reason": "max_output_tokens"},
            ),
            (unspoken(), "cancelled", {"type": "cancelled", "reason": "turn_detected"}),
            (muted(), "completed", None),
        ],
    )
    async def test_response_ends_without_a_word(self, response: ScriptedResponse, status: str, details: dict) -> None:
        async with FakeOpenAI(Script((response,))) as fake, session(fake) as websocket:
            await send(websocket, "response.create")
            events = await read_until(websocket, "response.done")
            assert audio_of(events) == b""
            assert (events[-1]["response"]["status"], events[-1]["response"]["status_details"]) == (status, details)
            assert not any(json.dumps({"status": "completed"})[1:-1] in json.dumps(i) for i in _calls(events))
        assert fake.violations == []

    async def test_rate_limit_says_when_to_try_again(self) -> None:
        async with FakeOpenAI(Script((limited(2.5),))) as fake, session(fake) as websocket:
            await send(websocket, "response.create")
            error = (await read_until(websocket, "response.done"))[-1]["response"]["status_details"]["error"]
            assert error["code"] == "rate_limit_exceeded"
            assert "Please try again in 2.5s." in error["message"]
        assert fake.violations == []

    async def test_two_messages_at_once_are_valid_events(self) -> None:
        response = interleaved(Speech(tone(0.4), "One."), Speech(tone(0.4, 550), "Other.", content_index=1))
        async with FakeOpenAI(Script((response,), pace=QUICK)) as fake, session(fake) as websocket:
            await send(websocket, "response.create")
            await read_until(websocket, "response.done")
        assert fake.violations == []

    async def test_transcription_that_fails_is_a_valid_event(self) -> None:
        async with FakeOpenAI(Script(transcript=lambda audio: None)) as fake, session(fake) as websocket:
            audio = {"input": {"transcription": {"model": "gpt-transcribe"}}}
            await send(websocket, "session.update", session={**PROBE, "audio": audio})
            await speak(websocket, WORDS + silence(1.0))
            await read_until(websocket, "conversation.item.input_audio_transcription.failed")
        assert fake.violations == []


def _calls(events: list[dict]) -> list[dict]:
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    return [item for item in items if item["type"] == "function_call"]
