"""Callgate as `callgate serve` runs it, but without a limit on what a stream may send, for the part that sends an
hour's audio as fast as the relay takes it."""

import os
import sys

from callgate.websocket import allowance

allowance.TWILIOS = allowance.UNLIMITED  # before any module reads it

from callgate.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["serve", "--env-file", os.devnull]))
