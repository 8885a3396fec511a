"""``python -m callgate.peers.phone``: the same as ``callgate phone``."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
