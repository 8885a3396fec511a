"""Writes the log out of the process without ever blocking whoever logs.

The reader of standard error may stop: a log driver hangs, or a disk behind a pipe is full. A write then blocks, and so
does the writer. Writing is therefore left to a thread, fed through a bounded queue; lines that find it full are dropped
and counted. Once lines are written again, and half of the queue is free, one more line says how many were dropped.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
import time
from logging.handlers import QueueHandler, QueueListener
from typing import Any, Final

from callgate.core.units import SECONDS

MOST_WAITING: Final = 4000  # lines
FLUSH_DEADLINE: Final = 1 * SECONDS  # for pending lines to be written, over the whole life of the process
RETRY_AFTER: Final = 1 * SECONDS  # if the file is one that says "not now"


class QueuedLines(QueueHandler):
    """Has a thread write lines to the file ``fd``; None: to nowhere. Lines are formatted where they are logged.

    At the end of the process `flush` waits for them, for at most `FLUSH_DEADLINE`.
    """

    def __init__(self, fd: int | None, most: int = MOST_WAITING) -> None:
        self._lines: queue.Queue[Any] = queue.Queue(most)
        super().__init__(self._lines)
        self._fd, self._most = fd, most
        self._counting = threading.Lock()
        self._dropped = 0
        self._patience = FLUSH_DEADLINE
        self._writer = _Writer(self._lines, self._write)
        self._writer.start()

    @property
    def dropped(self) -> int:
        """How many lines were dropped that have not been reported yet."""
        return self._dropped

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._drop(1)

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a record that can't be formatted: the library would write to standard error."""
        self._drop(1)

    def flush(self) -> None:
        began = time.monotonic()
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, self._patience)
        self._patience = max(0.0, self._patience - (time.monotonic() - began))

    def end(self) -> None:
        """Write what waits, and end the thread. Waits for the reader."""
        self._writer.stop()

    def _drop(self, lines: int) -> None:
        with self._counting:
            self._dropped += lines

    # In the thread.

    def _write(self, line: str) -> None:
        if not self._is_written(line) or not self._dropped or self._lines.qsize() > self._most // 2:
            return  # one report in all, not one after each line that a slow reader takes
        with self._counting:
            dropped, self._dropped = self._dropped, 0
        if not self._is_written(self._told(dropped)):
            self._drop(dropped - 1)  # including the line that reported them

    def _is_written(self, line: str) -> bool:
        try:
            if self._fd is None:
                return True
            _write_all(self._fd, (line + "\n").encode(errors="backslashreplace"))
        except OSError:  # nobody reads any more, or the disk is full
            self._drop(1)
            return False
        return True

    def _told(self, dropped: int) -> str:
        text = f"{dropped} lines of the log were dropped: the reader did not keep up"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)
        self.filter(record)
        return self.format(record)


class _Writer(QueueListener):
    """The thread. It writes to the file descriptor itself, as a Python file object would hold a lock that exiting waits
    for."""

    def __init__(self, lines: queue.Queue[Any], write: Any) -> None:
        super().__init__(lines)
        self._write = write

    def handle(self, record: logging.LogRecord) -> None:
        self._write(record.getMessage())

    def enqueue_sentinel(self) -> None:
        self.queue.put(self._sentinel)  # type: ignore[attr-defined]


def _write_all(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            select.select((), (fd,), (), RETRY_AFTER)
