"""The differences that a peer can see between the ordinary path and the fast one, with reasons; and shared checks.

The ordinary path is Hypercorn's and wsproto's, and serves where the fast one can't. `differs` is the only way for a
test to expect something different from it, and requires an entry here. No entry lets through what a rule forbids.
"""

from __future__ import annotations

from support.conformance.echo_service import Observed, Service
from support.websocket_probe import Ending, Frame, Probe

PROTOCOL_ERROR, NO_CODE, LOST, INVALID_TEXT, TOO_BIG = 1002, 1005, 1006, 1007, 1009

DIFFERENCES = {
    "the code is not told": "Hypercorn's websocket.disconnect says 1006 for every end that the peer began.",
    "1014 is not known": "wsproto has the codes that were registered before it. 1014 (Bad Gateway) is for gateways.",
    "echoes are cut off by the peer's close": (
        "Hypercorn sends nothing of the application's once it has read the peer's end; what the peer sent before is "
        "delivered. Before it answers a close an endpoint may still send (§5.5.1), and need not."
    ),
    "echoes are cut off by a broken frame": (
        "The same where what follows a message at once breaks the protocol: it is delivered, and the connection failed "
        "(§7.1.7) before the application had its turn to answer. Autobahn calls that non-strict: its cases 3.2 to 3.4, "
        "4.1.3 to 4.1.5, 4.2.3 to 4.2.5 and 5.15."
    ),
    "an announced length is not judged": "Hypercorn counts what has come. Its limit is on messages, not on frames.",
    "the limit of text is in characters": "Hypercorn counts a text message's characters, after decoding.",
    "no ping is sent": (
        "Hypercorn's pings hold each ended connection for the rest of their interval (`web.server`). Twilio sends "
        "fifty messages a second, and is missed by the session within seconds."
    ),
}


def differs(service: Service, difference: str) -> bool:
    """Whether this service has this difference."""
    assert DIFFERENCES[difference]
    return service.ordinary


def fails(service: Service, probe: Probe, receiver: Observed, code: int) -> list[Frame]:
    """Check that the server fails the connection (§7.1.7): a close frame with this code, then the connection's end.
    Return the frames before that."""
    frames, ending = probe.read_to_end()
    assert ending.code == code
    assert not ending.reset
    assert receiver.closed() == (LOST if differs(service, "the code is not told") else code)
    return frames


def closes(service: Service, probe: Probe, receiver: Observed, code: int) -> list[Frame]:
    """Check that the server answers a close frame with the same code, and ends the connection first (§7.1.1). Return
    the frames before that."""
    frames, ending = probe.read_to_end()
    assert ending == Ending(code, ending.reason)
    assert receiver.closed() == (LOST if differs(service, "the code is not told") else code)
    return frames
