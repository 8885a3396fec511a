"""A model session beside the one that serves the call: it was told everything, and goes on if it speaks first."""

from __future__ import annotations

from collections.abc import Callable

from callgate.core.protocols import realtime_json
from callgate.core.protocols.realtime import AudioDelta, ErrorEvent, FunctionCall, RemoteCallBegan, ResponseDone
from callgate.errors import RealtimeError
from callgate.models.socket import ModelSocket
from callgate.websocket.model_frames import ModelReceiver

MOST_FRAMES = 2_000  # that are kept; a session that was told a long history confirms each of its turns


class Rival:
    """Keeps what a session sends, and notices when it speaks (`callgate.websocket.model_frames.ModelReceiver`).

    ``speaks``: called once, when it speaks or calls a tool. ``failed``: called once with the reason, when it is lost or
    its response fails or is refused.
    """

    def __init__(self, model: ModelSocket, speaks: Callable[[], None], failed: Callable[[str], None]) -> None:
        self.model = model
        self._speaks = speaks
        self._failed = failed
        self._is_decided = False
        self._frames: list[bytes] = []

    def hand_over(self, receiver: ModelReceiver, serves: Callable[[], bool]) -> None:
        """Pass what the session has sent on to ``receiver``, and from now on everything, as long as it ``serves`` the
        call: one of the events may be its last."""
        self._is_decided = True
        frames, self._frames = self._frames, []
        for frame in frames:
            if serves():
                receiver.model_sent(frame)
        if serves():
            self.model.adopt(receiver)

    # Called by the session's socket.

    def model_sent(self, frame: bytes) -> None:
        if len(self._frames) < MOST_FRAMES:
            self._frames.append(frame)
        if self._is_decided:
            return
        try:
            event = realtime_json.parse(frame.decode(errors="replace"))
        except RealtimeError:
            return  # it is skipped when it is handed over, too
        match event:
            case AudioDelta() | FunctionCall() | RemoteCallBegan():
                self._is_decided = True
                self._speaks()
            case ResponseDone() if event.status != "cancelled":
                self._fail(event.why if event.status == "failed" else "its response was empty")
            case ErrorEvent() if event.ends_session or (event.event_id is not None and not event.benign):
                self._fail(event.why)

    def model_sent_binary(self, frame: bytes) -> None: ...

    def model_lost(self, reason: str) -> None:
        self._fail(reason)

    def model_is_full(self) -> None: ...

    def model_takes_more(self) -> None: ...

    def _fail(self, reason: str) -> None:
        if not self._is_decided:
            self._is_decided = True
            self._failed(reason)
