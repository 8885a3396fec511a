"""Plays the clip that tells a waiting caller that the agent will go on. Pure."""

from __future__ import annotations

from callgate.core.wire.media_stream import Media, payload_bytes

from .call_parts import CallParts
from .commands import Command
from .serving import Phase, Serving


class Clips:
    """The clips of one call. `Comfort` says how long a silence they follow."""

    def __init__(self, parts: CallParts, serving: Serving) -> None:
        self._parts = parts
        self._serving = serving

    def due_at(self) -> float | None:
        """When to play the next clip; None: the caller does not wait for the agent, or speaks."""
        parts = self._parts
        if parts.ending.is_over or parts.ending.is_leaving or not parts.agent.one_moment or not self._is_waited_for():
            return None
        has_model = self._serving.is_there
        # While no model listens, the softest sound may be the caller, but not one that goes on and on.
        caller_until = parts.audio.words_until if has_model else parts.audio.soft_words_until
        agent_until = parts.speech.ends_at
        if parts.floor.owes:  # a model may also begin to answer when nobody has asked for anything
            agent_until = max(agent_until, parts.floor.since)
        return parts.comfort.due_at(agent_until, caller_until, has_model=has_model)

    def give(self, now: float) -> list[Command]:
        """Play a clip if one is due."""
        due_at = self.due_at()
        if due_at is None or now < due_at:
            return []
        parts = self._parts
        clip = parts.agent.one_moment
        return [Media(parts.stream_sid, clip), parts.speech.clip(parts.comfort.played(), payload_bytes(clip), now)]

    def _is_waited_for(self) -> bool:
        floor, desk = self._parts.floor, self._parts.desk
        if self._serving.is_there:
            return not floor.caller_speaks and (floor.owes or floor.was_heard or desk.waits)
        is_owed = floor.owes or floor.was_heard or desk.waits or self._parts.audio.is_unanswered
        return is_owed or self._serving.phase is Phase.OPENING
