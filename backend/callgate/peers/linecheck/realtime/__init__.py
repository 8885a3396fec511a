"""The realtime server itself: frames and times in, frames out. Pure."""
