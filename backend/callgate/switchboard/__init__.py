"""The calls of this process, and the answers to Twilio's webhooks about them."""
