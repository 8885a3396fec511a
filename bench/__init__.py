"""Benchmark of what a relay costs: callgate next to reference relays, under simulated calls. See README.md."""
