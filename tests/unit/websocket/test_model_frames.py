"""Frames of a model session, whole and in parts."""

from __future__ import annotations

from dataclasses import dataclass

from callgate.websocket.model_frames import ModelFrames
from picows import WSMsgType


@dataclass
class Frame:
    msg_type: WSMsgType
    payload: bytes
    fin: int = 1

    def get_payload_as_bytes(self) -> bytes:
        return self.payload


class Receiver:
    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.binary: list[bytes] = []

    def model_sent(self, frame: bytes) -> None:
        self.events.append(frame)

    def model_sent_binary(self, frame: bytes) -> None:
        self.binary.append(frame)

    def model_lost(self, reason: str) -> None:
        raise AssertionError(reason)

    def model_is_full(self) -> None: ...

    def model_takes_more(self) -> None: ...


class Peer:
    def send_close(self, close_code) -> None: ...

    def disconnect(self) -> None: ...


TEXT, BINARY, CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION


def test_a_binary_message_in_parts_is_skipped_whole_and_the_events_around_it_are_not():
    frames, receiver = ModelFrames("the model"), Receiver()
    frames.adopt(receiver)
    for frame in (
        Frame(TEXT, b"1"),
        Frame(BINARY, b"x", 0),
        Frame(CONTINUATION, b"y", 0),
        Frame(CONTINUATION, b"z"),
        Frame(TEXT, b"2a", 0),
        Frame(CONTINUATION, b"2b"),
        Frame(BINARY, b"w"),
        Frame(TEXT, b"3"),
    ):
        frames.came(Peer(), frame)
    assert receiver.events == [b"1", b"2a2b", b"3"]
    assert receiver.binary == [b"x", b"w"]


def test_a_binary_message_that_nobody_receives_is_not_taken_for_an_event():
    frames, receiver = ModelFrames("the model"), Receiver()
    frames.came(Peer(), Frame(BINARY, b"x"))
    frames.came(Peer(), Frame(TEXT, b"1"))
    frames.adopt(receiver)
    assert receiver.events == [b"1"]


def test_a_receiver_that_is_released_by_an_event_gets_none_of_those_after_it() -> None:
    frames = ModelFrames("the model")
    for payload in (b"1", b"2", b"3"):
        frames.came(Peer(), Frame(TEXT, payload))

    class Once(Receiver):
        def model_sent(self, frame: bytes) -> None:
            super().model_sent(frame)
            frames.release()

    first, second = Once(), Receiver()
    frames.adopt(first)
    frames.adopt(second)
    assert (first.events, second.events) == ([b"1"], [b"2", b"3"])
