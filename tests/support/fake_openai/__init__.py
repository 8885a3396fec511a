"""OpenAI's Realtime API for tests: a peer on a loopback socket that behaves like the real one, with habits and faults
on demand.

    async with FakeOpenAI(Script((say(audio), tool("hang_up")))) as fake:
        ...                                     # a relay connects to fake.url with fake.api_key
        await fake.received("session.update")   # waits, with a deadline
        assert fake.violations == []

It uses the same protocol core as the line check, so it detects speech, paces audio and cancels responses. What can be
told to it:

    said    what the model says, and how its responses end (`Script`, `say`, `tool`, `empty`, `limited`, …)
    habits  what the documentation leaves open, or what differs from server to server (`Habits`)
    faults  what goes wrong, and at which event (`Faults`, `At`, and the actions)

Nothing is known about the real server beyond its documentation. Where a call's life depends on such a thing, it is a
habit here, and tests go through all of its settings.
"""

from .faults import (
    Action,
    At,
    Behind,
    Change,
    Close,
    Delay,
    Drop,
    Faults,
    Hang,
    Message,
    Reset,
    Send,
    Slow,
    error_event,
    session_expires,
    wrong_format,
)
from .habits import AT_ONCE, NEVER, WHEN_IDLE, Away, Habits, Probes, Thoughts
from .said import (
    Script,
    asking,
    echo,
    empty,
    failed,
    incomplete,
    interleaved,
    limited,
    muted,
    say,
    tone,
    tool,
    tools,
    unspoken,
)
from .seen import Connection, Event, Received
from .server import PATH, PATIENCE, FakeOpenAI

__all__ = [
    "AT_ONCE",
    "NEVER",
    "PATH",
    "PATIENCE",
    "WHEN_IDLE",
    "Action",
    "At",
    "Away",
    "Behind",
    "Change",
    "Close",
    "Connection",
    "Delay",
    "Drop",
    "Event",
    "FakeOpenAI",
    "Faults",
    "Habits",
    "Hang",
    "Message",
    "Probes",
    "Received",
    "Reset",
    "Script",
    "Send",
    "Slow",
    "Thoughts",
    "asking",
    "echo",
    "empty",
    "error_event",
    "failed",
    "incomplete",
    "interleaved",
    "limited",
    "muted",
    "say",
    "session_expires",
    "tone",
    "tool",
    "tools",
    "unspoken",
    "wrong_format",
]
