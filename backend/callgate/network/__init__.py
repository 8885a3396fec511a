"""Blocking and guarded network access, kept off the event loop: name look-ups, Twilio's REST API, tools'
connections."""
