"""Callgate as `callgate serve` runs it, but it takes calls however late its event loop is: on a busy machine the loop
is late for reasons of the machine's."""

import sys

from callgate.switchboard import loop_pulse

loop_pulse.LATE = 3600.0  # before any module reads it

from callgate.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
