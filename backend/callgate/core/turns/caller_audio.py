"""What the caller said that no model has begun to answer yet, and the latest of their audio. Pure; times are seconds on
one clock.

A model that is lost takes with it what it had heard. The audio kept here is handed to the next one, which then hears
that speech again. The API reports the progress of speech in three steps: it starts, it is committed (as an item of the
conversation), a response begins.

Whether the caller is loud has no influence on what is heard. It says when to wonder whether a silent model is alive,
and when not to play a clip; the model's own voice detection decides about turns.
"""

from __future__ import annotations

from typing import Final

from callgate.core.units import SECONDS

from .loudness import is_silence

LEAD_IN_FRAMES: Final = 25  # of 20 ms, always kept, so that the beginning of a word is included
LONGEST_SILENCE: Final = 50  # frames of silence that are kept in the midst of unanswered speech
KEPT_FRAMES: Final = 3000  # of unanswered speech: a minute
TOGETHER: Final = 10  # frames dropped at a time
FRAMES_OF_SPEECH: Final = 15  # anything shorter may be a cough, or a door
# A sound of this length that a living model has not taken for speech is noise.
NOISE_AFTER: Final = 1.5 * SECONDS
LONGEST_WORDS: Final = 10 * SECONDS  # without a pause
FINDS_WORDS_WITHIN: Final = 1.5 * SECONDS  # for a new model to notice the words that it was given
LOUD_NOW: Final = 0.3 * SECONDS  # for a model to notice speech
SAME_SOUND: Final = 1 * SECONDS  # a pause longer than this ends a sound


class CallerAudio:
    """One call's unanswered speech. Audio is base64 µ-law, in pieces of about 20 ms."""

    def __init__(self, now: float) -> None:
        self.spoken = False  # the model heard speech start, and has not begun to answer it
        self.given_until = now  # until then, keep what a new model was given
        self._is_repeated = False  # what the model hears until then was said before, to another model
        self.loud_until = now  # when the caller was last loud
        self.sound_since = now
        self.sound_until = now  # when unanswered speech was last no silence, however soft
        self.loud_since = now  # when the sound began that was last loud
        self._noise_until = now  # up to when the sound is known to be noise
        self._sound_frames = 0  # of the present sound, however soft, that no living model has let pass
        self._loud_frames = 0  # that no living model has let pass
        self._audio: list[bytes] = []
        self._first = 0  # index of the first piece that is kept
        self._words_end: int | None = None  # the index behind the words that the model has heard; None: not to the end
        self._quiet = 0  # pieces of silence at the end

    # The audio.

    def keep(self, audio: bytes, now: float, *, is_loud: bool, whole: bool) -> None:
        """A piece of the caller's audio arrived. ``whole``: keep all speech, because no model has the audio before it,
        or there is speech in it that waits for an answer."""
        if is_loud:
            if now - self.loud_until > SAME_SOUND:
                self.loud_since = now
            self._loud_frames += 1
            self.loud_until = now
        is_quiet = not is_loud and is_silence(audio)
        if not is_quiet:
            if now - self.sound_until > SAME_SOUND:
                self.sound_since, self._sound_frames = now, 0
            self._sound_frames += 1
            self.sound_until = now
        self._audio.append(audio)
        if not whole:
            self._quiet = 0
            self._forget_but(LEAD_IN_FRAMES)
            return
        self._quiet = self._quiet + 1 if is_quiet else 0
        if self._quiet > LONGEST_SILENCE:  # leave out its middle
            del self._audio[-LEAD_IN_FRAMES]
            self._quiet -= 1
            if self._words_end is not None and self._words_end > len(self._audio) - LEAD_IN_FRAMES:
                self._words_end -= 1
        self._forget_but(KEPT_FRAMES)

    def kept(self) -> list[bytes]:
        """Return the audio for a session beside the one that serves the call."""
        return self._audio[self._first :]

    def is_given_again(self, now: float) -> None:
        """The session that took over was given the audio before."""
        self._is_repeated = self.spoken
        self.given_until = now + FINDS_WORDS_WITHIN

    def hand_over(self, now: float) -> list[bytes]:
        """Return the audio for a new model. It is kept for yet another one until this one has had time to find words in
        it."""
        self._is_repeated = self.spoken
        self.given_until = now + FINDS_WORDS_WITHIN
        return self._audio[self._first :]

    # What the model makes of it.

    def noticed(self, now: float) -> None:
        """The model has heard the caller begin to speak."""
        self.spoken = True
        self.sound_until = now
        self._words_end = None
        self._loud_frames = self._sound_frames = 0
        self._noise_until = self.loud_since

    def let_pass(self, now: float) -> None:
        """The model is alive, and says nothing about speech in what it was sent up to now."""
        self._loud_frames = self._sound_frames = 0
        if self.loud_until - self.loud_since >= NOISE_AFTER:
            self._noise_until = now

    def answered(self) -> None:
        """A model answers the caller's words. What they have said since is kept."""
        self.spoken = self._is_repeated = False
        self._loud_frames = self._sound_frames = 0
        since = 0 if self._words_end is None else len(self._audio) - self._words_end
        self._words_end = None
        self._quiet = min(self._quiet, since)
        self._forget_but(since)

    def fell_silent(self) -> None:
        """The model has heard the caller's speech to its end."""
        self._words_end = len(self._audio)
        self._is_repeated = False

    def taken_over(self) -> None:
        """Another model serves the call, and has noticed nothing yet."""
        self._noise_until = self.loud_since

    def is_repeated(self, now: float) -> bool:
        """Whether speech that the model has noticed now was said before, to another model: not if the caller is loud
        now."""
        return self._is_repeated and self.loud_until + LOUD_NOW < now < self.given_until

    @property
    def may_be_words(self) -> bool:
        """Whether there was a sound, perhaps a soft voice, of which the model has said nothing yet."""
        return self._sound_frames >= FRAMES_OF_SPEECH

    @property
    def unheard(self) -> bool:
        """Whether the caller has said something that the model shows no sign of having heard."""
        return self._loud_frames >= FRAMES_OF_SPEECH

    @property
    def is_unanswered(self) -> bool:
        """Whether the caller has said something that no model has begun to answer."""
        return self.spoken or self.unheard

    @property
    def keeps_words(self) -> bool:
        """Whether more is kept than the beginning of what may yet be said."""
        return len(self._audio) - self._first > LEAD_IN_FRAMES

    @property
    def heard_until(self) -> float:
        """When there was last a sound, as far as we know."""
        return max(self.loud_until, self.sound_until)

    @property
    def words_until(self) -> float:
        """When the caller may last have spoken: what a living model takes for noise is none of it."""
        is_noise = self._noise_until > self.loud_since and self.loud_until - self.loud_since >= NOISE_AFTER
        return self.loud_since if is_noise else self.loud_until

    @property
    def soft_words_until(self) -> float:
        """The same, while no model listens: every sound may be words, unless it lasts as long as only noise does."""
        is_noise = self.sound_until - self.sound_since > LONGEST_WORDS
        return self.words_until if is_noise else max(self.words_until, self.sound_until)

    def _forget_but(self, frames: int) -> None:
        self._first = max(self._first, len(self._audio) - frames)
        if self._first >= TOGETHER:
            del self._audio[: self._first]
            if self._words_end is not None:
                self._words_end = max(0, self._words_end - self._first)
            self._first = 0
