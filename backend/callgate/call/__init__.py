"""A live call between its two sockets. Compiled in the image."""
