"""What a process inherits from whoever started it, and what of it may decide nothing about a test.

A shell's background job inherits SIGINT and SIGQUIT ignored, ``nohup`` leaves SIGHUP ignored, a service manager or a
cron job may give no input, no home and a strict umask. A program that a test starts would inherit all of that in turn.
Somebody's shell may have set a proxy, or what a service of theirs is to run with.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

from callgate.config.settings import settings

UMASK = 0o022
LOOPBACK = "127.0.0.1,localhost"
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
    for name in (field.metadata["env"] for field in settings()):
        for each in (name, f"{name}_FILE"):
            os.environ.pop(each, None)
    for name in ("NO_PROXY", "no_proxy"):  # no proxy leads to a server of a test
        before = os.environ.get(name)
        os.environ[name] = f"{before},{LOOPBACK}" if before else LOOPBACK


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
