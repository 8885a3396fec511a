"""The caller: speaks, loudly or softly, coughs, makes noise, presses keys, and hangs up at the end."""

from __future__ import annotations

import math
from collections.abc import Callable

from callgate.core.turns.caller_audio import SAME_SOUND
from callgate.core.wire.media_stream import Connected, Dtmf, FromTwilio, Mark, Unknown

from support.conversation_driver import START

from .plan import Act
from .sounds import FRAME, HOUR, HOURS_FRAME, Sounds
from .truth import Truth, Utterance

COUGH = 0.16  # seconds


class Caller:
    """``audio``: the piece of audio that Twilio sends now, until ``changes_at``. ``does``: called with the messages
    that Twilio sends besides. ``is_done``: whether everything was done that was planned. ``frame``: seconds between
    two pieces."""

    def __init__(
        self, acts: tuple[Act, ...], now: float, sounds: Sounds, truth: Truth, does: Callable[[FromTwilio], None]
    ) -> None:
        self.audio = sounds.silence
        self.frame = FRAME
        self.changes_at = now
        self.is_done = False
        self.is_loud = False
        self.loud_since = self._loud_until = now
        self._acts = list(acts)
        self._sounds = sounds
        self._truth = truth
        self._does = does
        self._utterance: Utterance | None = None  # that is being spoken
        self._is_waiting = False

    @property
    def speaks(self) -> bool:
        """Whether the caller is speaking."""
        return self._utterance is not None

    def changes(self, now: float) -> None:
        """Do what is next."""
        self.audio = self._sounds.silence
        self.frame = FRAME
        self._loud_until = now if self.is_loud else self._loud_until
        self.is_loud = False
        self._utterance = None
        if not self._acts:
            self.is_done = True
            self.changes_at = math.inf
            return
        act = self._acts[0]
        if not self._is_waiting and act.wait:
            self._is_waiting = True
            self.changes_at = now + act.wait
            return
        self._is_waiting = False
        del self._acts[0]
        self._act(act, now)

    def _act(self, act: Act, now: float) -> None:
        self.changes_at = now
        if now - self._loud_until > SAME_SOUND:
            self.loud_since = now
        match act.what:
            case "speaks" | "speaks softly":
                self._speak(act.seconds, now, is_loud=act.what == "speaks")
            case "coughs":
                self._speak(COUGH, now, is_loud=True)
            case "makes noise":
                self.audio, self.is_loud, self.changes_at = self._sounds.noise, True, now + 2 * act.seconds
            case "is silent for an hour":
                self.frame, self.changes_at = HOURS_FRAME, now + HOUR
            case "presses a key":
                self._does(Dtmf(START.stream_sid, act.key))
            case "presses #":
                self._does(Dtmf(START.stream_sid, "#"))
            case "sends something odd":
                for odd in (START, Connected(), Mark("MZ2", "0:1"), Mark(START.stream_sid, "0:x"), Unknown("new")):
                    self._does(odd)

    def _speak(self, seconds: float, now: float, *, is_loud: bool) -> None:
        frames = max(1, round(seconds / FRAME))
        number = len(self._truth.utterances) + 1
        is_sure = is_loud and seconds > COUGH
        self._utterance = Utterance(number, frames, is_sure, now + frames * FRAME)
        self._truth.utterances[number] = self._utterance
        self.audio = self._sounds.words(number, are_loud=is_loud)
        self.is_loud = is_loud
        self.changes_at = now + (frames - 0.5) * FRAME
