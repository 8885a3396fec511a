"""``python -m callgate.peers.linecheck [--port N]``: the line check alone, for a relay on the same machine."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys

from .server import LineCheck


def main() -> int:
    """Run until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m callgate.peers.linecheck",
        description="A realtime server on loopback that greets, and then says back what it hears. Prints its URL.",
    )
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1 (default: a free one)")
    arguments = parser.parse_args()
    if not 0 <= arguments.port <= 65535:
        parser.error(f"--port {arguments.port} is not a port: give a number from 0 to 65535")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(_run(arguments.port))
    except OSError as exc:
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        print(f"can't listen on 127.0.0.1:{arguments.port}: {reason}; try another --port", file=sys.stderr)
        return 1
    return 0


async def _run(port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stopped.set)
    async with LineCheck(port=port) as line_check:
        print(line_check.url, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    raise SystemExit(main())
