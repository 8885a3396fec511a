"""Who may speak in a call, and what the agent owes the caller. Pure; times are seconds on one clock.

The only place that knows who is waiting for whom. `floor_table` has the states; this adds what is owed
(`Debt`), which responses the caller must not hear, and when to ask for the next one.

A debt is paid when the caller hears a response that began after it arose: one that ended without a sound, and without
calling a tool, is no answer.

The API allows one response at a time, begins an answer to the caller by itself, cancels a response when the caller
speaks, and goes on sending it for a moment. Requests sent from here may cross with all of that.
"""

from __future__ import annotations

from typing import Final

from callgate.core.protocols.realtime import CreateResponse
from callgate.core.units import SECONDS

from .caller_audio import FINDS_WORDS_WITHIN
from .debts import Debts
from .floor_table import TABLE, Debt, Ended, FloorEvent, FloorState
from .muted import Muted
from .own_request import OwnRequest

BEGINS_WITHIN = 3 * SECONDS  # for the model's own answer to the caller; then it is asked for
SOON = 0.5 * SECONDS  # the same, if a response that the caller must not hear was in its way
BY_ITSELF: Final = (Debt.WORDS, Debt.FIRST_WORD)  # what a response covers that the model begins by itself

_SPEAKING: Final = FloorState.SPEAKING  # compiled, a module constant saves a look-up


