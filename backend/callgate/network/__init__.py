"""What may block a process, kept off its event loop: names that are looked up, and connections that are guarded."""
