"""The caller: goes through a script and listens to the agent, a tick at a time. Pure; time is passed in.

Theory of operation. Every 20 ms, `Caller.tick` gets the time and what was played, which its `Ear` takes in, and returns
what the caller does: the frame it sends, a key it presses, whether it hangs up. One step of the script is current.
An utterance, once spoken, is *pending* until its reply is heard. The reply is audio that was queued after the utterance
ended (or after the app's ``clear``, if that came first) and has reached the ear. While an utterance is pending, the
caller says nothing, except to interrupt the agent's reply. Each wait ends after ``reply_within``: what did not come is
noted, and the script goes on.

A caller outlives a stream: if the app's socket is lost and TwiML opens another one, `resume` goes on with the script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from callgate.core.wire.media_stream import BYTES_PER_MS, FRAME_BYTES, SILENCE

from .hearing import Ear, speech_bytes
from .playback import Playback, PlayedFrame
from .script import Digits, Hold, Interrupt, Speak, Step, Wait
from .timeline import Timeline

SILENT_FRAME: Final = bytes([SILENCE]) * FRAME_BYTES
KEY_SECONDS: Final = 0.1  # from one key to the next


@dataclass(frozen=True, slots=True)
class CallerFrame:
    """What the caller does in one tick. ``frame`` is 160 µ-law bytes."""

    frame: bytes = SILENT_FRAME
    digit: str | None = None
    hangs_up: bool = False


@dataclass(slots=True)
class Utterance:
    """Something that the caller said, and the reaction to it. Times are in seconds since the call began."""

    words: Speak | Interrupt
    began: float
    began_at_byte: int  # in the recording's left side
    behind: int  # Ear.queued when it began: how much of the agent's audio had been queued before it
    speech_ended: float | None = None
    reply_from: int | None = None  # the Ear.position from which audio is the reply
    replied: float | None = None
    missed: bool = False  # no reply came in time
    cleared: float | None = None  # when the app sent clear, after an interruption began
    talked_over: bool = False  # after it had interrupted, the agent still played older audio
    spoken_over: bool = False  # the caller interrupted the reply

    @property
    def settled(self) -> bool:
        """Whether its reply was heard, or is no longer awaited."""
        return self.replied is not None or self.missed

    @property
    def latency(self) -> float | None:
        """From the end of the caller's speech to the first sound of the reply, in seconds."""
        if self.replied is None or self.speech_ended is None:
            return None
        return max(0.0, self.replied - self.speech_ended)


@dataclass(slots=True)
class _Step:
    """The progress of the script's current step. ``began``: None until its turn comes."""

    began: float | None = None
    spoken: int = 0  # bytes of the utterance that were sent
    speech_bytes: int = 0  # the length of the utterance without the silence at its end
    keys_sent: int = 0
    next_key: float = 0.0


