"""Whether a silent model lives. Pure; times are seconds on one clock.

A model that hangs looks like one that thinks, and no document says how soon a living one must answer anything. So
nothing here calls a model dead: only its socket can tell that. A silent model is asked a question, a ``session.update``
that changes nothing. If that is not answered either, and nothing else arrives, the model is doubtful, and a successor
is opened beside it.

How long an answer may take is learnt in each session, from its opening on.
"""

from __future__ import annotations

from callgate.core.units import SECONDS

ASK_AFTER = 0.4 * SECONDS  # of silence on the model's side, when it is its turn
# The same, when the caller seems to have spoken, or to have fallen silent: voice detection takes its time.
ASK_ABOUT_SPEECH_AFTER = 0.8 * SECONDS
ASK_IN_NOISE_AFTER = 3 * SECONDS  # of silence on the model's side, while the caller is loud
ANSWER_WITHIN = 1.2 * SECONDS  # at least
TIMES_THE_SLOWEST = 3  # or so many times as long as the slowest answer of this session
WORDS_WITHIN = 8 * SECONDS  # for a living model to say what it owes; then it is doubtful, too


class Liveness:
    """What is known about the silence of the session that serves a call."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._last_event = now
        self._open_since: float | None = None  # when the question was asked, if nothing has arrived since
        self._asked_at: float | None = None  # when it was asked, if it has not been answered itself
        self._slowest = 0.0  # answer of this session
        self._lenience = 1.0  # grows when a doubt was wrong

    def began(self, now: float, answered_within: float) -> None:
        """Another session serves the call. ``answered_within``: how long it took to confirm its configuration."""
        self._began = now
        self._last_event = now
        self._open_since = self._asked_at = None
        self._slowest = answered_within
        self._lenience = 1.0

    def heard(self, now: float) -> None:
        """The model sent something that can be read, which is a sign of life as good as an answer."""
        self._last_event = now
        self._open_since = None

    def answered(self, now: float) -> bool:
        """The model confirmed a ``session.update``. Return whether a question was open."""
        if self._asked_at is None:
            return False
        self._slowest = max(self._slowest, now - self._asked_at)
        self._asked_at = None
        return True

    def asked(self, now: float) -> None:
        """The model was asked a question."""
        self._open_since = self._asked_at = now

    def was_wrong(self) -> None:
        """A doubtful model spoke after all: be more patient with this session."""
        self._lenience *= 2

    @property
    def is_asked(self) -> bool:
        """Whether a question is open."""
        return self._open_since is not None

    def ask_at(self, *, is_its_turn: bool, unheard: bool, caller_since: float, caller_until: float) -> float | None:
        """When to ask; None: there is no need.

        ``is_its_turn``: it is the model's turn to send something. ``unheard``: the caller was loud, or the model heard
        them begin to speak, and it has sent nothing about it since. ``caller_since``, ``caller_until``: when they began
        to be loud, and when they last were.
        """
        if self._open_since is not None:
            return None
        if is_its_turn:
            return self._last_event + ASK_AFTER
        if unheard:
            in_noise = max(self._last_event, caller_since) + ASK_IN_NOISE_AFTER
            return min(max(self._last_event, caller_until) + ASK_ABOUT_SPEECH_AFTER, in_noise)
        return None

    def doubtful_at(self, owed_since: float | None) -> float | None:
        """When the model becomes doubtful; None: it need not say anything. ``owed_since``: since when it owes a
        word; None: it owes none."""
        words_at = None if owed_since is None else max(owed_since, self._began) + WORDS_WITHIN * self._lenience
        return min((at for at in (self._answer_at(), words_at) if at is not None), default=None)

    def is_mute(self, now: float) -> bool:
        """Whether a question is open for longer than a living model takes to answer it."""
        answer_at = self._answer_at()
        return answer_at is not None and now >= answer_at

    def _answer_at(self) -> float | None:
        if self._open_since is None:
            return None
        return self._open_since + max(ANSWER_WITHIN, TIMES_THE_SLOWEST * self._slowest) * self._lenience
