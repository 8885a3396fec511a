import io
import json
import logging

import pytest
from callgate.config import Config
from callgate.logs import call_sid, mask_number, mask_stream_url, set_up_logging


@pytest.fixture
def written():
    """What has been logged by a service whose auth token is ``s3cret``, in the format asked for."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()

    def start(**settings) -> io.StringIO:
        set_up_logging(Config(twilio_auth_tokens=("s3cret",), **settings), stream)
        return stream

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_reads_as_the_guide_shows_it(written):
    stream = written()
    logging.getLogger("callgate.x").info("MEDIA STREAM WEBSOCKET ENDPOINT HIT!")
    assert stream.getvalue().endswith("INFO - MEDIA STREAM WEBSOCKET ENDPOINT HIT!\n")


def test_a_line_names_its_call_once(written):
    stream = written()
    token = call_sid.set("CA1")
    logging.getLogger("callgate.x").info("hello")
    logging.getLogger("callgate.x").info("Call: CA1")
    call_sid.reset(token)
    assert [line.partition(" - ")[2] for line in stream.getvalue().splitlines()] == ["hello [CA1]", "Call: CA1"]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_secrets_tokens_and_numbers_never_reach_the_log(written, log_format):
    stream = written(log_format=log_format)
    log = logging.getLogger("callgate.x")
    log.info("token %s from %s", "s3cret", "+15551234567")
    log.warning("wss://h/media-stream/abc.def-123 was asked for")
    try:
        raise ValueError("s3cret +15551234567")
    except ValueError:
        log.exception("it broke")
    text = stream.getvalue()
    assert "s3cret" not in text
    assert "5551234567" not in text
    assert "abc.def-123" not in text
    assert "it broke" in text
    assert "ValueError" in text


def test_json_lines_are_json_with_the_call(written):
    stream = written(log_format="json")
    token = call_sid.set("CA1")
    logging.getLogger("callgate.x").warning("hello %s", "you")
    call_sid.reset(token)
    line = json.loads(stream.getvalue())
    assert (line["message"], line["level"], line["call_sid"], line["logger"]) == (
        "hello you",
        "WARNING",
        "CA1",
        "callgate.x",
    )


def test_log_level_is_kept(written):
    stream = written(log_level="WARNING")
    logging.getLogger("callgate.x").info("hello")
    assert stream.getvalue() == ""


def test_mask_number_leaves_enough_to_tell_numbers_apart():
    assert mask_number("+15551230042") == "+155******42"
    assert mask_number("client") == "client"


def test_mask_stream_url():
    assert mask_stream_url("wss://h/media-stream/t0ken") == "wss://h/media-stream/***"
    assert mask_stream_url("wss://h/media-stream/pr00f/t0ken?x") == "wss://h/media-stream/***?x"
    assert mask_stream_url("wss://h/media-stream") == "wss://h/media-stream"
