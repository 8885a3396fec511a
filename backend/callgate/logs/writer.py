"""The log's way out of the process: no line is ever waited for.

Whoever reads standard error may stop: a log driver that hangs, a full disk behind a pipe. A write then blocks, and with
it whoever writes. So a thread of its own does, and what is logged goes into a bounded queue before it; what finds that
full is dropped and counted. When lines are written again, and half of those that waited, one more says how many were
dropped.
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
FLUSH_DEADLINE: Final = 1 * SECONDS  # for what waits to be written, in the whole life of the process
RETRY_AFTER: Final = 1 * SECONDS  # where the file is one that says "not now"


class QueuedLines(QueueHandler):
    """Has lines written to the file ``fd`` by a thread of its own; None: to nobody. Formats them where they are logged.

    At the end of the process `flush` waits for them, for `FLUSH_DEADLINE` at the most.
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
        """How many lines were dropped that nobody was told of yet."""
        return self._dropped

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._drop(1)

    def handleError(self, record: logging.LogRecord) -> None:
        """A record that can't be formatted is dropped: what the library would do is to write to standard error."""
        self._drop(1)

    def flush(self) -> None:
        began = time.monotonic()
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, self._patience)
        self._patience = max(0.0, self._patience - (time.monotonic() - began))

    def end(self) -> None:
        """Write what waits, and let the thread end. Waits for whoever reads."""
        self._writer.stop()

    def _drop(self, lines: int) -> None:
        with self._counting:
            self._dropped += lines

    # In the thread.

    def _write(self, line: str) -> None:
        if not self._is_written(line) or not self._dropped or self._lines.qsize() > self._most // 2:
            return  # one line in all, not one behind each that a slow reader takes
        with self._counting:
            dropped, self._dropped = self._dropped, 0
        if not self._is_written(self._told(dropped)):
            self._drop(dropped - 1)  # and the line that told of them

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
        text = f"{dropped} lines of the log were dropped: whoever reads it did not keep up"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)
        self.filter(record)
        return self.format(record)


class _Writer(QueueListener):
    """The thread. It writes to the file itself, as an object of Python's would hold a lock that the end waits for."""

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
