"""How a WebSocket comes from Hypercorn and Quart to us: all that depends on how these two work."""
