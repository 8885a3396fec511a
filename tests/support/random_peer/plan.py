"""What is drawn before a call begins: what the caller does, how the model's servers behave, and what goes wrong.

Everything that happens follows from a plan, so a plan is all that is needed to have a call once more. It is drawn so
that small numbers mean that nothing goes wrong: Hypothesis then shrinks a call that breaks a rule to the faults that it
takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")

HABITS = {  # as the bench calls those that are unusual
    "alive": "answers questions",
    "begins_after": "begins by itself late",
    "has_twins": "begins by itself twice",
    "names": "errors that name no event",
    "speaks_over": "refuses over the caller",
    "text": "text",
    "transcribes": "transcribes",
    "late": "audio after the caller began",
    "after_end": "… behind the response's end",
    "finishes": "cancelled parts without an end",
}

USUAL = ("speaks", "speaks", "speaks", "calls a tool")
GOOD = (
    *USUAL, "speaks and calls a tool", "calls two tools", "calls an unknown tool", "calls a remote tool",
    "two items by turns", "a second content", "only a second content", "takes a message",
)  # fmt: skip
LEAVES = ("hangs up", "says goodbye", "puts through", "sends keys", "puts through to nobody")
BAD = (
    "empty", "incomplete", "failed", "over its limits", "cancelled", "breaks off", "fails in the middle", "refuses",
    "never begins", "an unfinished call", "the same call twice",
)  # fmt: skip
EVENTS = ("delayed", "dropped", "doubled", "swapped", "lost", "hung", "expired", "error", "named error", "cancels",
          "speaks up")  # fmt: skip
SOUNDS = ("speaks", "speaks", "speaks", "speaks softly", "coughs", "makes noise", "presses a key", "presses #",
          "sends something odd")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Act:
    """What the caller does, ``wait`` seconds after the last thing they did, for ``seconds``."""

    what: str
    wait: float = 1.0
    seconds: float = 1.0
    key: str = "1"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: it begins to speak, or fails, after ``thinking`` seconds, and speaks for ``seconds``. ``wait``: what
    an error tells us to wait; 0: nothing."""

    what: str = "speaks"
    thinking: float = 0.4
    seconds: float = 1.2
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Opening:
    """The opening of a session takes ``seconds``. ``wait``: what the server tells us to wait, if it refuses."""

    what: str = "ready"
    seconds: float = 0.3
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Habits:
    """How a session behaves.

    ``latency``: of its events. ``alive``: when it answers a question. ``begins_after``: seconds between the caller's
    words and the response that it begins by itself. ``has_twins``: it begins that even if a requested one was there
    meanwhile. ``names``: its errors name the event that they are about. ``speaks_over``: it accepts a request while the
    caller speaks. ``text``: where its text is, compared with its audio. ``transcribes``: when it has the caller's text.
    ``late``: pieces of audio sent after the caller has begun to speak. ``after_end``: they come behind the response's
    end. ``finishes``: it ends the parts of a response that was cancelled.
    """

    latency: float = 0.05
    alive: str = "at once"
    begins_after: float = 0.0
    has_twins: bool = False
    names: bool = True
    speaks_over: bool = True
    text: str = "with it"
    transcribes: str = "soon"
    late: int = 0
    after_end: bool = False
    finishes: bool = True


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at one event of a session, both counted from 0. ``seconds``: for those that take time."""

    session: int
    event: int
    what: str
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A call. When the lists are at their end, the model behaves."""

    acts: tuple[Act, ...] = ()
    answers: tuple[Answer, ...] = ()
    openings: tuple[Opening, ...] = ()
    habits: tuple[Habits, ...] = ()
    faults: tuple[Fault, ...] = ()
    tools_take: tuple[float, ...] = ()
    idle: float = 0.0
    longest: float = 0.0
    has_second_model: bool = False
    is_cut: bool = True  # the agent's audio takes the short cut that it takes in a call
    hangs_up_at_once: bool = False

    @property
    def habits_met(self) -> set[str]:
        """The unusual habits in it."""
        usual = Habits()
        return {
            f"{what} {value}" if isinstance(value, str) else what
            for each in self.habits
            for name, what in HABITS.items()
            if (value := getattr(each, name)) != getattr(usual, name)
        }

    @property
    def hours(self) -> int:
        """How often the caller says nothing for nearly an hour."""
        return sum(act.what == "is silent for an hour" for act in self.acts)

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong on the model's side."""
        return not (
            self.faults
            or any(each != Habits(latency=each.latency) for each in self.habits)
            or any(each.what != "ready" or each.seconds > 1.5 for each in self.openings)
            or any(each.what not in GOOD or each.thinking > 2.0 for each in self.answers)
        )


