"""The server's side of a WebSocket (RFC 6455), on a transport of asyncio's. Compiled in the image."""
