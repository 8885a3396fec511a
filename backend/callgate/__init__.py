"""Callgate: your own domain between Twilio Media Streams and a realtime voice model."""

from importlib.metadata import version

__version__ = version("callgate")
