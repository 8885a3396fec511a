"""Tools that do something: requests to the owner's server, messages that are kept."""
