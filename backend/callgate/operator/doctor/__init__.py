"""The doctor: examines the whole chain of a call from the outside in, and names the first thing that is wrong.

Pure    finding waterfall summary report
Runner  runner: runs the checks in order, concurrently where possible; a cause hides its consequences
World   world: where everything outside is; handshake, twilio_api: how it is asked, besides `callgate.operator.ask`
Areas   settings agents machine domain ports tls backend webhooks twilio_account twilio_countries model rehearsal
        real_call: a few checks each
Edges   checks: all of them, in order; cli

The doctor changes nothing. It requests the webhook as Twilio does, for a made-up call, which it then cancels.
"""
