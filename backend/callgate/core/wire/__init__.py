"""The messages between Twilio and this service, as text and as objects."""
