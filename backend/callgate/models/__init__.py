"""The model's side of a call: which servers there are, a session with one, and what comes of it."""
