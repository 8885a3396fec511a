"""The model's side of a call: the available servers, and sessions with them."""
