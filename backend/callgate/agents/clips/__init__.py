"""Recorded sentences that are played to a caller without a model, as base64 µ-law."""

from __future__ import annotations

import base64
from functools import cache
from importlib.resources import files


@cache
def one_moment() -> str:
    """Return the clip "One moment, please." README.md beside this file says how it was made."""
    return base64.b64encode(files(__package__).joinpath("one-moment.ulaw").read_bytes()).decode()
