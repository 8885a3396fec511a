import pytest
from callgate.core.gate.once import Once, Signatures
from callgate.errors import RequestRefused


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


def test_a_signature_is_for_the_request_that_it_came_with_first():
    met = Signatures(2)
    assert met.is_new("s", "/a", [("x", "1"), ("y", "2")])
    assert not met.is_new("s", "/a", [("y", "2"), ("x", "1")])
    for target, params in (("/b", [("x", "1"), ("y", "2")]), ("/a", [("x", "12")]), ("/a", [])):
        with pytest.raises(RequestRefused):
            met.is_new("s", target, params)
    assert not met.is_new("s", "/a", [("x", "1"), ("y", "2")])


def test_signatures_that_came_longest_ago_are_forgotten():
    met = Signatures(1)
    assert [met.is_new(signature, "/a", []) for signature in "aba"] == [True, True, True]
