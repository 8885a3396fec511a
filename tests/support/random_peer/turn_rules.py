"""The rules of turn-taking: never both at once by our doing, and nothing twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from callgate.core.protocols.realtime import (
    ALREADY_RESPONDING,
    CreateResponse,
    ErrorEvent,
    ResponseCreated,
    ResponseDone,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
)
from callgate.core.turns.answering import REFUSED_WITHIN
from callgate.core.turns.recovery import WAITS

from .broken import Broken
from .downlink import Item
from .sounds import FRAME
from .truth import CallerTurn, Part, Response

if TYPE_CHECKING:
    from .scene import Scene
    from .server import Server

BOTH = "never both at once"
TWICE = "nothing twice"
ANSWERED = "answered"
PAUSE = min(WAITS) - 0.01  # seconds, before a model is asked again
A_WORD = 1.4  # seconds: a loud sound that is longer may be taken for noise


@dataclass(slots=True)
class View:
    """What one session has told the conversation so far. ``turn``: the caller's last; ``speaks``: they have not ended
    it. ``asked``: a request that it has not said anything about; ``doubt``: when it sent an error without saying what
    about. ``failed_at``: when a response that was requested ended without a sound."""

    served_since: float = 0.0
    turn: CallerTurn | None = None
    speaks: bool = False
    under_way: set[str] = field(default_factory=set)
    asked: str | None = None
    asked_at: float = 0.0
    doubt: float | None = None
    failed_at: float = 0.0

    def requests(self, request: CreateResponse, now: float) -> None:
        """It is asked for a response."""
        self.asked, self.asked_at, self.doubt = request.event_id or "", now, None

    def tells(self, item: Item, about: Any, now: float) -> None:
        """It has told something."""
        match item:
            case SpeechStarted():
                self.turn, self.speaks = about, True
            case SpeechStopped():
                self.turn, self.speaks = about, False  # its beginning may not have been told
            case SpeechCommitted():
                self.speaks = False
            case ResponseCreated():
                about.is_crossed, about.known_at = self.asked not in (None, about.asked), now
                self.asked = None
                self.under_way = {item.response_id}  # there is only one at a time
                if self.turn is not None and not self.turn.lasts_at(about.began_at):
                    self.speaks = False
            case ResponseDone():
                self.under_way.discard(item.response_id)
                about.status = item.status
            case ErrorEvent():
                if item.event_id == self.asked or (item.event_id is None and item.code == ALREADY_RESPONDING):
                    self.asked = None
                elif item.event_id is None:
                    self.doubt = self.doubt or now
        if isinstance(about, Response) and about.began_at >= self.asked_at:
            self.asked = None


class TurnRules:
    """Both of them."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._views: dict[Server, View] = {}
        self._last: Response | None = None  # that was heard
        self._told = 0  # by when that began
        self._greetings = 0
        self._clears = 0
        self._played = False

    def view(self, server: Server) -> View:
        """Return what that session has told."""
        return self._views.setdefault(server, View())

    def serves(self, server: Server) -> None:
        """A session serves the call from now on."""
        self.view(server).served_since = self._scene.agenda.now

    def failed(self, server: Server) -> None:
        """A response that was requested has ended without a sound."""
        self.view(server).failed_at = self._scene.agenda.now

    # The caller begins to speak.

    def before(self, server: Server, item: Item, about: Any) -> None:
        """The conversation is told an event."""
        self._clears, self._played = self._scene.playback.clears, self._scene.playback.plays
        self.view(server).tells(item, about, self._scene.agenda.now)

    def after(self, server: Server, item: Item, turn: Any, *, may_leave: bool) -> None:
        """The conversation has been told it."""
        if not isinstance(item, SpeechStarted) or not self._played or may_leave or self._scene.ended is not None:
            return
        served_since = self.view(server).served_since
        utterances = self._scene.truth.utterances
        if min(utterances[number].ends_at - utterances[number].frames * FRAME for number in turn.words) < served_since:
            return  # words from before, given to a new session, interrupt nobody
        if self._scene.playback.clears == self._clears:
            raise Broken(BOTH, "the caller speaks, and the agent is not silenced")

    # What reaches the caller.

    def clip(self, server: Server | None) -> None:
        """A clip is played."""
        if server is not None and self.view(server).speaks:
            raise Broken(BOTH, "a clip is played while the model hears the caller speak")
        self._last = None  # whoever was asked to wait is told that it goes on
        caller = self._scene.caller
        if caller.is_loud and FRAME < self._scene.agenda.now - caller.loud_since < A_WORD:
            raise Broken(BOTH, "a clip is played while the caller is loud")

    def forwards(self, response: Response, part: Part, *, may_leave: bool) -> bool:
        """Audio is forwarded. Return whether it is the first of its response."""
        server = response.server
        if server is not self._scene.sessions.current:
            raise Broken(BOTH, f"{response.id} is of a session that does not serve the call")
        turn = self.view(server).turn
        if turn is not None and turn.lasts_at(response.began_at) and not may_leave:
            raise Broken(BOTH, f"{response.id} is heard, which began before the caller fell silent")
        response.forwarded += 1
        if response.forwarded > 1:
            return False
        self._greetings += response.greets
        if self._greetings > 1:
            raise Broken(TWICE, "the greeting is heard twice")
        if self._last is not None:
            self._compare(self._last, response)
        response.has_news, self._told = response.told > self._told, response.told
        self._last = response
        return True

    def _compare(self, earlier: Response, response: Response) -> None:
        if earlier.status != "completed" or response.told != earlier.told:
            return
        if any((earlier.greets, earlier.is_unasked, response.is_unasked, earlier.after)):  # it answers nothing else
            return
        if response.after is not None and (response.is_crossed or response.server.has_spoken_up):
            return  # nobody can know that it does not answer the request
        if (
            response.asked and response.began_at <= earlier.known_at
        ):  # it was requested before anybody knew of the other
            return
        if not earlier.asked and earlier.has_news:  # nobody can know whether it answers that, too
            return
        if response.knows <= earlier.knows:
            raise Broken(TWICE, f"{earlier.id} was heard to its end, and {response.id} answers the same")

    # What is asked for.

    def asks(self, server: Server, request: CreateResponse, *, may_leave: bool) -> None:
        """A response is requested of the session that serves the call."""
        view, now = self.view(server), self._scene.agenda.now
        if view.speaks and not may_leave:
            raise Broken(BOTH, "a response is requested while the caller speaks")
        if view.under_way:
            raise Broken(BOTH, f"a response is requested while {', '.join(view.under_way)} is under way")
        if now < view.failed_at + PAUSE:
            raise Broken(ANSWERED, "a model whose response was nothing is asked again at once")
        is_doubtful = view.doubt is not None and now >= view.doubt + REFUSED_WITHIN
        if view.asked is not None and not is_doubtful:
            raise Broken(BOTH, f"a response is requested after {view.asked}, of which nothing was heard")
        view.requests(request, now)
