"""The promises of a call, and whether they were kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .options import PhoneOptions
from .simulation.caller import Caller, Utterance
from .simulation.codes import ACCEPT_CODES, FRAME_CODES, MEANINGS, WEBHOOK_CODES, advice
from .simulation.report import CallError, Promise
from .simulation.script import Interrupt

READ_LOG = "Read the backend's log for this call"


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts by which the promises are judged."""

    errors: Sequence[CallError]
    streams: int  # how many were opened
    verbs: Sequence[str]  # as described in the timeline
    ended: str
    overran: bool


def judge(options: PhoneOptions, caller: Caller, facts: Facts) -> tuple[Promise, ...]:
    """Judge all promises that the call got far enough to keep or break."""
    webhooks = _no_error("webhooks answer in time, with valid TwiML", WEBHOOK_CODES | {0}, facts.errors)
    promises = [*([webhooks] if options.to.startswith("http") else []), *_stream(options, webhooks, facts)]
    if facts.streams:
        promises += [
            _no_error("every frame is valid", FRAME_CODES, facts.errors),
            *_greeting(options, caller),
            *_script(options, caller, facts),
        ]
    if facts.overran:
        promises.append(
            Promise(
                f"the call ends within {options.max_seconds:g} s",
                False,
                "it was still going on, so the caller hung up",
                "See in the timeline what the caller waited for, or allow more time with --max-seconds",
            )
        )
    return tuple(promises)


def _no_error(what: str, codes: Iterable[int], errors: Sequence[CallError]) -> Promise:
    for error in errors:
        if error.code in codes:
            found = f"Twilio error {error.code}, {error.reason}" if error.code else error.reason
            todo = _sentence(advice(error.code)) if error.code in MEANINGS else READ_LOG
            return Promise(what, False, found, todo)
    return Promise(what, True)


def _stream(options: PhoneOptions, webhooks: Promise, facts: Facts) -> list[Promise]:
    what = "the stream is accepted"
    refused = _no_error(what, ACCEPT_CODES, facts.errors)
    if not refused.kept or facts.streams:
        return [refused]
    if not webhooks.kept or not (options.script or options.greeting):
        return []
    did = ", ".join(facts.verbs) or "nothing"
    return [Promise(what, False, f"the TwiML did not open a stream: {did}", READ_LOG)]


def _greeting(options: PhoneOptions, caller: Caller) -> list[Promise]:
    if not options.greeting:
        return []
    what = "the agent greets the caller"
    if caller.greeting_heard:
        return [Promise(what, True)]
    return [Promise(what, False, "nothing was heard before the caller spoke", f"{READ_LOG}, or use --no-greeting")]


def _script(options: PhoneOptions, caller: Caller, facts: Facts) -> list[Promise]:
    promises = []
    for number, utterance in enumerate(caller.utterances, 1):
        promises.append(_reply(f"utterance {number} ({utterance.words.name})", utterance, options, facts))
        if isinstance(utterance.words, Interrupt):
            promises.append(_interruption(number, utterance))
    promises += [
        Promise("the agent can be interrupted", False, sentence, "Interrupt earlier with --after")
        for sentence in caller.unmet
    ]
    if caller.remaining and not facts.overran:
        what = "the caller comes to the end of its script"
        left = f"{caller.remaining} step(s) were left when the call ended: {facts.ended}"
        promises.append(Promise(what, False, left, READ_LOG))
    return promises


def _reply(name: str, utterance: Utterance, options: PhoneOptions, facts: Facts) -> Promise:
    what = f"{name} is answered within {options.reply_within:g} s"
    if utterance.replied is not None:
        return Promise(what, True, f"{(utterance.latency or 0) * 1000:.0f} ms")
    happened = "nothing was heard" if utterance.missed else f"the call ended before that: {facts.ended}"
    return Promise(what, False, happened, READ_LOG)


def _interruption(number: int, utterance: Utterance) -> Promise:
    what = f"the agent stops when utterance {number} interrupts it"
    if utterance.cleared is None and utterance.talked_over:
        happened = "it went on speaking over the caller, and the app sent no clear"
        return Promise(what, False, happened, "Send clear when the model detects that the caller speaks")
    return Promise(what, True)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
