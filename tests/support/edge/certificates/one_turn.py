"""What the keeper's service does when it starts: its first turn, in a process of its own."""

from __future__ import annotations

import asyncio
import os

from keeper.cli import set_up_logging
from keeper.keeper import Keeper
from keeper.loop import Service
from keeper.settings import Settings

if __name__ == "__main__":
    set_up_logging(with_time=True)
    os.umask(0o022)
    asyncio.run(Service(Keeper(Settings.parse(os.environ))).turn())
