"""Which calls there are, and what Twilio is answered about each."""
