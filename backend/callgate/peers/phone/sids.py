"""Twilio's SIDs."""

from __future__ import annotations

import secrets


def new_sid(prefix: str) -> str:
    """Return a new SID: two letters and 32 hexadecimal digits."""
    return prefix + secrets.token_hex(16)
