"""What the operator is told of messages that a call skips."""

from __future__ import annotations

import contextvars
import logging

import pytest
from callgate.call.odd_messages import MOST_KINDS, OddMessages
from callgate.errors import RealtimeError


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}
    return [record.getMessage() for record in caplog.records]


def test_each_kind_is_told_once_whatever_its_size_and_all_are_counted(caplog):
    odd = OddMessages("the model", contextvars.copy_context())
    for size in range(100):
        odd.skip(RealtimeError(f"a frame of {size} bytes"))
        odd.skip(RealtimeError(f"not JSON: {'x' * size}"))
    assert told(caplog) == [
        "Skipped a message from the model: a frame of 0 bytes",
        "Skipped a message from the model: not JSON: ",
    ]
    odd.report()
    assert told(caplog)[-1] == "Skipped 200 messages from the model in this call"


def test_a_peer_can_not_fill_the_log(caplog):
    odd = OddMessages("the model", contextvars.copy_context())
    for number in range(1000):
        odd.skip(RealtimeError("x" * number))
    assert len(told(caplog)) == MOST_KINDS
    assert odd.count == 1000


def test_where_nothing_was_skipped_nothing_is_told(caplog):
    OddMessages("the model", contextvars.copy_context()).report()
    assert told(caplog) == []
