"""Twilio's playback buffer: media, mark and clear."""

from __future__ import annotations

import pytest
from callgate.core.wire.media_stream import FRAME_BYTES, PLAYBACK_LIMIT_BYTES, SILENCE
from callgate.errors import MediaStreamError
from callgate.peers.phone.simulation.playback import BUFFER_OVERFLOW, MARK_LIMIT, Playback
from hypothesis import given
from hypothesis import strategies as st

MEDIA = st.tuples(st.just("media"), st.integers(0, 700))
OTHERS = st.sampled_from([("mark", 0), ("clear", 0), ("tick", 0)])


def test_audio_plays_in_order_in_frames_of_20_ms_and_silence_follows() -> None:
    playback = Playback()
    playback.media(b"\x01" * 100)
    playback.media(b"\x02" * 100)

    first, second, third = (playback.tick() for _ in range(3))

    assert (first.audio, first.played) == (b"\x01" * 100 + b"\x02" * 60, FRAME_BYTES)
    assert (second.audio, second.played) == (b"\x02" * 40 + bytes([SILENCE]) * 120, 40)
    assert (third.audio, third.played) == (bytes([SILENCE]) * FRAME_BYTES, 0)


def test_a_mark_on_an_empty_buffer_comes_back_at_once() -> None:
    assert Playback().mark("now") == ("now",)


def test_a_mark_comes_back_with_the_frame_that_plays_the_last_byte_before_it() -> None:
    playback = Playback()
    playback.media(bytes(FRAME_BYTES + 1))
    assert playback.mark("end") == ()
    assert playback.tick().marks == ()
    assert playback.tick().marks == ("end",)


def test_clear_empties_the_buffer_and_gives_all_pending_marks_back() -> None:
    playback = Playback()
    for name in ("a", "b"):
        playback.media(bytes(1000))
        playback.mark(name)
    playback.tick()

    assert playback.clear() == ("a", "b")
    assert (playback.buffered, playback.played, playback.discarded) == (0, FRAME_BYTES, 2000 - FRAME_BYTES)
    assert playback.tick().played == 0


def test_audio_beyond_ten_minutes_is_discarded_and_what_fits_is_kept() -> None:
    playback = Playback()
    assert playback.media(bytes(PLAYBACK_LIMIT_BYTES - 10)) == 0
    assert playback.media(bytes(25)) == 15
    assert playback.buffered == PLAYBACK_LIMIT_BYTES


def test_a_flood_of_marks_is_refused() -> None:
    playback = Playback()
    playback.media(b"\x00")
    for number in range(MARK_LIMIT):
        playback.mark(str(number))
    with pytest.raises(MediaStreamError) as caught:
        playback.mark("one more")
    assert caught.value.code == BUFFER_OVERFLOW


@given(st.lists(MEDIA | OTHERS, max_size=60))
def test_every_mark_comes_back_exactly_once_in_order_and_no_byte_is_unaccounted_for(
    steps: list[tuple[str, int]],
) -> None:
    playback = Playback()
    sent: list[tuple[str, int]] = []  # name, and how many bytes were queued before it
    back: list[str] = []
    heard = bytearray()
    for number, (kind, size) in enumerate(steps):
        match kind:
            case "media":
                playback.media(bytes(number % 256 for _ in range(size)))
            case "mark":
                sent.append((str(number), playback.queued))
                back += playback.mark(str(number))
            case "clear":
                back += playback.clear()
                assert len(back) == len(sent)
            case "tick":
                frame = playback.tick()
                assert len(frame.audio) == FRAME_BYTES
                back += frame.marks
                heard += frame.audio[: frame.played]
        assert playback.played + playback.discarded + playback.buffered == playback.queued
        assert back == [name for name, before in sent if before <= playback.position]
    assert len(heard) == playback.played
    back += playback.clear()
    assert back == [name for name, _ in sent]
