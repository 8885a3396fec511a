"""Whose turn it is in a call. `conversation` is told what happened, and says what to do."""
