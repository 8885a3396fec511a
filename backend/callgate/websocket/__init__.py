"""The server side of WebSockets (RFC 6455), on asyncio transports. Compiled in the image."""
