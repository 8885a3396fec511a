"""The Twilio error codes that a call can meet: what each means, and what to do about it. Pure.

Source: https://www.twilio.com/docs/api/errors, in different words.
"""

from __future__ import annotations

from typing import Final

STREAM_CLOSED: Final = 31921  # the app closed the socket with a close frame
STREAM_LOST: Final = 31903  # the socket ended without a close frame

MEANINGS: Final[dict[int, tuple[str, str]]] = {
    11200: ("the webhook did not answer with success", "read the backend's log for this request"),
    11205: ("the webhook's host can't be connected to", "check that the edge is running and its port is open"),
    11210: ("the webhook's host name can't be resolved", "check the domain's DNS record"),
    11220: ("the TLS handshake failed", "check that the edge has a certificate for this name"),
    11235: ("the certificate is for another name", "issue a certificate for the name in the URL"),
    11236: ("the certificate has expired, or is not valid yet", "renew the certificate, and reload the edge"),
    11237: ("the certificate has no trusted issuer", "serve the full chain of a trusted CA; name a test CA with --ca"),
    11750: ("the TwiML is larger than 64 kB", "answer with less TwiML"),
    12100: ("the TwiML is not well-formed XML with the root <Response>", "correct the TwiML"),
    12200: ("the TwiML has a verb or attribute that Twilio does not know", "correct the TwiML"),
    12300: ("the answer is not of type text/xml", "answer with Content-Type: text/xml"),
    31901: ("the stream's socket timed out while connecting", "check that the edge is reachable and forwards upgrades"),
    31902: ("the stream's host refused the connection", "check that the edge is running and its port is open"),
    STREAM_LOST: ("the stream's socket was lost", "read the backend's log: a clean end sends a close frame"),
    31910: ("the stream's TLS handshake failed", "serve a certificate for this name that a trusted CA has signed"),
    31920: ("the WebSocket upgrade was not answered with 101", "read the backend's log for why it refused the upgrade"),
    STREAM_CLOSED: ("the app closed the stream", "ignore it, if the app meant to"),
    31922: (
        "the stream's URL is not wss://",
        "set BASE_URL to an https:// address, which makes the stream's URL wss://",
    ),
    31923: ("the stream's URL is not valid", "use a URL with a host, and no port other than 443"),
    31924: ("the app broke the WebSocket protocol", "read the backend's and the edge's log for this time"),
    31931: ("more than ten minutes were buffered", "send audio as it is made, and clear it on an interruption"),
    31941: (
        "the stream's track is not valid",
        "leave out the track attribute: <Connect><Stream> has inbound_track only",
    ),
    31950: ("the app sent a frame that can't be decoded", "send text frames that contain JSON"),
    31951: ("the app sent an invalid message", "send media, mark or clear with the streamSid of start"),
}

WEBHOOK_CODES: Final = frozenset(code for code in MEANINGS if code < 13000)
ACCEPT_CODES: Final = frozenset({31901, 31902, 31910, 31920, 31922, 31923, 31941})
FRAME_CODES: Final = frozenset({31924, 31931, 31950, 31951})


def meaning(code: int) -> str:
    """Return what went wrong, as half a sentence."""
    return MEANINGS[code][0]


def advice(code: int) -> str:
    """Return what to do about it, as half a sentence."""
    return MEANINGS[code][1]
