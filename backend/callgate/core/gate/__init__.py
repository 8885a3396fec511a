"""Who may: what is Twilio's, which call a stream belongs to, what may be called and asked."""