class Floor:
    """The floor of one call."""

    def __init__(self, now: float) -> None:
        self.state = FloorState.OPEN
        self._since = now  # when it last began to owe anything
        self._debts = Debts()
        self._request = OwnRequest()
        self._under_way: str | None = None
        self._ended: str | None = None  # the last response, some of which may arrive behind its end
        self._rival_is_asked_for: dict[Debt, int] = {}  # what was owed when it was asked
        self._muted = Muted()
        self._not_before = now  # when to request the next one
        self._overdue_at = now
        self._is_noise_perhaps = False  # nobody knows yet whether there are words in what a session was given
        self._has_twin = False  # the answer was asked for, and the model may yet begin its own
        self.pays_words = False  # what is heard now answers the caller's words

    # What holds now.

    @property
    def owes(self) -> bool:
        """Whether the caller waits for the agent to say something."""
        return self.state not in (FloorState.OPEN, FloorState.CALLER, FloorState.SPEAKING)

    @property
    def owes_surely(self) -> bool:
        """Whether the agent has something to say, or says it, and not only if what the caller was heard to do were
        words."""
        is_noise_perhaps = self._is_noise_perhaps and self._debts.is_only(Debt.WORDS)
        return self.state not in (FloorState.OPEN, FloorState.CALLER) and not is_noise_perhaps

    @property
    def awaits_model(self) -> bool:
        """Whether it is the model's turn to send something: also the end of a response that is in the way of the next
        request."""
        if self.state is FloorState.WANTED:
            return self.has_responses
        return self.state in (FloorState.AWAITED, FloorState.ASKED, FloorState.BEGUN, FloorState.SPEAKING)

    @property
    def caller_speaks(self) -> bool:
        """Whether the model hears the caller speak."""
        return self.state is FloorState.CALLER

    @property
    def missed_speech(self) -> bool:
        """Whether the caller can't have spoken as far as we were told."""
        return self.state not in (FloorState.CALLER, FloorState.AWAITED)

    @property
    def is_open(self) -> bool:
        """Whether nobody speaks, and nothing is owed."""
        return self.state is FloorState.OPEN and self._under_way is None

    @property
    def since(self) -> float:
        """When the caller began to wait for what is owed."""
        return self._since

    @property
    def not_before(self) -> float:
        """Until when no response is requested, as the model is to be left alone."""
        return self._not_before

    @property
    def was_heard(self) -> bool:
        """Whether the response under way was heard, or has called a tool."""
        return self.state is _SPEAKING

    @property
    def under_way(self) -> str:
        """The response under way; "" if there is none."""
        return self._under_way or ""

    def speaks(self, response_id: str) -> bool:
        """Whether this is the response under way, and was heard."""
        return self.state is _SPEAKING and response_id == self._under_way

    @property
    def has_responses(self) -> bool:
        """Whether the model would refuse a request now."""
        return self._under_way is not None or self._request.is_open

    def owes_for(self, debt: Debt) -> bool:
        """Whether this is owed, as far as it does not follow from the caller's words."""
        return debt in self._debts

    def is_muted(self, response_id: str) -> bool:
        """Whether the caller must not hear any more of this response."""
        return response_id in self._muted

    # The caller.

    def speech_begins(self, now: float) -> None:
        """The caller speaks. What they say will be answered together with all that was owed before."""
        self._request.caller_begins()
        self._has_twin = self._is_noise_perhaps = False
        self._debts.clear()
        for response_id in (self._under_way, self._ended):
            if response_id is not None:
                self._muted.add(response_id)
        self._enter(FloorEvent.SPEECH_BEGINS, now)

    def speech_ends(self, now: float) -> None:
        """The caller has spoken."""
        self._request.caller_ends()
        self._debts.add(Debt.WORDS)
        self._overdue_at = now + BEGINS_WITHIN
        self._enter(FloorEvent.SPEECH_ENDS, now)

    def is_spoken_over(self, now: float) -> None:
        """The caller speaks over a response, and the model does not hear it: nothing more of that is to be heard, but
        what another model says, or this one once it has ended."""
        if self.state is _SPEAKING and self._under_way is not None:
            self._muted.add(self._under_way)
            self._debts.add(Debt.FIRST_WORD)
            self._enter(FloorEvent.ENDS_OWING, now)

    # What the agent is to say.

    def wants(self, debt: Debt, now: float) -> None:
        """The agent is to say something. While the caller speaks, the answer to that will cover it."""
        if self.state is FloorState.CALLER:
            return
        self._debts.add(debt)
        self._enter(FloorEvent.WANTS, now)

    def may_ask(self, now: float, *, tools_are_open: bool) -> bool:
        """Whether to request a response now."""
        at = self.ask_at(tools_are_open=tools_are_open)
        return at is not None and now >= at

    def ask_at(self, *, tools_are_open: bool) -> float | None:
        """When to request a response; None: not before something else has happened."""
        if self.state is not FloorState.WANTED or self.has_responses:
            return None
        if tools_are_open and self._debts.is_only(Debt.RESULTS):
            return None
        return self._not_before

    def ask(self, instructions: str | None, now: float, *, greets: bool = False) -> CreateResponse:
        """Request a response. ``greets``: it is the greeting, which answers nothing else."""
        about = self._debts.cover((Debt.FIRST_WORD,) if greets else None)
        self._enter(FloorEvent.ASKS, now)
        return CreateResponse(instructions, self._request.sent(about))

    def request_of_rival(self, instructions: str) -> CreateResponse:
        """Return the request for a session beside the one that serves the call."""
        self._rival_is_asked_for = self._debts.owed()
        return CreateResponse(instructions, self._request.next_id())

    def was_asked_before(self, now: float) -> None:
        """The session that took over was sent that request, and may have begun to answer. What has come to be owed
        since then, it does not answer, but for the first word."""
        about = self._debts.cover_those(self._rival_is_asked_for)
        self._debts.cover_more((Debt.FIRST_WORD,))
        self._request.sent(about)
        self._enter(FloorEvent.ASKS, now)

    def hold_off(self, until: float) -> None:
        """Don't request another response before that time."""
        self._not_before = max(self._not_before, until)

    def refused(self, event_id: str | None, now: float) -> bool:
        """The model refused a request, or some request if it does not say which. Return whether it was our last one.
        What that was to be about is owed still, even if it seemed to have begun: then it was the model's own response
        that began."""
        if not self._request.is_refused_by(event_id):
            return False
        if not self._request.settled():
            self._debts.cover(BY_ITSELF)
        self._enter(FloorEvent.REFUSED, self._since)
        for debt in self._request.about:
            if debt not in self._debts:
                self.wants(debt, now)
        return True

    def may_be_refused(self, until: float) -> None:
        """The model reported an error, without saying which of our events it is about. If the request has not begun by
        then, it was that one."""
        self._request.may_be_refused(until)

    def overdue_at(self) -> float | None:
        """When to call `overdue`; None: nothing is to begin."""
        if self.state is FloorState.AWAITED and not self.has_responses:
            return self._overdue_at
        return self._request.expires_at

    def overdue(self, now: float) -> None:
        """The model has not begun the answer that it was to begin by itself, or one that was requested."""
        if self.state is FloorState.AWAITED and self._is_noise_perhaps:
            self._debts.drop(Debt.WORDS)
            if not self._debts:
                self._enter(FloorEvent.NOTHING_FOUND, now)
                return
        self._has_twin = self.state is FloorState.AWAITED and Debt.WORDS in self._debts
        self._request.settled()
        self._enter(FloorEvent.OVERDUE if self.state is FloorState.AWAITED else FloorEvent.REFUSED, now)

    # The model's responses.

    def begins(self, response_id: str, now: float) -> bool:
        """A response begins. Return whether the caller is to hear it: not if they have begun to speak since it was
        requested, nor if it is the twin of one that they heard."""
        if response_id == self._under_way:  # told twice
            return response_id not in self._muted
        is_over_caller = self._request.is_overtaken or self.state is FloorState.CALLER
        is_asked = self._request.settled()
        if self._under_way is not None:  # its end is not told, or later
            self._ended = self._under_way
        self._under_way = response_id
        is_twin = self._has_twin and not is_asked and not any(debt in self._debts for debt in BY_ITSELF)
        if is_twin:
            self._has_twin = False
        if is_over_caller or is_twin:
            self._muted.add(response_id)
        if response_id in self._muted:
            return False
        if not is_asked:
            self._debts.cover(BY_ITSELF)
        elif self.state is FloorState.AWAITED:  # it answers what the caller has said since, too
            self._debts.cover_more(BY_ITSELF)
        self._enter(FloorEvent.BEGINS, now)
        return True

    def hears(self, response_id: str, now: float) -> bool:
        """A response sends audio, or calls a tool. Return whether that reaches the caller."""
        if self.state is _SPEAKING and response_id == self._under_way:
            return True
        if response_id in self._muted:
            return False
        if response_id != self._under_way:
            if self.state is FloorState.CALLER:  # its beginning was not seen: it may have begun before they spoke
                self._muted.add(response_id)
                return False
            if response_id != self._ended and not self.begins(response_id, now):
                return False
        self.pays_words = self._debts.pay()
        if not (self.state is FloorState.WANTED and self._debts):
            self._enter(FloorEvent.IS_HEARD, now)
        return True

    def acts(self, now: float) -> bool:
        """The response under way does something that takes the place of speech. Return whether the caller is to hear
        it."""
        return self._under_way is not None and self.hears(self._under_way, now)

    def ends(self, response_id: str, now: float, *, was_cancelled: bool) -> Ended:
        """A response ended. ``response_id``: "" if the model did not say which."""
        response_id = response_id or self._under_way or ""
        if response_id in self._muted:
            if response_id == self._under_way:
                self._under_way = None
            if not was_cancelled:  # the model did not begin its own answer meanwhile
                self._overdue_at = min(self._overdue_at, now + SOON)
            return Ended.MUTED
        is_new = response_id != self._under_way
        if is_new and (response_id == self._ended or not self.owes or not self.begins(response_id, now)):
            return Ended.UNKNOWN
        self._under_way, self._ended = None, response_id
        paid_nothing = self.state is FloorState.BEGUN and bool(self._debts)
        self._enter(FloorEvent.ENDS_OWING if self._debts else FloorEvent.ENDS, now)
        return Ended.UNHEARD if paid_nothing else Ended.HEARD

    def still_owes(self, now: float) -> None:
        """What was heard of the last response was not the whole answer: it is to go on, once its tools are done."""
        self.wants(Debt.RESULTS, now)

    # Sessions.

    def replaced(self, now: float, *, is_given_words: bool, may_be_noise: bool = False) -> None:
        """Another session takes over, and is given words of the caller that nobody answered, or none. ``may_be_noise``:
        no model has taken them for words yet."""
        if self._under_way is not None and self.state is FloorState.SPEAKING:
            self._debts.add(Debt.FIRST_WORD)  # it goes on where the other one stopped
        self._request.forget()
        self._under_way = self._ended = None
        self._has_twin = False
        self._is_noise_perhaps = may_be_noise
        self._muted.clear()
        self._not_before = now
        self._overdue_at = now + FINDS_WORDS_WITHIN
        if is_given_words:
            self._debts.add(Debt.WORDS)
            if not may_be_noise:
                self._debts.add(Debt.FIRST_WORD)
            self._enter(FloorEvent.NEW_HEARS, now)
        else:
            if self.state is FloorState.CALLER:
                self._debts.clear()
            self._enter(FloorEvent.NEW_OWES if self._debts else FloorEvent.NEW, now)

    def _enter(self, event: FloorEvent, now: float) -> None:
        owed = self.owes
        self.state = TABLE[self.state].get(event, self.state)
        if event is FloorEvent.SPEECH_ENDS or (self.owes and not owed):
            self._since = now
