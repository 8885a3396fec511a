"""Callgate as `callgate serve` runs it, but that a stream may bring as much as it likes: for the part that gives one an
hour's audio as fast as it is taken."""

import os
import sys

from callgate.websocket import allowance

allowance.TWILIOS = allowance.UNLIMITED  # before anything takes it up

from callgate.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["serve", "--env-file", os.devnull]))
