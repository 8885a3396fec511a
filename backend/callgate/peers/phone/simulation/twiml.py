"""Parses TwiML as Twilio does: XML in, verbs out, or an error with Twilio's code. Pure.

Source: https://www.twilio.com/docs/voice/twiml. The whole document is parsed before any of it is executed. Verbs are
case-sensitive. Valid TwiML that this phone does not simulate raises `NotSimulatedError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit
from xml.etree import ElementTree

from callgate.errors import CallgateError, PhoneError

from .timeline import mask_url
from .verbs import DIAL_TIMEOUT, Connect, Dial, Hangup, Pause, Play, Record, Redirect, Reject, Say, Stream, Verb

NOT_XML: Final = 12100
BAD_SCHEMA: Final = 12200
BAD_TRACK: Final = 31941
BAD_SCHEME: Final = 31922
BAD_URL: Final = 31923

PLAYED_KEYS: Final = "0123456789*#wWABCD"


class NotSimulatedError(CallgateError):
    """The TwiML is valid, but this phone does not simulate it."""


def parse(document: bytes) -> tuple[Verb, ...]:
    """Parse a TwiML document. Raises `PhoneError` (12100, 12200, 31941) or `NotSimulatedError`."""
    try:
        root = ElementTree.fromstring(document)
    except (ElementTree.ParseError, ValueError, LookupError) as exc:
        raise PhoneError(NOT_XML, f"the TwiML is not XML: {exc}") from exc
    if root.tag != "Response":
        raise PhoneError(NOT_XML, f"the TwiML begins with <{root.tag}>, not <Response>")
    return tuple(_verb(element) for element in root)


def check_stream_url(url: str) -> str:
    """Return the URL that Twilio connects to, without the query string, which Twilio drops.

    Raises `PhoneError` (31922, 31923) if Twilio would not connect.
    """
    scheme = url.partition(":")[0].lower()
    if scheme != "wss":
        raise PhoneError(BAD_SCHEME, f"the stream's URL {mask_url(url)} has the scheme {scheme}://, not wss://")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise PhoneError(BAD_URL, f"the stream's URL is malformed: {exc}") from exc
    if not parts.hostname or parts.username is not None or parts.fragment or not url.isprintable() or " " in url:
        raise PhoneError(BAD_URL, f"the stream's URL {mask_url(url)} is not of the form wss://HOST/PATH")
    if port not in (None, 443):
        raise PhoneError(BAD_URL, f"the stream's URL has port {port}, but Twilio connects only to 443")
    return url.partition("?")[0]


def _verb(element: ElementTree.Element) -> Verb:
    reader = _VERBS.get(element.tag)
    if reader is None:
        if element.tag in _NOT_SIMULATED:
            raise NotSimulatedError(
                f"<{element.tag}> is TwiML that the phone does not simulate: test it with a real call"
            )
        raise PhoneError(BAD_SCHEMA, f"<{element.tag}> is not a verb of voice TwiML")
    read, attributes = reader
    _check_attributes(element, attributes)
    return read(element)


def _say(element: ElementTree.Element) -> Say:
    return Say(" ".join("".join(element.itertext()).split()))


def _play(element: ElementTree.Element) -> Play:
    _no_children(element)
    digits = element.get("digits", "")
    if digits.strip(PLAYED_KEYS):
        raise PhoneError(BAD_SCHEMA, f"<Play digits={digits!r}> has characters other than {PLAYED_KEYS}")
    return Play(_text(element), digits)


def _pause(element: ElementTree.Element) -> Pause:
    _no_children(element)
    length = element.get("length", "1")
    if not length.isascii() or not length.isdigit():
        raise PhoneError(BAD_SCHEMA, f"<Pause length={length!r}> is not a whole number of seconds")
    return Pause(int(length))


def _redirect(element: ElementTree.Element) -> Redirect:
    _no_children(element)
    return Redirect(_text(element), _method(element))


def _hangup(element: ElementTree.Element) -> Hangup:
    _no_children(element)
    return Hangup()


def _reject(element: ElementTree.Element) -> Reject:
    reason = element.get("reason", "rejected")
    if reason not in ("rejected", "busy"):
        raise PhoneError(BAD_SCHEMA, f"<Reject reason={reason!r}> is neither rejected nor busy")
    return Reject(reason)


def _dial(element: ElementTree.Element) -> Dial:
    number = _text(element)
    for child in element:
        if child.tag not in ("Number", "Sip", "Client"):
            raise _unknown_noun(child, element, {"Conference", "Queue", "Sim", "WhatsApp", "Application"})
        number = number or _text(child)
    if not number:
        raise PhoneError(BAD_SCHEMA, "<Dial> has nobody to ring")
    return Dial(number, element.get("action"), _method(element), _dial_timeout(element))


def _dial_timeout(element: ElementTree.Element) -> int:
    timeout = element.get("timeout", str(DIAL_TIMEOUT))
    if not timeout.isascii() or not timeout.isdigit() or not 5 <= int(timeout) <= 600:
        raise PhoneError(BAD_SCHEMA, f"<Dial timeout={timeout!r}> is not a whole number of seconds from 5 to 600")
    return int(timeout)


def _record(element: ElementTree.Element) -> Record:
    _no_children(element)
    return Record(element.get("action"), _method(element))


def _connect(element: ElementTree.Element) -> Connect:
    for child in element:
        if child.tag != "Stream":
            raise _unknown_noun(child, element, _CONNECT_NOUNS)
    if len(element) != 1:
        raise PhoneError(BAD_SCHEMA, f"<Connect> must have one <Stream>, but has {len(element)}")
    return Connect(_stream(element[0]), element.get("action"), _method(element))


def _stream(element: ElementTree.Element) -> Stream:
    _check_attributes(element, {"url", "name", "track", "statusCallback", "statusCallbackMethod"})
    track = element.get("track", "inbound_track")
    if track != "inbound_track":
        raise PhoneError(BAD_TRACK, f"<Connect><Stream> can't have the track {track!r}, only inbound_track")
    url = element.get("url")
    if not url:
        raise PhoneError(BAD_SCHEMA, "<Stream> has no url")
    parameters = {}
    for child in element:
        if child.tag != "Parameter":
            raise _unknown_noun(child, element, frozenset())
        _check_attributes(child, {"name", "value"})
        name, value = child.get("name"), child.get("value")
        if not name or value is None:
            raise PhoneError(BAD_SCHEMA, "<Parameter> needs a name and a value")
        parameters[name] = value
    return Stream(
        url,
        element.get("name", ""),
        tuple(parameters.items()),
        element.get("statusCallback"),
        _method(element, "statusCallbackMethod"),
    )


def _check_attributes(element: ElementTree.Element, allowed: set[str]) -> None:
    for name in sorted(element.attrib.keys() - allowed):
        raise PhoneError(BAD_SCHEMA, f"<{element.tag}> has no attribute {name}")


def _no_children(element: ElementTree.Element) -> None:
    if len(element):
        raise PhoneError(BAD_SCHEMA, f"<{element[0].tag}> is not allowed in <{element.tag}>")


def _method(element: ElementTree.Element, attribute: str = "method") -> str:
    method = element.get(attribute, "POST").upper()
    if method not in ("GET", "POST"):
        raise PhoneError(BAD_SCHEMA, f"<{element.tag} {attribute}={method!r}> is neither GET nor POST")
    return method


def _text(element: ElementTree.Element) -> str:
    return (element.text or "").strip()


def _unknown_noun(
    child: ElementTree.Element, parent: ElementTree.Element, known: set[str] | frozenset[str]
) -> Exception:
    if child.tag in known:
        return NotSimulatedError(f"<{parent.tag}><{child.tag}> is TwiML that the phone does not simulate")
    return PhoneError(BAD_SCHEMA, f"<{child.tag}> is not allowed in <{parent.tag}>")


_DIAL_ATTRIBUTES: Final = (
    "action answerOnBridge callerId callReason hangupOnStar method record recordingStatusCallback "
    "recordingStatusCallbackEvent recordingStatusCallbackMethod recordingTrack referUrl referMethod ringTone "
    "sequential timeLimit timeout trim"
)
_RECORD_ATTRIBUTES: Final = (
    "action finishOnKey maxLength method playBeep recordingStatusCallback recordingStatusCallbackEvent "
    "recordingStatusCallbackMethod timeout transcribe transcribeCallback trim"
)
_VERBS: Final[Mapping[str, tuple[Callable[[ElementTree.Element], Verb], set[str]]]] = {
    "Connect": (_connect, {"action", "method"}),
    "Dial": (_dial, set(_DIAL_ATTRIBUTES.split())),
    "Hangup": (_hangup, set()),
    "Pause": (_pause, {"length"}),
    "Play": (_play, {"loop", "digits"}),
    "Record": (_record, set(_RECORD_ATTRIBUTES.split())),
    "Redirect": (_redirect, {"method"}),
    "Reject": (_reject, {"reason"}),
    "Say": (_say, {"voice", "language", "loop"}),
}
_NOT_SIMULATED: Final = frozenset({"Enqueue", "Gather", "Leave", "Pay", "Prompt", "Refer", "Start", "Stop", "Siprec"})
_CONNECT_NOUNS: Final = frozenset({"Assistant", "AiSession", "Autopilot", "Conversation", "ConversationRelay", "Room",
                                   "VirtualAgent", "WhatsApp"})  # fmt: skip
