"""What the keeper's service does when it starts: its first turn, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys

from keeper.cli import UNUSABLE, set_up_logging
from keeper.errors import UsageError
from keeper.keeper import Keeper
from keeper.loop import Service
from keeper.settings import Settings

if __name__ == "__main__":
    set_up_logging(with_time=True)
    os.umask(0o022)
    try:
        settings = Settings.parse(os.environ)
    except UsageError as error:
        print(f"keeper: {error}", file=sys.stderr)
        sys.exit(UNUSABLE)
    asyncio.run(Service(Keeper(settings)).turn())
