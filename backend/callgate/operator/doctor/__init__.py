"""The doctor: the whole chain of a call, looked at from outside in, and the first thing in it that is wrong.

Pure    finding waterfall checklist report
Engine  engine: checks in order, side by side where they can be; a cause hides its consequences
World   world: where everything outside is; handshake, twilio_api: how it is asked, beside `callgate.operator.ask`
Areas   settings agents machine domain ports tls backend webhooks twilio_account twilio_countries model rehearsal
        real_call: some checks each
Edges   examine: all checks, in order; cli

Nothing is changed by it. It asks the webhook as Twilio does, for a call that is made up, and takes that back.
"""
