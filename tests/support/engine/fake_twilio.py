"""Twilio in a container: its REST API under its own name, and a phone for each call placed there.

For each finished call, it prints a line: ``CALL`` and the outcome as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from pathlib import Path
from typing import Final

from callgate.peers.phone.call import place_call
from callgate.peers.phone.options import PhoneOptions
from callgate.peers.phone.settings import REHEARSAL
from callgate.peers.phone.simulation.script import Speak
from callgate.peers.phone.simulation.timeline import Event
from callgate.peers.phone.wav import read_ulaw

from support.twilio_rest import FakeTwilioRest, PlacedCall

ACME: Final = Path("/acme")


class Exchange:
    """Carries out placed calls: the callee answers, says something, and hangs up."""

    def __init__(self, twilio: FakeTwilioRest, auth_token: str) -> None:
        self._twilio, self._auth_token = twilio, auth_token
        self._calls: set[asyncio.Task[None]] = set()

    def dial(self, call: PlacedCall) -> None:
        self._twilio.live[call.sid] = "ringing"
        task = asyncio.get_running_loop().create_task(self._talk(call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _talk(self, call: PlacedCall) -> None:
        def answered(event: Event) -> None:
            self._twilio.live[call.sid] = "in-progress"

        report = await place_call(
            PhoneOptions(
                to=call.parameter("Url"),
                auth_token=self._auth_token,
                account_sid=self._twilio.account_sid,
                from_number=call.parameter("From"),
                to_number=call.parameter("To"),
                script=(Speak(read_ulaw(REHEARSAL), "words"),),
                echo=True,
                ca=ACME / "root.pem",
                on_event=answered,
            )
        )
        self._twilio.live[call.sid] = "completed"
        print("CALL", json.dumps({"kept": report.kept, "to": call.parameter("To")}), flush=True)


async def main() -> None:
    """Serve until stopped."""
    token = os.environ["TEST_AUTH_TOKEN"]
    twilio = FakeTwilioRest(os.environ["TEST_ACCOUNT"], token, os.environ["TEST_NUMBER"])
    twilio.dial = Exchange(twilio, token).dial
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(ACME / "pebble.pem", ACME / "pebble.key")
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with twilio.serving(tls, host="0.0.0.0", port=443):
        await stopped.wait()


asyncio.run(main())
