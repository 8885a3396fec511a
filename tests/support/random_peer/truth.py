"""What really happened in a simulated call, which the rules compare with what the conversation did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from callgate.core.turns.caller_audio import FRAMES_OF_SPEECH

if TYPE_CHECKING:
    from .plan import Answer
    from .server import Server

MS_PER_WORD = 100  # of the agent's speech


@dataclass(slots=True, eq=False)
class Utterance:
    """Words of the caller's. ``frames``: how many pieces of audio they are. ``is_sure``: they are loud and long enough
    that even a model that hangs must be found out; of others, one has to know that a model heard them: ``reported``."""

    number: int
    frames: int
    is_sure: bool
    ends_at: float
    reported: bool = False
    answered: bool = False

    @property
    def is_cough(self) -> bool:
        """Whether it is hardly any."""
        return self.frames < FRAMES_OF_SPEECH


@dataclass(slots=True, eq=False)
class CallerTurn:
    """The caller's speech, as one session heard it. ``words``: how many frames of each utterance. ``is_untold``: that
    it began was lost on the way."""

    began_at: float
    words: dict[int, int] = field(default_factory=dict)
    ended_at: float | None = None
    is_untold: bool = False

    def lasts_at(self, when: float) -> bool:
        """Whether that was before the end of it."""
        return self.ended_at is None or when < self.ended_at


@dataclass(slots=True, eq=False)
class Part:
    """A part of the agent's speech. Lengths are bytes of µ-law: ``planned`` and ``sent`` by the server, ``forwarded``
    to Twilio, ``heard`` by the caller, or will be unless it is cleared. ``words``: of its text, as far as the
    conversation was told it. ``is_whole``: it was told all audio that was planned."""

    number: int
    server: Server
    name: str
    planned: int = 0
    sent: int = 0
    forwarded: int = 0
    heard: int = 0
    words: int = 0
    is_whole: bool = False

    def text(self, first: int, end: int) -> str:
        """Return its words from the first to before the last of these."""
        return "".join(f"a{self.number}.{word} " for word in range(first, end))


@dataclass(slots=True, eq=False)
class Response:
    """A response of the model's.

    ``asked``: the event id of the request that it follows from; "" if there was none. ``knows``: the caller's
    utterances that its session knew when it began; ``told``: how many other things the agent had been told by then, in
    this call; ``has_news``: some of these came after the last response that was heard. ``is_unasked``: it began for no
    reason that we know. ``after``: the response before it to the same turn, if its session begins it by itself
    nevertheless. ``is_crossed``: the conversation was told that it began while another was requested; ``known_at``:
    when. ``forwarded``: pieces of audio. ``acted``: it called a tool that the caller was to hear of. ``status``: with
    which it ended, as the conversation was told.
    """

    number: int
    server: Server
    answer: Answer
    began_at: float
    asked: str
    greets: bool
    knows: frozenset[int]
    told: int
    is_unasked: bool = False
    after: Response | None = None
    has_news: bool = False
    is_crossed: bool = False
    known_at: float = 0.0
    forwarded: int = 0
    acted: bool = False
    status: str = ""

    @property
    def is_twin(self) -> bool:
        """Whether another one was heard that answers the same."""
        return self.after is not None and bool(self.after.forwarded or self.after.acted)

    @property
    def id(self) -> str:
        """Its id."""
        return f"resp_{self.number}"


@dataclass(slots=True)
class Trouble:
    """Something went wrong on the model's side. ``seconds``: how much longer the caller may have to wait."""

    at: float
    what: str
    seconds: float


class Truth:
    """All of it."""

    def __init__(self) -> None:
        self.utterances: dict[int, Utterance] = {}
        self.responses: dict[str, Response] = {}
        self.parts: dict[str, Part] = {}
        self.troubles: list[Trouble] = []
        self.told = 0  # things that the agent was told besides words
        self.met: set[str] = set()  # the faults that this call has met

    def part(self, server: Server, name: str) -> Part:
        """Return a part of this name, a new one if there is none."""
        part = self.parts.get(name)
        if part is None:
            part = self.parts[name] = Part(len(self.parts), server, name)
        return part
