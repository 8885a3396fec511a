"""What a process inherits from its parent, and what of that must not influence a test.

A shell's background job inherits SIGINT and SIGQUIT ignored, ``nohup`` leaves SIGHUP ignored, and a service manager or
a cron job may provide no input, no home directory and a strict umask. Programs that a test starts would inherit all of
that. The shell may also have set a proxy, or settings for some other service.
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
    """Put this process, and the programs it starts, in the state of a process started by hand at a terminal.

    Signals that this process was told to ignore stay ignored, but with a handler: a child process inherits an ignored
    signal, but not a handler.
    """
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # Python itself ignores these two
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL if number in HARMLESS else _ignore)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(UMASK)
    for name in (field.metadata["env"] for field in settings()):
        for each in (name, f"{name}_FILE"):
            os.environ.pop(each, None)
    for name in ("NO_PROXY", "no_proxy"):  # a test's servers must not be reached through a proxy
        before = os.environ.get(name)
        os.environ[name] = f"{before},{LOOPBACK}" if before else LOOPBACK


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
