"""One call with an interruption and a lost model, as printed for its operator: the sample in docs/store.md."""

from __future__ import annotations

from callgate.operator.calls import transcript_lines
from support.fake_openai import At, Close, FakeOpenAI, Faults

from .place import Tls, place
from .scene import Scene

LOST_AT = At(
    "response.output_audio.delta", Close(1011, "internal error"), turn=3
)  # in mid-sentence, after the interruption


async def sample(tls: Tls) -> str:
    """Make the call, and return what ``callgate calls show`` prints for it."""
    scene = Scene(0, with_tool=False)
    async with place(tls, FakeOpenAI(scene.script, (Faults(at=(LOST_AT,)),)), STORE="on") as here:
        call = await here.call(*scene.steps)
        return "\n".join(transcript_lines(await here.record_of(call)))
