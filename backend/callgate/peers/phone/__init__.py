"""The phone: a simulated Twilio, for one call or many. It is the server's peer on the other side of the wire.

It requests the voice webhook with Twilio's signature, executes the TwiML in the answer, opens the Media Stream, speaks
and listens in 20 ms frames, continues the TwiML when the stream's socket closes, and refuses what Twilio refuses, with
Twilio's own error codes (https://www.twilio.com/docs/api/errors).

The package `simulation` is pure: it contains what Twilio does, and what its caller says and hears. The modules around
it have the sockets, the files and the command line.

Programs use `callgate.peers.phone.call`: ``await place_call(PhoneOptions(...))`` returns a `CallReport`.
This package imports nothing heavy itself, so that ``callgate`` can add its command cheaply.
"""