class Caller:
    """One caller and its script. ``greeted``: whether the agent is expected to speak first. ``wait_clip``: see
    `Ear`."""

    def __init__(
        self,
        script: Sequence[Step],
        timeline: Timeline,
        *,
        greeted: bool,
        quiet_seconds: float,
        reply_within: float,
        wait_clip: bytes = b"",
    ) -> None:
        self.ear = Ear(quiet_seconds, wait_clip)
        self.utterances: list[Utterance] = []
        self.unmet: list[str] = []  # what the script waited for in vain, one sentence each
        self.done = False
        self._script = tuple(script)
        self._timeline = timeline
        self._greeted = greeted
        self._reply_within = reply_within
        self._at = 0  # the index of the current step
        self._step = _Step()
        self._listening_since: float | None = None

    @property
    def remaining(self) -> int:
        """The number of unfinished steps of the script."""
        open_ended = [step for step in self._script[self._at :] if not isinstance(step, Hold)]
        return 0 if self.done else len(open_ended)

    @property
    def greeting_heard(self) -> bool:
        """Whether the agent spoke before the caller did."""
        first = self.ear.first_heard
        return first is not None and (not self.utterances or first <= self.utterances[0].began)

    def tick(self, now: float, heard: PlayedFrame, playback: Playback, said_bytes: int) -> CallerFrame:
        """Decide what the caller does in the next 20 ms. ``said_bytes``: the recording's length so far."""
        self.ear.listen(now, heard, playback)
        if self._listening_since is None:
            self._listening_since = now
        self._watch_for_reply(now)
        while self._at < len(self._script):
            if self._step.began is None:
                self._step.began = now
            turn = self._take(self._script[self._at], now, said_bytes)
            if turn is not None:
                return turn
            self._next_step()
        if self._may_speak(now):
            self.done = True
            return CallerFrame(hangs_up=True)
        return CallerFrame()

    def cleared(self, now: float, playback: Playback) -> None:
        """Note that the app has cleared the buffer, so that what comes from now on is new."""
        utterance = self._pending()
        if utterance is None:
            return
        utterance.reply_from = playback.queued
        if isinstance(utterance.words, Interrupt) and utterance.cleared is None:
            utterance.cleared = now
            self._timeline.add(
                now, "interrupted", f"the agent stopped {_ms(now - utterance.began)} after the caller began"
            )

    def resume(self, now: float) -> None:
        """Go on in a new stream. Words that were cut off are said again; an unanswered utterance stays pending."""
        if self._step.spoken and self.utterances[-1].speech_ended is None:
            self.utterances.pop()
            self._step = _Step(began=now)
        elif self._step.spoken:  # only silence after the words was cut off
            self._next_step()
        self._listening_since = now
        if utterance := self._pending():
            utterance.reply_from = 0

    def _next_step(self) -> None:
        self._at += 1
        self._step = _Step()

    # The steps of the script. Each returns what the caller does now, or None when the step is finished.

    def _take(self, step: Step, now: float, said_bytes: int) -> CallerFrame | None:
        match step:
            case Speak() | Interrupt():
                return self._speak(step, now, said_bytes)
            case Digits():
                return self._press(step, now)
            case Wait():
                assert self._step.began is not None
                return CallerFrame() if now - self._step.began < step.seconds else None
            case Hold():
                return CallerFrame()

    def _speak(self, words: Speak | Interrupt, now: float, said_bytes: int) -> CallerFrame | None:
        if self._step.spoken == 0:
            if isinstance(words, Interrupt) and self._given_up(
                now, f"no speech lasted {words.after} s to interrupt it"
            ):
                return None
            if not self._may_begin(words, now):
                return CallerFrame()
            self._begin(words, now, said_bytes)
        frame = words.audio[self._step.spoken : self._step.spoken + FRAME_BYTES]
        if not frame:
            return None
        self._step.spoken += len(frame)
        utterance = self.utterances[-1]
        if utterance.speech_ended is None and self._step.spoken >= self._step.speech_bytes:
            utterance.speech_ended = now
            if utterance.reply_from is None:
                utterance.reply_from = self.ear.queued
        return CallerFrame(frame.ljust(FRAME_BYTES, bytes([SILENCE])))

    def _may_begin(self, words: Speak | Interrupt, now: float) -> bool:
        if isinstance(words, Speak):
            return self._may_speak(now)
        return self._heard_out(now) and self.ear.spoken_for(now) >= words.after

    def _begin(self, words: Speak | Interrupt, now: float, said_bytes: int) -> None:
        interrupts = isinstance(words, Interrupt)
        if interrupts and self.utterances:
            self.utterances[-1].spoken_over = True
        self._step.speech_bytes = speech_bytes(words.audio)
        self.utterances.append(Utterance(words, now, said_bytes, self.ear.queued))
        self._timeline.add(
            now,
            "interrupts" if interrupts else "says",
            f"{words.name}, {len(words.audio) / BYTES_PER_MS / 1000:.2f} s"
            + (", over the agent" if interrupts else ""),
        )

    def _press(self, step: Digits, now: float) -> CallerFrame | None:
        if self._step.keys_sent == 0 and not self._may_speak(now):
            return CallerFrame()
        if now < self._step.next_key:
            return CallerFrame()
        if self._step.keys_sent == len(step.digits):
            return None
        digit = step.digits[self._step.keys_sent]
        self._step.keys_sent += 1
        self._step.next_key = now + KEY_SECONDS
        self._timeline.add(now, "dtmf", f"presses {digit}")
        return CallerFrame(digit=digit)

    # What the caller waits for.

    def _may_speak(self, now: float) -> bool:
        return self._heard_out(now) and self.ear.is_quiet(now)

    def _heard_out(self, now: float) -> bool:
        return self._greeting_over(now) and (not self.utterances or self.utterances[-1].settled)

    def _greeting_over(self, now: float) -> bool:
        if not self._greeted or self.ear.first_heard is not None or self.utterances:
            return True
        assert self._listening_since is not None
        return now - self._listening_since > self._reply_within

    def _given_up(self, now: float, sentence: str) -> bool:
        assert self._step.began is not None
        if now - self._step.began <= self._reply_within or self.ear.playing or not self._heard_out(now):
            return False
        self.unmet.append(sentence)
        return True

    def _pending(self) -> Utterance | None:
        return self.utterances[-1] if self.utterances and not self.utterances[-1].settled else None

    def _watch_for_reply(self, now: float) -> None:
        utterance = self._pending()
        if utterance is None or utterance.speech_ended is None or utterance.reply_from is None:
            return
        if isinstance(utterance.words, Interrupt) and utterance.cleared is None and self.ear.playing:
            utterance.talked_over = utterance.talked_over or self.ear.position <= utterance.behind
        if self.ear.audible and self.ear.position > utterance.reply_from:
            utterance.replied = now
            self._timeline.add(now, "reply", f"heard {_ms(utterance.latency or 0)} after the caller's speech")
        elif now - utterance.speech_ended > self._reply_within:
            utterance.missed = True
            self._timeline.add(now, "error", f"no reply within {self._reply_within:g} s")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
