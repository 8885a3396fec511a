"""What a call is made of, without a socket, a clock or an event loop: values in, values out. Compiled in the image.

Nothing here does I/O or logs, and nothing of ours is imported but `callgate.errors`; tests/unit/test_layers.py says so.
"""
