"""The realtime server itself: client events and times in, server events out. Pure."""
