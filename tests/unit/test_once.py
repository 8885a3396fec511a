from callgate.once import Once


def test_a_thing_is_new_once():
    met = Once(2)
    assert [met.is_new(thing) for thing in "aab"] == [True, False, True]
    assert "a" in met
    assert "c" not in met


def test_what_was_met_longest_ago_is_forgotten():
    met = Once(2)
    for thing in "abac":
        met.is_new(thing)
    assert [thing in met for thing in "abc"] == [True, False, True]
