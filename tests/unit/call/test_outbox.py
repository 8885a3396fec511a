"""Messages that wait for a socket that is full or not open yet."""

import pytest
from callgate.call.outbox import Outbox


@pytest.fixture
def written():
    return []


def opened(written, *limits: int) -> Outbox:
    outbox = Outbox(*limits)
    outbox.open(written.append)
    return outbox


def test_a_socket_that_takes_what_it_is_sent_gets_it_at_once(written):
    outbox = opened(written, 1)
    for frame in (b"a", b"long", b"c"):
        outbox.put(frame)
    assert written == [b"a", b"long", b"c"]
    assert not outbox.full


def test_what_comes_before_the_socket_is_there_waits_for_it(written):
    outbox = Outbox(10)
    outbox.put(b"a")
    outbox.put(b"b")
    outbox.open(written.append)
    assert written == [b"a", b"b"]


def test_what_comes_while_the_socket_is_full_waits_in_order(written):
    outbox = opened(written, 10)
    outbox.pause()
    outbox.put(b"a")
    outbox.put(b"b")
    assert written == []
    outbox.resume()
    outbox.put(b"c")
    assert written == [b"a", b"b", b"c"]


def test_a_socket_that_is_full_again_while_it_takes_what_waited_gets_no_more(written):
    outbox = Outbox(10)
    for frame in (b"a", b"b", b"c"):
        outbox.put(frame)

    def send(frame: bytes) -> None:
        written.append(frame)
        outbox.pause()

    outbox.open(send)
    assert written == [b"a"]
    outbox.resume()
    assert written == [b"a", b"b"]


def test_beyond_the_limit_the_oldest_droppable_frame_is_dropped_and_counted(written):
    outbox = Outbox(100, 2)
    outbox.put(b"a long one that stays")
    for frame in (b"1", b"2", b"3"):
        outbox.put(frame, droppable=True)
    assert (outbox.dropped, outbox.full) == (1, False)
    outbox.open(written.append)
    assert written == [b"a long one that stays", b"2", b"3"]


def test_without_droppable_frames_it_is_full_and_drops_nothing(written):
    outbox = Outbox(1)
    outbox.put(b"a")
    outbox.put(b"b")
    assert outbox.full
    outbox.open(written.append)
    assert written == [b"a", b"b"]
    assert not outbox.full


def test_what_is_cleared_is_not_written(written):
    outbox = Outbox(10)
    outbox.put(b"a")
    outbox.clear()
    outbox.put(b"b")
    outbox.open(written.append)
    assert written == [b"b"]


def test_what_was_written_no_longer_counts(written):
    outbox = opened(written, 2, 1)
    for frame in (b"a", b"b", b"c"):
        outbox.pause()
        outbox.put(frame, droppable=True)
        outbox.resume()
    assert (outbox.full, outbox.dropped) == (False, 0)
    assert written == [b"a", b"b", b"c"]


def test_two_frames_go_in_one_write_where_the_socket_can(written):
    outbox = Outbox(10)
    outbox.open(written.append, lambda first, second: written.append(first + second))
    outbox.put_both(b"a", b"b")
    assert written == [b"ab"]


def test_two_frames_wait_like_any_others(written):
    outbox = Outbox(10)
    outbox.open(written.append, lambda first, second: written.append(first + second))
    outbox.pause()
    outbox.put(b"a")
    outbox.put_both(b"b", b"c")
    assert written == []
    outbox.resume()
    assert written == [b"a", b"b", b"c"]


def test_nothing_goes_to_a_socket_that_is_gone(written):
    outbox = Outbox(10)
    outbox.open(written.append, lambda first, second: written.append(first + second))
    outbox.shut()
    outbox.put_both(b"a", b"b")
    assert written == []
