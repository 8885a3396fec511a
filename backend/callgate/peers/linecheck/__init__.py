"""The line check: the embedded realtime server that greets, and says back what the caller said.

A peer on a socket, like OpenAI's: the relay reaches it through its URL and imports nothing of it.
"""

from .server import LineCheck

__all__ = ["LineCheck"]
