"""The pure parts of a call: values in, values out, without sockets, clocks or an event loop. Compiled in the image.

Nothing here does I/O or logs, and the only module it imports from outside this package is `callgate.errors`;
tests/unit/test_layers.py checks that.
"""