def drawn(random: Random) -> Plan:
    """Draw a plan."""
    storm = _amount(random, 1.0)  # 0: nothing goes wrong
    if storm < 0.1:
        storm = 0.0
    return Plan(
        acts=tuple(_act(random) for _ in range(1 + _number(random, 6))),
        answers=tuple(_answer(random, storm) for _ in range(_number(random, 12))),
        openings=tuple(_opening(random, storm) for _ in range(_number(random, 4))),
        habits=tuple(_habits(random, storm) for _ in range(_number(random, 3))),
        faults=tuple(_fault(random) for _ in range(_number(random, round(8 * storm)))),
        tools_take=tuple(_amount(random, 6.0) for _ in range(_number(random, 4))),
        idle=8.0 if _is(random, 0.15) else 0.0,
        longest=40.0 if _is(random, 0.1) else 0.0,
        has_second_model=_is(random, 0.3),
        is_cut=not _is(random, 0.4),
        hangs_up_at_once=_is(random, 0.1),
    )


def _act(random: Random) -> Act:
    if _is(random, 0.003):
        return Act("is silent for an hour")
    wait = _amount(random, 8.0) if _is(random, 0.6) else _amount(random, 1.5)
    return Act(_one(random, SOUNDS), wait, 0.4 + _amount(random, 3.0), _one(random, "1234#5709"))


def _answer(random: Random, storm: float) -> Answer:
    kinds: Sequence[str] = GOOD
    if _is(random, storm * 0.6 if storm < 0.93 else 0.9):
        kinds = BAD
    elif _is(random, 0.06):
        kinds = LEAVES
    thinking = _amount(random, 6.0 if _is(random, storm * 0.5) else 2.0)
    return Answer(_one(random, kinds), thinking, 0.2 + _amount(random, 6.0), _amount(random, 4.0))


def _opening(random: Random, storm: float) -> Opening:
    if not _is(random, storm * 0.5):
        return Opening(seconds=0.05 + _amount(random, 1.0))
    what = "fatal" if _is(random, 0.05) else _one(random, ("ready", "refused", "refused"))
    return Opening(what, 0.05 + _amount(random, 5.0), _amount(random, 5.0) if _is(random, 0.3) else 0.0)


def _habits(random: Random, storm: float) -> Habits:
    latency = 0.02 + _amount(random, 0.13)
    if not _is(random, storm):
        return Habits(latency)
    return Habits(
        latency,
        alive=_one(random, ("at once", "at once", "when idle", "late", "never")),
        begins_after=0.0 if not _is(random, 0.2) else _amount(random, 5.0),
        has_twins=_is(random, 0.5),
        names=not _is(random, 0.4),
        speaks_over=not _is(random, 0.3),
        text=_one(random, ("with it", "with it", "ahead", "behind", "never")),
        transcribes=_one(random, ("soon", "soon", "late", "never", "failed")),
        late=_number(random, 4),
        after_end=_is(random, 0.4),
        finishes=not _is(random, 0.3),
    )


def _fault(random: Random) -> Fault:
    session = _number(random, 3) if _is(random, 0.5) else 0
    what = "fatal" if _is(random, 0.02) else _one(random, EVENTS)
    return Fault(session, _number(random, 80), what, _amount(random, 3.0))


# The small end of each is what does no harm.


def _is(random: Random, share: float) -> bool:
    return random.random() > 1 - share


def _amount(random: Random, most: float) -> float:
    return round(random.random() * most, 3)


def _number(random: Random, most: int) -> int:
    return int(random.random() * (most + 1))


def _one(random: Random, choices: Sequence[T]) -> T:
    return choices[int(random.random() * len(choices))]
