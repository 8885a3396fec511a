"""Stand-ins for Twilio and for a model, for rehearsals, demos and tests. The service does not know about them."""
