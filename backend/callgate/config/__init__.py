"""The settings of a service."""
