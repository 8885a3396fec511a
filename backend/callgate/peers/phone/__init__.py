"""The phone: a simulated Twilio, for one call or many. The peer on the other side of the wire from the server.

It asks the voice webhook with Twilio's signature, executes the TwiML it is given, opens the Media Stream, speaks and
listens in 20 ms frames, continues the TwiML when the stream's socket closes, and refuses what Twilio refuses, with
Twilio's own error codes (https://www.twilio.com/docs/api/errors).

Pure    caller hearing playback line script faults signing twiml verbs codes promises report timeline correlate
Shells  http stream orders callbacks call
Edges   wav voices echo picture output settings cli

Programs use `callgate.peers.phone.call`: ``await place_call(PhoneOptions(...))`` gives a `CallReport`.
This package imports nothing heavy by itself, so that ``callgate`` can mount its command line cheaply.
"""
