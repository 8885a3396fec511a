"""The commands that an operator runs, among them the one that starts the service."""
