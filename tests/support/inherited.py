"""What a process inherits from whoever started it, and what of it may decide nothing about a test.

A shell's background job inherits SIGINT and SIGQUIT ignored, ``nohup`` leaves SIGHUP ignored, a service manager or a
cron job may give no input, no home and a strict umask. A program that a test starts would inherit all of that in turn.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

UMASK = 0o022
# By default these do nothing.
HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}


def start_afresh() -> None:
    """Let this process, and the programs that it starts, be as if started by hand at a terminal.

    What this process was told to ignore it goes on ignoring. It does so with a handler: an ignored signal is inherited
    by the programs that a process starts, and a handler is not.
    """
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # Python ignores these two itself
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL if number in HARMLESS else _ignore)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(UMASK)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
