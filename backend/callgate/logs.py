"""What the operator reads: one line an event, each with its call, never a secret or a whole phone number.

Every module logs through ``logging.getLogger(__name__)``. The call that a line belongs to is not passed about: it is
the context variable `call_sid`, set once by the task that serves the call.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

from .config import Config, as_log_level

call_sid: ContextVar[str] = ContextVar("call_sid", default="")
request_id: ContextVar[str] = ContextVar("request_id", default="")  # the edge's, where the request came through it

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}\b")


def mask_number(number: str) -> str:
    """A phone number of which only the country's first digits and the last two are left: ``+1555*****00``."""
    return number if len(number) < 8 else number[:4] + "*" * (len(number) - 6) + number[-2:]


def mask_stream_url(url: str) -> str:
    """A stream's address without its token, and what stands before that."""
    return re.sub(r"(/media-stream)/[^\s?#\"'<>]+", r"\1/***", url)


class Masking(logging.Filter):
    """Takes secrets, stream tokens and phone numbers out of every record, and adds the call's id to it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._known: set[str] = set()
        self._secrets: re.Pattern[str] | None = None
        self.know(secrets)

    def know(self, secrets: Iterable[str]) -> None:
        """Take these out too."""
        self._known.update(re.escape(secret) for secret in secrets if secret)
        longest_first = sorted(self._known, key=len, reverse=True)
        self._secrets = re.compile("|".join(longest_first)) if longest_first else None

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.mask(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text, record.exc_info = self.mask(record.exc_text), None  # no formatter makes it anew, unmasked
        record.call_sid, record.request_id = call_sid.get(), request_id.get()
        return True

    def mask(self, text: str) -> str:
        if self._secrets:
            text = self._secrets.sub("***", text)
        return _NUMBER.sub(lambda match: mask_number(match[0]), mask_stream_url(text))


class TextFormatter(logging.Formatter):
    """``2026-11-23 10:00:00,000 INFO - message [CA…]``; without a call, ``[request …]``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s - %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        sid, request = getattr(record, "call_sid", ""), getattr(record, "request_id", "")
        if not sid:
            return f"{line} [request {request}]" if request else line
        return line if sid in line else f"{line} [{sid}]"


def set_up_logging(config: Config, stream: TextIO | None = None) -> None:
    """Send all records to ``stream`` (standard error by default) as ``LOG_FORMAT`` and ``LOG_LEVEL`` say."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(Masking(config.secrets))
    if config.log_format == "json":
        handler.setFormatter(
            JsonFormatter(
                "%(asctime)s %(levelname)s %(name)s %(message)s %(call_sid)s %(request_id)s",
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            )
        )
    else:
        handler.setFormatter(TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(as_log_level(config.log_level))
    for chatty in ("websockets", "hypercorn.access", "asyncio", "twilio.http_client", "aiohttp"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def mask_also(secrets: Iterable[str]) -> None:
    """Take more secrets out of the records, from now on: those that are not settings."""
    for handler in logging.getLogger().handlers:
        for each in handler.filters:
            if isinstance(each, Masking):
                each.know(secrets)
