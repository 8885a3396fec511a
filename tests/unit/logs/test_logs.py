import io
import json
import logging
import re

import aiosqlite  # noqa: F401 (the store imports it later)
import asyncpg  # noqa: F401
import callgate.peers.linecheck.server
import callgate.web.server  # noqa: F401
import pytest
from callgate.config.settings import Config
from callgate.errors import UpstreamError
from callgate.logs.setup import call_sid, mask_stream_url, set_up_logging


@pytest.fixture
def written():
    """Yield the log of a service whose auth token is ``s3cret``, in the requested format."""
    root, ours = logging.getLogger(), logging.getLogger("callgate")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    stream = io.StringIO()

    def start(**settings) -> io.StringIO:
        set_up_logging(Config(twilio_auth_tokens=("s3cret",), **settings), stream)
        return stream

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)


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


def test_json_lines_have_umlauts_that_people_can_read(written):
    stream = written(log_format="json")
    logging.getLogger("callgate.x").warning("put through to %s \ud800", "Jürg")
    assert "put through to Jürg" in stream.getvalue()
    json.loads(stream.getvalue().encode())


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


def test_mask_stream_url():
    assert mask_stream_url("wss://h/media-stream/t0ken") == "wss://h/media-stream/***"
    assert mask_stream_url("wss://h/media-stream/pr00f/t0ken?x") == "wss://h/media-stream/***?x"
    assert mask_stream_url("wss://h/media-stream") == "wss://h/media-stream"


# Libraries.


SAID = "params: ['my foot hurts', '+15551230000'], ring 5551230000\r\nINFO - forged \x1b[2J"


def libraries() -> list[str]:
    """Return every existing logger outside callgate. The imports above load the service's libraries."""
    known = [name for name in logging.root.manager.loggerDict if name.split(".")[0] != "callgate"]
    return [*known, "hypercorn.error", "one.that.will.be", "callgates", "callgate_x.y", "root"]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_every_library_is_silent_below_warning_at_any_level_of_ours_and_cleaned_above(written, log_format):
    stream = written(log_level="DEBUG", log_format=log_format)
    names = libraries()
    assert {"aiosqlite", "asyncio", "picows.upstream", "websockets.linecheck"} <= set(names)
    for name in names:
        library = logging.getLogger(name)
        before, library.level = library.level, logging.DEBUG  # like one that was told to log
        try:
            library.debug(SAID)
            library.info("said: %s", SAID, exc_info=ValueError(SAID))
            assert stream.getvalue() == "", name
            library.warning("said: %s", SAID, extra={"parameters": SAID})
            library.error("it broke", exc_info=ValueError(SAID), stack_info=True)
        finally:
            library.setLevel(before)
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        assert text.count("params") == 2, name
        assert "ValueError: params" in text, name
        assert not [word for word in ("foot", "555123", "forged", "\x1b", "u001b") if word in text], name


def test_a_library_does_not_even_put_together_what_is_not_heard(written):
    written(log_level="DEBUG")
    assert not logging.getLogger("aiosqlite").isEnabledFor(logging.INFO)
    assert logging.getLogger("callgate.x").isEnabledFor(logging.DEBUG)


# Lines.


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_in_a_message_forges_a_line_or_drives_a_terminal(written, log_format):
    stream = written(log_format=log_format)
    every = "".join(map(chr, [*range(32), *range(127, 160), 0x2028, 0x2029, 0x202E, 0x2066, 0xFEFF, 0xD800]))
    logging.getLogger("callgate.x").info(f"a{every}\r\n2026-11-23 10:00:00,000 INFO - forged{every}")
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert "u001b" not in line
    assert "forged" in line


def test_an_id_of_a_call_that_is_none_forges_no_line_either(written):
    stream = written()
    token = call_sid.set("CA1]\nforged" + "x" * 1000)
    logging.getLogger("callgate.x").info("hello")
    call_sid.reset(token)
    (line,) = stream.getvalue().splitlines()
    assert len(line) < 200


def test_a_message_has_a_bound(written):
    stream = written()
    logging.getLogger("callgate.x").info("x" * 1_000_000)
    assert len(stream.getvalue()) < 2_200
    assert "998000 characters more" in stream.getvalue()


def test_a_message_that_can_not_be_put_together_harms_nobody(written):
    stream = written()

    class Broken:
        def __str__(self) -> str:
            raise ValueError("my foot hurts")

    logging.getLogger("callgate.x").info("%d %s", "my foot", "hurts")
    logging.getLogger("callgate.x").info("%s", Broken())
    assert stream.getvalue().count("can't be formatted, from test_logs, line ") == 2
    assert "foot" not in stream.getvalue()


# Tracebacks.


def fail(text: str, kind: type[Exception] = ValueError) -> None:
    raise kind(text)


def test_a_traceback_shows_where_and_of_what_type_and_no_more_of_a_text_than_may_be_shown(written):
    stream = written()
    try:
        try:
            fail("'my foot hurts' at 5551230000\nDETAIL: Failing row contains (my foot hurts)")
        except ValueError as exc:
            raise UpstreamError("the model closed the session: 1011") from exc
    except UpstreamError:
        logging.getLogger("callgate.x").exception("it broke")
    text = stream.getvalue()
    assert re.search(r'File ".*test_logs.py", line \d+, in fail\n', text)
    assert "ValueError: '…' at ********00 …\n" in text
    assert "direct cause" in text
    assert "callgate.errors.UpstreamError: the model closed the session: 1011\n" in text
    assert "foot" not in text  # nor a line of the source


def test_a_traceback_has_a_bound_and_an_end(written):
    stream = written()

    def recurse(depth: int) -> None:
        if depth == 0:
            raise ExceptionGroup("all", [ValueError("'my foot hurts'") for _ in range(1000)])
        recurse(depth - 1)

    try:
        recurse(500)
    except ExceptionGroup as exc:
        exc.__context__ = ValueError("one")
        exc.__context__.__context__ = exc  # a cycle
        logging.getLogger("callgate.x").exception("it broke")
    assert len(stream.getvalue()) < 7_000
    assert "foot" not in stream.getvalue()
    assert "995 more" in stream.getvalue()


def test_what_another_handler_has_formatted_is_cleaned_too(written):
    stream = written()
    record = logging.makeLogRecord({"name": "callgate.x", "levelno": logging.ERROR, "msg": "it broke"})
    record.exc_text = "Traceback …\nValueError: 'my foot hurts'"
    logging.getLogger().handle(record)
    assert "it broke" in stream.getvalue()
    assert "foot" not in stream.getvalue()
