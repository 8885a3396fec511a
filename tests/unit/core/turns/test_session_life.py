from callgate.core.turns.session_life import ROLLOVER_AFTER, ROLLOVER_AGAIN, ROLLOVER_AT_LAST, SessionLife


def test_a_session_is_replaced_in_good_time_and_its_successor_has_its_full_length():
    life = SessionLife(0.0)
    assert not life.is_ending(ROLLOVER_AFTER - 1)
    assert life.is_ending(ROLLOVER_AFTER)
    assert life.is_over(ROLLOVER_AT_LAST)
    life.began(ROLLOVER_AT_LAST)
    assert not life.is_ending(ROLLOVER_AT_LAST + ROLLOVER_AFTER - 1)
    assert not life.is_over(ROLLOVER_AT_LAST + ROLLOVER_AFTER)


def test_after_no_successor_could_be_opened_it_is_tried_again_soon_and_the_last_moment_stays():
    life = SessionLife(0.0)
    life.no_successor(ROLLOVER_AFTER)
    assert not life.is_ending(ROLLOVER_AFTER + ROLLOVER_AGAIN - 1)
    assert life.is_ending(ROLLOVER_AFTER + ROLLOVER_AGAIN)
