"""The line check: an embedded realtime server that greets callers, and says back what they said.

It is a peer on a socket, like OpenAI's server: the relay reaches it through its URL, and imports nothing from it.
"""

from .server import LineCheck

__all__ = ["LineCheck"]
