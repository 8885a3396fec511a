"""How WebSockets get from Hypercorn and Quart to us: everything that depends on those two."""
