"""A log that nobody reads: no line blocks the service, none is held for ever, and dropped lines are reported."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterator

import pytest
from callgate.logs.setup import Masking, TextFormatter, call_sid, dropped_lines
from callgate.logs.writer import QueuedLines
from support.project import ROOT

MOST = 100
BIG = "x" * 1000


class Reader:
    """The other end of the log's pipe."""

    def __init__(self) -> None:
        self.fd, self.write_end = os.pipe()
        self.text = ""

    def read_until(self, pattern: str) -> str:
        while not re.search(pattern, self.text):
            piece = os.read(self.fd, 65536)
            assert piece, self.text
            self.text += piece.decode()
        return self.text

    def read_line(self) -> str:
        """Read one line, and not a byte beyond it."""
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self.fd, 1)
        self.text += line.decode()
        return line.decode()


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    for fd in (reader.fd, reader.write_end):
        with contextlib.suppress(OSError):
            os.close(fd)


@pytest.fixture
def handler(reader: Reader) -> Iterator[QueuedLines]:
    handler = QueuedLines(reader.write_end, MOST)
    handler.addFilter(Masking(["s3cret"]))
    handler.setFormatter(TextFormatter())
    yield handler
    os.close(reader.fd)  # anyone still writing gets an error
    handler.end()
    handler.close()


def logged(handler: QueuedLines, *messages: str) -> None:
    for message in messages:
        handler.handle(logging.LogRecord("callgate.x", logging.INFO, __file__, 1, message, None, None))


def stuck(handler: QueuedLines) -> None:
    """Log until nothing more is accepted, and the thread waits for a reader."""
    logged(handler, *[f"line {number} {BIG}" for number in range(1000)])
    assert handler.dropped >= 1000 - MOST - 65536 // len(BIG) - 1


def test_lines_are_written_in_order_cleaned_and_with_their_call(handler, reader):
    token = call_sid.set("CA1")
    logged(handler, "one", "two s3cret")
    call_sid.reset(token)
    text = reader.read_until("two .*\n")
    assert [line.partition(" - ")[2] for line in text.splitlines()] == ["one [CA1]", "two *** [CA1]"]


def test_whoever_logs_does_not_wait_for_whoever_reads_and_is_told_how_much_was_dropped(handler, reader):
    stuck(handler)
    dropped = handler.dropped
    text = reader.read_until(r"WARNING - \d+ lines of the log were dropped")
    assert f"WARNING - {dropped} lines of the log were dropped" in text
    assert handler.dropped == 0
    logged(handler, "on it goes")
    assert reader.read_until("on it goes").count("were dropped") == 1
    numbers = [int(number) for number in re.findall(r"line (\d+) x+\n", reader.text)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 1000 - dropped


def test_a_slow_reader_is_not_told_of_each_line(handler, reader):
    """Each line it reads makes room for one more, which is no reason to report that one."""
    stuck(handler)
    for number in range(50):
        assert f"line {number} x" in reader.read_line()
        logged(handler, f"more {BIG}", f"more {BIG}")
    assert "were dropped" not in reader.text
    assert handler.dropped


def test_the_end_does_not_wait_for_a_reader_for_ever_and_not_twice(handler):
    stuck(handler)
    handler.flush()
    waiter = threading.Thread(target=lambda: [handler.flush() for _ in range(1000)], daemon=True)
    waiter.start()
    waiter.join(20)  # at a second each, this would take a quarter of an hour
    assert not waiter.is_alive()


def test_the_end_waits_for_what_is_being_written(handler, reader):
    logged(handler, *["line"] * 50)
    handler.flush()
    assert os.read(reader.fd, 65536).count(b"\n") == 50


def test_a_reader_that_is_gone_costs_the_lines_and_no_more(handler, reader):
    os.close(reader.fd)
    logged(handler, "one", "two")
    handler.flush()
    assert handler.dropped == 2
    reader.fd = os.open(os.devnull, os.O_RDONLY)  # so that the fixture can close it


def test_a_pipe_that_says_not_now_is_asked_again(handler, reader):
    os.set_blocking(reader.write_end, False)
    logged(handler, *[f"line {number} {BIG}" for number in range(90)])
    text = reader.read_until("line 89 x+\n")
    assert [int(number) for number in re.findall(r"line (\d+) x+\n", text)] == list(range(90))


def test_without_a_standard_error_nothing_is_written_anywhere():
    handler = QueuedLines(None, MOST)
    handler.setFormatter(TextFormatter())
    logged(handler, "one")
    handler.flush()
    assert handler.dropped == 0
    handler.end()


def test_a_record_that_can_not_be_formatted_is_dropped_and_counted(handler, capfd):
    handler.setFormatter(logging.Formatter("%(no_such_field)s"))
    logged(handler, "my foot hurts")
    assert handler.dropped == 1
    assert capfd.readouterr().err == ""


def test_what_is_dropped_is_known_to_whoever_asks(handler, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    assert dropped_lines() == 0
    stuck(handler)
    assert dropped_lines() == handler.dropped > 0


def test_in_the_bundle_nobody_waits_for_the_log_driver():
    text = (ROOT / "docker-compose.prod.yml").read_text()
    (options,) = re.findall(r"^    options: \{(.*)\}$", text, re.MULTILINE)  # of all services
    assert {"mode: non-blocking", "max-buffer-size: 4m"} <= set(options.split(", "))
    services = re.split(r"^\w+:$", text.partition("\nservices:\n")[2], flags=re.MULTILINE)[0]
    assert len(re.findall(r"^  \w+:$", services, re.MULTILINE)) == services.count("    <<: *service\n")
