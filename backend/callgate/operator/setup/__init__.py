"""From nothing to a number that is answered: ``scripts/setup.sh``.

It runs on the host, before the bundle is up. Each step checks first, says what it finds, changes only what differs, and
can be run again:

env      asks for what is missing in .env, checks each answer at once, and writes it (`env_step`, `questions`)
cert     gets the certificate (`bundle`)
start    starts the bundle, and waits until all of it is healthy (`bundle`)
number   points the Twilio number here, and saves where it pointed before (`number_step`, `webhooks`, `kept`)
call     places the test call, and waits until it is answered (`call_step`)
undo     restores the number's previous webhooks (`number_step`)

Secrets are read from a terminal without echo, from files, or from the environment; never from the command line, which
every user of the machine can read. They are never shown, and phone numbers only in part.
"""
