"""Whatever a test run inherits from its parent, the programs that tests start don't."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys

import pytest
from support.project import ROOT

# Prints the state of a program that it starts: ignored signals, blocked signals and umask.
PARENT = """
import subprocess, sys
from support.inherited import start_afresh
start_afresh()
sys.exit(subprocess.run(["grep", "-E", "^(SigIgn|SigBlk|Umask):", "/proc/self/status"]).returncode)
"""
AS_BY_HAND = {"Umask": 0o022, "SigBlk": 0, "SigIgn": 0}
OF_THE_C_LIBRARY = 1 << 31 | 1 << 32  # signals 32 and 33, which no program can set


def inherit_the_worst() -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])


def state(told: str) -> dict[str, int]:
    """The umask, and the masks of signals, by the names that the kernel gives them."""
    fields = dict(line.split(":\t") for line in told.splitlines())
    masks = {name: int(fields[name], 16) & ~OF_THE_C_LIBRARY for name in ("SigBlk", "SigIgn")}
    return {"Umask": int(fields["Umask"], 8), **masks}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_program_that_a_test_starts_inherits_no_ignored_or_blocked_signal_and_no_umask(umask: int) -> None:
    told = subprocess.run(
        [sys.executable, "-c", PARENT], cwd=ROOT / "tests", umask=umask, preexec_fn=inherit_the_worst,
        check=True, stdout=subprocess.PIPE, text=True, timeout=20,
    ).stdout  # fmt: skip
    assert state(told) == AS_BY_HAND


def test_no_setting_of_somebodys_service_and_no_proxy_is_inherited() -> None:
    script = "import os; from support.inherited import start_afresh; start_afresh(); print(sorted(os.environ.items()))"
    theirs = {
        "DOMAIN": "voice.example.com",
        "OPENAI_API_KEY_FILE": "/run/secrets/key",
        "HTTPS_PROXY": "http://proxy:3128",
    }
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT / "tests", env={**os.environ, **theirs, "no_proxy": "intranet"},
        check=True, stdout=subprocess.PIPE, text=True, timeout=20,
    ).stdout  # fmt: skip
    left = dict(ast.literal_eval(told))
    assert left.keys() & theirs.keys() == {"HTTPS_PROXY"}  # anyone who downloads something needs it
    assert left["no_proxy"] == "intranet,127.0.0.1,localhost"
    assert "127.0.0.1" in left["NO_PROXY"]


def test_a_run_that_is_to_ignore_a_signal_goes_on_ignoring_it() -> None:
    script = "import os, signal; from support.inherited import start_afresh; start_afresh(); os.kill(os.getpid(), 1)"
    subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT / "tests", check=True, timeout=20,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip


def test_this_run_passes_nothing_on() -> None:
    told = subprocess.run(
        ["grep", "-E", "^(SigIgn|SigBlk|Umask):", "/proc/self/status"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    assert state(told) == AS_BY_HAND
