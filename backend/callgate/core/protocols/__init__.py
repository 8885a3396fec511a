"""The messages between this service and the models' servers, as text and as objects."""
