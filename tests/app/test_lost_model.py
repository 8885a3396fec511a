"""A model that fails in the same way repeatedly, at each kind of event."""

from __future__ import annotations

import pytest
from support.fake_openai import At, Close, Connection, FakeOpenAI, Faults, Reset, Script, failed, say, tone
from support.relayed import meets_the_safety_net
from support.service import config_for, running

GREETING = tone(0.6, 440)
ANSWER = tone(0.4, 660)
WORDS = tone(0.5, 300)
PAUSE = b"\xff" * 8000

pytestmark = pytest.mark.usefixtures("no_backoff")

EVENTS = [
    "session.created", "session.updated", "response.created", "response.output_item.added",
    "conversation.item.added", "response.content_part.added", "response.output_audio.delta",
    "response.output_audio_transcript.delta", "response.output_audio.done", "response.done",
    "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed",
]  # fmt: skip
DOWNFALLS = {
    "close": Close(1011, "internal error"),
    "reset": Reset(),
}


@pytest.mark.parametrize("downfall", DOWNFALLS)
@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.whole
async def test_a_model_that_fails_at_any_event_leads_the_caller_into_the_safety_net(tmp_path, log, event, downfall):
    script = Script((say(GREETING), say(ANSWER)))
    async with (
        FakeOpenAI(script, Faults(at=(At(event, DOWNFALLS[downfall]),)), api_key="sk-test") as fake,
        running(config_for(fake.url, tmp_path)) as service,
    ):
        call = await service.call()
        async with service.stream(call) as line:
            await line.say(WORDS + PAUSE)
            assert await line.closed() == 1011
        await meets_the_safety_net(service, log, call)
        await fake.all_closed()


async def test_a_second_model_goes_on_with_the_call_when_the_first_is_out_of_credit(fake, tmp_path, log):
    def script(connection: Connection) -> Script:
        return Script(after=lambda turn: failed("insufficient_quota") if connection.model == "m1" else say(ANSWER))

    fake.script = script
    async with running(config_for(fake.url, tmp_path, OPENAI_MODEL="m1", OPENAI_FALLBACK_MODEL="m2")) as service:
        async with service.stream() as line:
            await line.listen(lambda line: ANSWER in line.heard)
            await line.hang_up()
            assert await line.closed() == 1000
        async with service.stream() as line:  # so that it does not have to wait for the first model
            await line.hear(ANSWER)
    assert [connection.model for connection in fake.connections] == ["m1", "m2", "m2"]
