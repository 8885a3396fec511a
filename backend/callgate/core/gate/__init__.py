"""Access checks: what really comes from Twilio, which call a stream belongs to, what may be dialled and requested."""
