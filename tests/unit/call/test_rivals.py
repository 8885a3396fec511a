"""The session beside the one that serves a call, and how it is handed over."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Callable
from typing import Any

import pytest
from callgate.call.model_sessions import ModelSessions
from callgate.call.rival import Rival
from callgate.core.turns.commands import OpenModel
from callgate.models.endpoints import Endpoint

FIRST, SECOND = (Endpoint(name, "ws://localhost", model=name) for name in ("first", "second"))
SPEAKS = {
    "type": "response.output_audio.delta",
    "response_id": "r",
    "item_id": "i",
    "content_index": 0,
    "delta": "/w==",
}


def frame(event: dict) -> bytes:
    return json.dumps(event).encode()


def refusal(event_id: str | None, code: str) -> bytes:
    return frame({"type": "error", "error": {"code": code, "message": "no", "event_id": event_id}})


class Model:
    """A session under the test's control."""

    confirmed_in = 0.0
    receiver = None

    def __init__(self, endpoint: Endpoint = FIRST) -> None:
        self.endpoint = endpoint
        self.is_closed = False

    def adopt(self, receiver) -> None:
        self.receiver = receiver

    def release(self) -> None:
        self.receiver = None

    async def close(self) -> None:
        self.is_closed = True


class Receiver:
    """The call's side: ``at_frame`` is called with each frame."""

    def __init__(self, at_frame: Callable[[bytes], None]) -> None:
        self.model_sent = at_frame


async def turns_of_the_loop() -> None:
    """Let a session be opened, which needs no time."""
    for _ in range(10):
        await asyncio.sleep(0)


class Sessions:
    """The sessions of a call, which are these, in this order. ``failures``: which of their servers failed."""

    def __init__(self, *models: Model) -> None:
        self.failures: list[str] = []
        self.frames: list[bytes] = []
        self.waiting = list(models)
        self._sessions = ModelSessions(
            self._opened, Receiver(self._came), lambda: None, lambda exc: None, self._failed_at,
            contextvars.copy_context(),
        )  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sessions, name)

    async def _opened(self, history, avoided):
        return self.waiting.pop(0)

    def _came(self, frame: bytes) -> None:
        self.frames.append(frame)
        if b"session_expired" in frame:
            self._sessions.drop("it expired")

    def _failed_at(self, model, reason: str) -> None:
        self.failures.append(model.endpoint.name)

    async def served_and_one_beside(self) -> None:
        """One session serves the call, and a rival of it has spoken."""
        self.open(OpenModel(0.0, ()))
        await turns_of_the_loop()
        self.adopt()
        self.open(OpenModel(0.0, (), beside=True))
        await turns_of_the_loop()
        self.prime(lambda: None, lambda reason: None)
        await asyncio.sleep(0)


async def test_nothing_of_a_rival_reaches_the_call_after_the_event_with_which_it_was_dropped():
    first, rival = Model(), Model()
    sessions = Sessions(first, rival)
    await sessions.served_and_one_beside()
    for event in (frame(SPEAKS), refusal(None, "session_expired"), frame(SPEAKS)):
        rival.receiver.model_sent(event)
    sessions.drop("")
    sessions.adopt()
    await asyncio.sleep(0)
    assert sessions.frames == [frame(SPEAKS), refusal(None, "session_expired")]
    assert rival.receiver is None
    await sessions.close()
    assert (first.is_closed, rival.is_closed) == (True, True)


@pytest.mark.parametrize(("second", "failures"), [(FIRST, []), (SECOND, ["first"])], ids=["the same", "another"])
async def test_a_server_counts_as_failed_only_if_the_call_goes_on_at_another_one(second, failures):
    sessions = Sessions(Model(FIRST), Model(second))
    await sessions.served_and_one_beside()
    sessions.drop("it is silent")
    sessions.adopt()
    assert sessions.failures == failures
    await sessions.close()


@pytest.mark.parametrize(
    ("event", "has_failed"),
    [
        (refusal("ask_1", "rate_limit_exceeded"), True),
        (refusal(None, "insufficient_quota"), True),
        (refusal("ask_1", "conversation_already_has_active_response"), False),
        (refusal(None, "invalid_value"), False),
    ],
    ids=["refused", "no credit", "it answers already", "about something else"],
)
def test_a_rival_whose_request_is_refused_has_failed(event, has_failed):
    failures: list[str] = []
    Rival(Model(), lambda: None, failures.append).model_sent(event)  # type: ignore[arg-type]
    assert bool(failures) is has_failed
