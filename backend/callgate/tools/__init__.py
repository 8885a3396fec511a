"""Tools that have an effect: requests to the owner's server, stored messages."""
