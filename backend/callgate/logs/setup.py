"""The log that the operator reads: one line per event, each with its call, and never a secret, a whole phone number, or
what was said.

Every module logs through ``logging.getLogger(__name__)``. The call that a line belongs to is not passed around: it is
in the context variable `call_sid`, set once by the task that serves the call.

What is logged under ``callgate`` is our own text, at any level; if it reports a text that others wrote, that text went
through `foreign` first. Everything else that logs is a library: it is heard only from WARNING upwards, and all of its
text is foreign. So is the text of an exception, whoever logs it.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final, TextIO

from pythonjsonlogger.json import JsonFormatter

from callgate.config.settings import Config, as_log_level
from callgate.core.foreign import foreign, printable
from callgate.core.masking import mask_numbers

from .tracebacks import cleaned_traceback
from .writer import QueuedLines

__all__ = ["call_sid", "dropped_lines", "mask_also", "mask_stream_url", "request_id", "set_up_logging"]

call_sid: ContextVar[str] = ContextVar("call_sid", default="")
request_id: ContextVar[str] = ContextVar("request_id", default="")  # the edge's, if the request came through it

OURS: Final = "callgate"
LONGEST: Final = 2000  # characters of one message
LONGEST_TRACEBACK: Final = 6000
LONGEST_ID: Final = 64

log = logging.getLogger(__name__)

_FIELDS: Final = frozenset(logging.makeLogRecord({}).__dict__)


def mask_stream_url(url: str) -> str:
    """Return a stream's URL without its token and the proof before it."""
    return re.sub(r"(/media-stream)/[^\s?#\"'<>]+", r"\1/***", url)


class Masking(logging.Filter):
    """Drops libraries' records below WARNING. Removes secrets, stream tokens, phone numbers and control characters from
    every record, cleans foreign text in it, and adds the call's id."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._known: set[str] = set()
        self._secrets: re.Pattern[str] | None = None
        self.know(secrets)

    def know(self, secrets: Iterable[str]) -> None:
        """Remove these secrets, too."""
        self._known.update(re.escape(secret) for secret in secrets if secret)
        longest_first = sorted(self._known, key=len, reverse=True)
        self._secrets = re.compile("|".join(longest_first)) if longest_first else None

    def filter(self, record: logging.LogRecord) -> bool:
        is_ours = record.name == OURS or record.name.startswith(f"{OURS}.")
        if not is_ours and record.levelno < logging.WARNING:
            return False
        message = self._without_secrets(_message_of(record))
        record.msg, record.args = _cut(self.mask(printable(message)) if is_ours else foreign(message), LONGEST), None
        traceback = _traceback_of(record)
        record.exc_text = _cut(self._without_secrets(traceback), LONGEST_TRACEBACK) if traceback else None
        record.exc_info = record.stack_info = None  # so that no formatter renders it again, uncleaned
        for name in record.__dict__.keys() - _FIELDS:  # whatever else a library attached
            delattr(record, name)
        record.call_sid, record.request_id = (printable(each.get())[:LONGEST_ID] for each in (call_sid, request_id))
        return True

    def mask(self, text: str) -> str:
        """Return a text of our own without secrets, stream tokens and whole phone numbers."""
        return mask_numbers(self._without_secrets(text))

    def _without_secrets(self, text: str) -> str:
        if self._secrets:
            text = self._secrets.sub("***", text)
        return mask_stream_url(text)


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # logging must not fail, whatever was logged
        return f"A message that can't be formatted, from {record.module}, line {record.lineno}"


def _traceback_of(record: logging.LogRecord) -> str:
    if record.exc_info and record.exc_info[1] is not None:
        return cleaned_traceback(record.exc_info[1])
    return foreign(record.exc_text) if record.exc_text else ""


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]} … ({len(text) - longest} characters more)"


class TextFormatter(logging.Formatter):
    """``2026-11-23 10:00:00,000 INFO - message [CA…]``; outside a call, ``[request …]``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s - %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        sid, request = getattr(record, "call_sid", ""), getattr(record, "request_id", "")
        if not sid:
            return f"{line} [request {request}]" if request else line
        return line if sid in line else f"{line} [{sid}]"


def set_up_logging(config: Config, stream: TextIO | None = None) -> None:
    """Send all records to ``stream`` as ``LOG_FORMAT`` and ``LOG_LEVEL`` say.

    The default is standard error. Code that logs never writes there itself (`writer`), and nothing but the log
    is written there: what Python itself would write is logged.
    """
    handler: logging.Handler
    if stream is None:
        handler = QueuedLines(sys.stderr.fileno() if sys.stderr else None)
        _log_what_python_writes()
    else:
        handler = logging.StreamHandler(stream)
    handler.addFilter(Masking(config.secrets))
    if config.log_format == "json":
        handler.setFormatter(
            JsonFormatter(
                "%(asctime)s %(levelname)s %(name)s %(message)s %(call_sid)s %(request_id)s",
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
                json_ensure_ascii=False,  # people read it too; the filter has replaced what can't be encoded
            )
        )
    else:
        handler.setFormatter(TextFormatter())
    level = as_log_level(config.log_level)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))  # so that a library does not even format what is not shown
    logging.getLogger(OURS).setLevel(level)


def mask_also(secrets: Iterable[str]) -> None:
    """Remove further secrets, which are not settings, from the records from now on."""
    for handler in logging.getLogger().handlers:
        for each in handler.filters:
            if isinstance(each, Masking):
                each.know(secrets)


def dropped_lines() -> int:
    """Return how many lines of the log were dropped since that was last logged: they are not read, or not fast
    enough."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, QueuedLines))


def _log_what_python_writes() -> None:
    """Log what Python would otherwise write to standard error itself, blocking."""
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    sys.excepthook = lambda kind, exc, _: log.critical("The process ends with an error", exc_info=exc)
    threading.excepthook = _thread_ended
    sys.unraisablehook = _unraisable


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        log.error("A thread ended with an error", exc_info=args.exc_value)


def _unraisable(args: Any) -> None:
    log.error("An error that could not be raised, in %s", type(args.object).__qualname__, exc_info=args.exc_value)
