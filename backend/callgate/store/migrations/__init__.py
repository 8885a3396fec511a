"""The migrations from any earlier revision to the tables of `callgate.store.schema`. `callgate.store.migrate` runs
them."""
