from callgate.core.turns.session_life import ROLLOVER_AFTER, ROLLOVER_AGAIN, ROLLOVER_AT_LAST, Successor, Tenure


def test_a_successor_that_could_not_be_opened_is_tried_again_and_the_last_moment_stays_where_it_was():
    tenure = Tenure(0.0)
    late = ROLLOVER_AT_LAST - 1
    tenure.successor = Successor.OPENING
    tenure.no_successor(late)
    assert tenure.successor is Successor.NONE
    assert not tenure.is_ending(late)
    assert tenure.is_ending(late + ROLLOVER_AGAIN)
    assert tenure.is_over(ROLLOVER_AT_LAST)


def test_a_session_that_begins_has_its_whole_hour():
    tenure = Tenure(0.0)
    tenure.began(1000.0)
    assert not tenure.is_ending(1000.0 + ROLLOVER_AFTER - 1)
    assert not tenure.is_over(1000.0 + ROLLOVER_AT_LAST - 1)
