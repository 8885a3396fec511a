"""The phone: a simulated Twilio, for one call or many. The peer on the other side of the wire from the server.

It asks the voice webhook with Twilio's signature, executes the TwiML it is given, opens the Media Stream, speaks and
listens in 20 ms frames, continues the TwiML when the stream's socket closes, and refuses what Twilio refuses, with
Twilio's own error codes (https://www.twilio.com/docs/api/errors).

The room `simulation` is pure: it holds what Twilio does and what its caller says and hears. Around it are the shells,
which have sockets, files and the command line.

Programs use `callgate.peers.phone.call`: ``await place_call(PhoneOptions(...))`` gives a `CallReport`.
This package imports nothing heavy by itself, so that ``callgate`` can mount its command line cheaply.
"""
