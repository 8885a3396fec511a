"""What brings a store from any earlier state to that of `callgate.store.schema`. Run by `callgate.store.migrate`."""
