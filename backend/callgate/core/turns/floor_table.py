"""The states of the floor, and how they follow from one another. Pure.

*The floor* is the right to speak. `TABLE` is the whole of it: what happens in a state leads to the state in its column;
where there is a dot, nothing changes. `floor` says which event a message is, and keeps what a state does not say: what
is owed, and which response covers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class FloorState(Enum):
    OPEN = "nobody speaks, and the agent has nothing to say"
    CALLER = "the caller speaks"
    AWAITED = "the caller has spoken: the model begins an answer by itself"
    WANTED = "the agent has something to say, and was not asked for it yet"
    ASKED = "a response was requested, and has not begun"
    BEGUN = "a response has begun, and nothing of it was heard yet"
    SPEAKING = "the caller hears a response, or it has called a tool"


class FloorEvent(Enum):
    SPEECH_BEGINS = "the model hears the caller begin to speak"
    SPEECH_ENDS = "the model hears the caller fall silent"
    WANTS = "the agent is to say something besides answering the caller"
    ASKS = "a response is requested"
    REFUSED = "the request was refused"
    OVERDUE = "the model has not begun an answer by itself"
    NOTHING_FOUND = "a new session has found no words in the audio that it was given"
    BEGINS = "a response begins that the caller is to hear"
    IS_HEARD = "that response speaks, or calls a tool"
    ENDS = "that response ends, and nothing more is to be said"
    ENDS_OWING = "that response ends, and something is still to be said"
    NEW_HEARS = "another session takes over, and is given words of the caller that nobody answered"
    NEW_OWES = "another session takes over, and has something to say"
    NEW = "another session takes over, and has nothing to say"


class Debt(Enum):
    """What the agent owes the caller."""

    WORDS = "an answer to the caller's words"
    FIRST_WORD = "a greeting, or that it goes on"
    TOLD = "what follows from something that it was told: keys, a limit"
    RESULTS = "what its tools gave"


class Ended(Enum):
    """What a response was, when it ended."""

    HEARD = "it was heard or called a tool, or nothing was owed"
    UNHEARD = "it was no answer to what is owed"
    MUTED = "the caller was not to hear it"
    UNKNOWN = "it had ended before"


def _table() -> Mapping[FloorState, Mapping[FloorEvent, FloorState]]:
    """Read the table below, whose columns are the events in the order above, without the last three."""
    names = {state.name[:3]: state for state in FloorState}
    after_a_loss = {
        FloorEvent.NEW_HEARS: FloorState.AWAITED,
        FloorEvent.NEW_OWES: FloorState.WANTED,
        FloorEvent.NEW: FloorState.OPEN,
    }
    events = [event for event in FloorEvent if event not in after_a_loss]
    table: dict[FloorState, Mapping[FloorEvent, FloorState]] = {}
    for line in _LINES.strip().splitlines():
        state, _, columns = line.partition("|")
        then = {event: names[name] for event, name in zip(events, columns.split(), strict=True) if name in names}
        table[names[state.strip()[:3]]] = {**then, **after_a_loss}
    return table


#            SPEECH SPEECH WANTS  ASKS   RE-    OVER-  NOTH.  BEGINS IS     ENDS   ENDS
#            BEGINS ENDS                 FUSED  DUE    FOUND         HEARD         OWING
_LINES: Final = """
OPEN       | CAL    AWA    WAN    .      .      .      .      BEG    .      .      .
CALLER     | .      AWA    .      .      .      .      .      .      .      .      .
AWAITED    | CAL    .      .      .      .      WAN    OPE    BEG    .      .      .
WANTED     | CAL    AWA    .      ASK    .      .      .      BEG    OPE    .      .
ASKED      | CAL    AWA    .      .      WAN    .      .      BEG    .      .      .
BEGUN      | CAL    .      .      .      .      .      .      .      SPE    OPE    WAN
SPEAKING   | CAL    .      .      .      .      .      .      BEG    .      OPE    WAN
"""

TABLE: Final = _table()
