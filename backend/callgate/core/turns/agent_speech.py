"""What the agent says in one call: which of it the caller hears, has heard, or will not hear. Pure.

Speech comes in *parts*, the contents of the model's items. A part is named after its item, and after its place there if
it is not the first. A part of an earlier model session can't be truncated any more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from callgate.core.protocols.realtime import AddUserText, ClientEvent, TruncateItem
from callgate.core.units import SECONDS
from callgate.core.wire.media_stream import Clear, Mark

from .commands import Command, Said
from .heard_clock import HeardClock
from .transcript import Transcript

RECORD_EVERY = 1 * SECONDS  # how often to record how much of the agent's speech was heard
HEARD_ONLY: Final = '[The caller interrupted you. Of "{said}" they heard only "{heard}".]'
MOST_PARTS: Final = 32  # whose sizes are known: those before them were heard long ago, if the caller says nothing


class AgentSpeech:
    """The agent's speech on one stream."""

    def __init__(self, stream_sid: str, transcript: Transcript, now: float) -> None:
        self._stream_sid = stream_sid
        self._transcript = transcript
        self._clock = HeardClock()
        self._sizes: dict[str, int] = {}  # bytes of each part that is being spoken
        self._of_others: set[str] = set()  # those of them that came from an earlier session
        self._unheard: dict[str, str] = {}  # parts of which nothing may be heard, and their responses
        self._words_ended: float | None = None  # when what was said before the latest clip was heard to its end
        self._places: dict[str, tuple[str, int]] = {}  # the items and indexes of parts that are not their items' first
        self._recorded: str | None = None  # the part whose progress is being recorded
        self._recorded_at = now  # when that was last recorded

    # What the model sends.

    def part(self, item_id: str, content_index: int) -> str:
        """Return the name of a part."""
        if not content_index:
            return item_id
        name = f"{item_id}/{content_index}"
        self._places[name] = item_id, content_index
        return name

    def sent(self, part: str, size: int, now: float) -> str:
        """``size`` bytes of a part are sent to Twilio. Return the name of the mark to send after them, or "" for
        none."""
        self._words_ended = None
        self._sizes[part] = self._sizes.get(part, 0) + size
        if len(self._sizes) > MOST_PARTS:
            del self._sizes[next(iter(self._sizes))]
        return self._clock.sent(part, size, now)

    def kept_back(self, part: str, size: int, response_id: str) -> None:
        """``size`` bytes of a part arrived that the caller must not hear."""
        if self._transcript.is_cut(part):
            self._transcript.agent_goes_on(part, size)
        elif part not in self._sizes:
            self._unheard[part] = response_id

    def part_done(self, part: str) -> list[Command]:
        """All audio of a part has arrived."""
        if part in self._unheard:
            return self._never_heard(part)
        self._clock.item_complete(part)
        return [*self.last_mark(), *self._spoken(part)]

    def response_done(self, response_id: str) -> list[Command]:
        """A response has ended that the caller was not to hear."""
        parts = [part for part, response in self._unheard.items() if response == response_id]
        return [command for part in parts for command in self._never_heard(part)]

    def is_heard(self, part: str) -> bool:
        """Whether the caller has heard some of a part, or is going to."""
        return part in self._sizes or self._transcript.is_cut(part)

    def so_far(self) -> list[Command]:
        """Record how much there is of each part, before anybody is told what was said."""
        return [command for part in self._sizes for command in self._spoken(part)]

    def session_replaced(self) -> None:
        """What was said so far belongs to another session, which will send no more of it."""
        self._unheard.clear()
        self._places.clear()
        self._of_others = set(self._sizes)
        for part in self._of_others:
            self._clock.item_complete(part)

    def clip(self, name: str, size: int, now: float) -> Mark:
        """A clip of our own is sent to Twilio. Return the mark to send after it."""
        if self._words_ended is None:
            self._words_ended = self._clock.ends_at
        mark = self._clock.sent(name, size, now) or self._clock.mark()
        self._clock.item_complete(name)
        return Mark(self._stream_sid, mark)

    # What is heard.

    def mark_returned(self, name: str, now: float) -> None:
        """Twilio returned a mark."""
        self._clock.mark_returned(name, now)

    @property
    def ends_at(self) -> float:
        """When all that was sent will have been played, or was."""
        return self._clock.ends_at

    @property
    def words_end_at(self) -> float:
        """The same, without the clips that followed."""
        return self._clock.ends_at if self._words_ended is None else self._words_ended

    @property
    def all_returned(self) -> bool:
        """Whether Twilio has confirmed that it played everything that was sent."""
        return self._clock.all_returned

    def unconfirmed(self) -> set[str]:
        """Return the parts of which we do not know yet that they were heard to the end."""
        return self._clock.unconfirmed()

    def last_mark(self) -> list[Command]:
        """Send a mark after all audio sent so far, unless there is one already."""
        name = self._clock.mark()
        return [Mark(self._stream_sid, name)] if name else []

    def progress(self, now: float) -> list[Command]:
        """Record now and then how much was heard of the part that is playing."""
        playing = self._clock.playing(now)
        commands: list[Command] = []
        if self._recorded is not None and playing != self._recorded:
            commands += self._spoken(self._recorded)  # it was heard to the end
            self._recorded = None
        if playing is None or now < self._recorded_at + RECORD_EVERY or playing not in self._sizes:
            return commands
        self._recorded, self._recorded_at = playing, now
        turn = self._transcript.agent_spoke(playing, self._sizes[playing])
        return [*commands, Said(replace(turn, heard_ms=self._clock.heard_ms(playing, now)))]

    def cut_off(self, now: float) -> tuple[list[Command], int | None]:
        """Stop the agent's speech. The second value is how many ms of what it was saying were heard; None: it was
        saying nothing."""
        commands: list[Command] = []
        if not self._clock.all_returned:
            commands.append(Clear(self._stream_sid))
        cuts = [cut for cut in self._clock.interrupt(now) if cut.item_id in self._sizes]
        if self._recorded is not None and self._recorded not in {cut.item_id for cut in cuts}:
            commands += self._spoken(self._recorded)  # it was heard to the end
        for cut in cuts:
            whole = self._transcript.agent_spoke(cut.item_id, self._sizes[cut.item_id])
            heard = self._transcript.cut(cut.item_id, cut.heard_ms)
            if cut.item_id not in self._of_others:
                commands.append(self._truncation(cut.item_id, cut.heard_ms))
            elif heard.heard_text != whole.text:  # this session was told all of it, as text
                commands.append(AddUserText(HEARD_ONLY.format(said=whole.text, heard=heard.heard_text)))
            commands.append(Said(heard))
        self._sizes.clear()
        self._recorded = None
        return commands, cuts[0].heard_ms if cuts else None

    def _never_heard(self, part: str) -> list[Command]:
        del self._unheard[part]
        return [self._truncation(part, 0), Said(self._transcript.cut(part, 0))]

    def _spoken(self, part: str) -> list[Command]:
        size = self._sizes.get(part)
        return [Said(self._transcript.agent_spoke(part, size))] if size else []

    def _truncation(self, part: str, heard_ms: int) -> ClientEvent:
        item_id, content_index = self._places.get(part, (part, 0))
        return TruncateItem(item_id, heard_ms, content_index)
