"""A stand-in for the backend in tests that count sockets, not calls. It echoes each text frame."""

import asyncio
import logging
import signal

from websockets.asyncio.server import ServerConnection, serve


async def echo(connection: ServerConnection) -> None:
    async for text in connection:
        await connection.send(text)


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve(echo, "0.0.0.0", 8765, compression=None, ping_interval=None):
        logging.getLogger(__name__).info("listening")
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
