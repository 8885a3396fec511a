"""Calls that we place."""
