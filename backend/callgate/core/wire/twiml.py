"""The TwiML that Callgate answers with. Pure; https://www.twilio.com/docs/voice/twiml."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from twilio.twiml.voice_response import Connect, Dial, Stream, VoiceResponse

from callgate.core.absences import NEVER_AWAY, Absences
from callgate.core.tools.toolbox import Transfer

INCOMING = "/incoming-call"
INTERRUPTED = "/call-interrupted"
TRANSFERRED = "/call-transferred"
STREAM = "/media-stream"
STREAM_STATUS = "/stream-status"

PROOF = "proof"  # in a URL: the proof by which the edge recognises it (`signature.edge_proof`)
REPEAT = "repeat"  # in a URL: the token of a request that was told to come back
DIALED = "dialed"  # in a URL: the outcome of a <Dial>, as Twilio reports it only once
DIAL_STATUSES: Final = ("completed", "answered", "busy", "no-answer", "failed", "canceled")
RING_AT_LEAST, RING_AT_MOST = 5, 600  # seconds; the range of <Dial timeout>

NO_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({})

BUSY = "All our lines are busy at the moment. Please call again in a few minutes."
SORRY = "We are sorry, we are having technical difficulties."
PUT_THROUGH = "One moment please, you are being connected."
ONE_MOMENT = "One moment please."
CALL_AGAIN = "Please call again in a few minutes."


def connect_stream(
    base_url: str,
    token: str,
    resumed: int = 0,
    absences: Absences = NEVER_AWAY,
    digits: str = "",
    *,
    parameters: Mapping[str, str] = NO_PARAMETERS,
    consent: str = "",
    language: str | None = None,
    proof: str = "",
) -> str:
    """Connect the caller to the media stream; when that ends, ``/call-interrupted`` decides what comes next.

    With ``<Connect>``, Twilio waits until our side closes the stream's socket, on purpose or by accident, and then runs
    the next verb: the ``<Redirect>`` is the caller's safety net. ``resumed``: how often that has happened.
    ``absences``: how often the agent left on purpose. ``digits``: keys whose tones are played first. ``parameters``:
    further values for the stream's ``start``. ``consent``: what the caller is told before anything else, in
    ``language`` (BCP 47) if that is known. ``proof``: the edge's proof, here and in the functions below.
    """
    wss_url = "wss" + base_url.removeprefix("https")
    stream = Stream(
        url=f"{wss_url}{STREAM}/{proof}/{token}" if proof else f"{wss_url}{STREAM}/{token}",
        status_callback=f"{base_url}{STREAM_STATUS}",
        status_callback_method="POST",
    )
    for name, value in {"token": token, **parameters}.items():
        stream.parameter(name=name, value=value)
    connect = Connect()
    connect.append(stream)
    response = VoiceResponse()
    if consent:
        response.say(consent, language=language)
    if digits:
        response.play(digits=digits)
    response.append(connect)
    response.redirect(base_url + _address(INTERRUPTED, resumed, absences, proof), method="POST")
    return str(response)


def put_through(
    base_url: str,
    transfer: Transfer,
    resumed: int,
    absences: Absences,
    *,
    announced: bool,
    language: str | None = None,
    proof: str = "",
) -> str:
    """Dial somebody else; ``/call-transferred`` is told the outcome. ``announced``: the caller knows; otherwise they
    are told, in ``language`` (BCP 47) if that is known."""
    response = VoiceResponse()
    if not announced:
        response.say(PUT_THROUGH, language=language)
    dial = Dial(
        timeout=min(max(math.ceil(transfer.ring_for), RING_AT_LEAST), RING_AT_MOST),
        action=base_url + _address(TRANSFERRED, resumed, absences, proof),
        method="POST",
    )
    dial.number(transfer.number)
    response.append(dial)
    return str(response)


def wait(
    base_url: str,
    resumed: int,
    absences: Absences = NEVER_AWAY,
    path: str = INTERRUPTED,
    dialed: str = "",
    proof: str = "",
) -> str:
    """This process takes no calls any more, and another soon will: have the caller wait, and then request ``path``
    again. ``dialed``: the ``DialCallStatus``, which Twilio will not report again."""
    response = VoiceResponse()
    response.say(ONE_MOMENT)
    response.pause(length=1)
    address = base_url + _address(path, resumed, absences, proof)
    response.redirect(f"{address}&{DIALED}={dialed}" if dialed in DIAL_STATUSES else address, method="POST")
    return str(response)


def repeat(
    base_url: str,
    token: str,
    path: str,
    resumed: int = 0,
    absences: Absences = NEVER_AWAY,
    dialed: str = "",
    proof: str = "",
) -> str:
    """Have Twilio request ``path`` again, at once and without the caller noticing, with a ``token`` that proves it did.
    ``dialed``: as in `wait`."""
    response = VoiceResponse()
    address = base_url + _address(path, resumed, absences, proof)
    address = f"{address}&{DIALED}={dialed}" if dialed in DIAL_STATUSES else address
    response.redirect(f"{address}&{REPEAT}={token}", method="POST")
    return str(response)


def busy(fallback_dial: str | None) -> str:
    """There is no room for another call: dial the human, if there is one; otherwise say so, and end the call."""
    return _say_and_hang_up(BUSY) if fallback_dial is None else _say_and_dial(PUT_THROUGH, fallback_dial)


def hang_up() -> str:
    """The conversation is over: hang up."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def closed(sentence: str, language: str | None) -> str:
    """The line is closed at this hour: say so, in ``language`` (BCP 47) if that is known, and end the call."""
    return _say_and_hang_up(sentence, language)


def leave_message(sentence: str, language: str | None) -> str:
    """A machine answered: leave this message on it, in ``language`` (BCP 47) if that is known, and end the call."""
    return _say_and_hang_up(sentence, language)


def apologise(fallback_dial: str | None) -> str:
    """The model is not available: say so, and dial the human, if there is one."""
    if fallback_dial is None:
        return _say_and_hang_up(f"{SORRY} {CALL_AGAIN}")
    return _say_and_dial(f"{SORRY} {PUT_THROUGH}", fallback_dial)


def _address(path: str, resumed: int, absences: Absences, proof: str) -> str:
    """Return where Twilio goes on, with the call's state so far; Twilio's signature covers the URL."""
    counts = {"resumed": resumed, "transfers": absences.transfers, "sendings": absences.sendings}
    query = "&".join(f"{name}={count}" for name, count in counts.items() if count or name == "resumed")
    return f"{path}?{query}" + (f"&{PROOF}={proof}" if proof else "")


def _say_and_dial(sentence: str, number: str) -> str:
    response = VoiceResponse()
    response.say(sentence)
    dial = Dial()
    dial.number(number)
    response.append(dial)
    return str(response)


def _say_and_hang_up(sentence: str, language: str | None = None) -> str:
    response = VoiceResponse()
    response.say(sentence, language=language)
    response.hangup()
    return str(response)
