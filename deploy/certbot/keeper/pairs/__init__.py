"""Certificates with their keys: what is in them, where nginx reads them, and whether it serves them."""
