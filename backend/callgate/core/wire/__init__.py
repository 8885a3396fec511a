"""What Twilio and this service write to each other, as text and as values."""
