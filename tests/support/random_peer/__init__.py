"""Whole calls with random events on both sides: `Scene` has one, `drawn` draws a `Plan` for it, the rules watch it."""
