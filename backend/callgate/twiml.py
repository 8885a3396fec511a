"""The TwiML that Callgate answers with. Pure; https://www.twilio.com/docs/voice/twiml."""

from __future__ import annotations

from twilio.twiml.voice_response import Connect, Dial, Stream, VoiceResponse

INTERRUPTED = "/call-interrupted"
STREAM = "/media-stream"
STREAM_STATUS = "/stream-status"

BUSY = "All our lines are busy at the moment. Please call again in a few minutes."
SORRY = "We are sorry, we are having technical difficulties."
PUT_THROUGH = "One moment please, you are being connected."
ONE_MOMENT = "One moment please."
CALL_AGAIN = "Please call again in a few minutes."


def connect_stream(base_url: str, token: str, resumed: int = 0) -> str:
    """Connect the caller to the media stream; whatever ends that, ``/call-interrupted`` decides what comes next.

    ``<Connect>`` holds TwiML back until the stream's socket is closed by our side, by intent or by accident, and then
    the verb after it runs: the ``<Redirect>`` is the caller's safety net. ``resumed``: how often that has happened.
    """
    wss_url = "wss" + base_url.removeprefix("https")
    stream = Stream(
        url=f"{wss_url}{STREAM}/{token}",
        status_callback=f"{base_url}{STREAM_STATUS}",
        status_callback_method="POST",
    )
    stream.parameter(name="token", value=token)
    connect = Connect()
    connect.append(stream)
    response = VoiceResponse()
    response.append(connect)
    response.redirect(f"{base_url}{INTERRUPTED}?resumed={resumed}", method="POST")
    return str(response)


def wait(base_url: str, resumed: int) -> str:
    """This process takes no calls any more, and another soon will: have the caller wait for it."""
    response = VoiceResponse()
    response.say(ONE_MOMENT)
    response.pause(length=1)
    response.redirect(f"{base_url}{INTERRUPTED}?resumed={resumed}", method="POST")
    return str(response)


def busy() -> str:
    """There is no room for one more call: say so, and end it."""
    return _say_and_hang_up(BUSY)


def hang_up() -> str:
    """The conversation is over."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def apologise(fallback_dial: str | None) -> str:
    """The model can't be had: say so, and ring the human, where there is one."""
    if fallback_dial is None:
        return _say_and_hang_up(f"{SORRY} {CALL_AGAIN}")
    response = VoiceResponse()
    response.say(f"{SORRY} {PUT_THROUGH}")
    dial = Dial()
    dial.number(fallback_dial)
    response.append(dial)
    return str(response)


def _say_and_hang_up(sentence: str) -> str:
    response = VoiceResponse()
    response.say(sentence)
    response.hangup()
    return str(response)
