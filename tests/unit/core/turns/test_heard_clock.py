from callgate.core.turns.heard_clock import FIRST_MARK, MARK_SPACING, Cut, HeardClock

SECOND = 8000


def test_nothing_sent_nothing_heard():
    clock = HeardClock()
    assert clock.position(100.0) == 0
    assert clock.all_returned
    assert clock.interrupt(100.0) == []


def test_between_marks_time_tells_what_was_heard():
    clock = HeardClock()
    clock.sent("item", 2 * SECOND, 10.0)
    assert clock.position(10.5) == SECOND // 2


def test_no_more_is_heard_than_was_sent():
    clock = HeardClock()
    clock.sent("item", SECOND, 10.0)
    assert clock.position(60.0) == SECOND


def test_a_returned_mark_corrects_the_time():
    clock = HeardClock()
    mark = clock.sent("item", FIRST_MARK, 10.0)
    clock.sent("item", 2 * SECOND, 10.0)
    clock.mark_returned(mark, 10.5)  # 300 ms late: the line was slow to start
    assert clock.position(10.6) == FIRST_MARK + SECOND // 10


def test_playing_begins_anew_after_a_pause():
    clock = HeardClock()
    clock.sent("one", SECOND, 10.0)
    clock.sent("two", SECOND, 20.0)
    assert clock.interrupt(20.25) == [Cut("one", 1000), Cut("two", 250)]


def test_marks_are_spaced_and_the_last_piece_gets_one():
    clock = HeardClock()
    assert not clock.sent("item", FIRST_MARK - 1, 0.0)
    assert clock.sent("item", 1, 0.0)
    assert not clock.mark()
    assert not clock.sent("item", MARK_SPACING - 1, 0.0)
    assert clock.sent("item", 1, 0.0)
    assert not clock.sent("item", 1, 0.0)
    assert clock.mark()
    assert not clock.mark()


def test_each_item_has_its_first_mark_soon():
    clock = HeardClock()
    clock.sent("one", 2 * SECOND, 0.0)
    assert not clock.sent("two", FIRST_MARK - 1, 3.0)
    assert clock.sent("two", 1, 3.0)
    clock.interrupt(3.1)
    assert not clock.sent("three", FIRST_MARK - 1, 3.1)
    assert clock.sent("three", 1, 3.1)


def test_an_interruption_cuts_the_item_that_is_heard_and_those_behind_it():
    clock = HeardClock()
    clock.sent("one", SECOND, 0.0)
    clock.item_complete("one")
    clock.sent("two", SECOND, 0.0)
    clock.item_complete("two")
    clock.sent("three", SECOND, 0.0)
    assert clock.interrupt(1.5) == [Cut("two", 500), Cut("three", 0)]


def test_an_item_heard_whole_is_not_cut():
    clock = HeardClock()
    clock.sent("one", SECOND, 0.0)
    clock.item_complete("one")
    assert clock.interrupt(5.0) == []


def test_an_item_the_model_still_speaks_is_cut_though_all_that_came_was_heard():
    clock = HeardClock()
    clock.sent("one", SECOND, 0.0)
    assert clock.interrupt(5.0) == [Cut("one", 1000)]


def test_a_mark_that_the_clear_returned_does_not_count_as_heard():
    clock = HeardClock()
    old = clock.sent("one", FIRST_MARK, 0.0)
    clock.interrupt(0.1)
    clock.sent("two", SECOND, 0.2)
    clock.mark_returned(old, 0.2)
    assert clock.position(0.2) == 0
    assert not clock.all_returned


def test_a_mark_that_is_not_ours_changes_nothing():
    clock = HeardClock()
    clock.sent("one", SECOND, 0.0)
    for name in ("", "x", "0:", "0:x", "0:99999999", "1:8000", "0:-5"):
        clock.mark_returned(name, 0.0)
    assert clock.position(0.0) == 0


def test_all_has_been_heard_when_the_last_mark_is_back():
    clock = HeardClock()
    mark = clock.sent("one", SECOND, 0.0)
    assert clock.ends_at == 1.0
    assert not clock.all_returned
    clock.mark_returned(mark, 1.1)
    assert clock.all_returned
