"""A conversation driven without sockets or a clock, for tests of turn-taking."""

import base64
from dataclasses import replace
from typing import Any

from callgate.core.absences import NEVER_AWAY, Absences
from callgate.core.agent import Agent
from callgate.core.protocols.realtime import (
    AskAlive,
    AudioDelta,
    AudioDone,
    ResponseCreated,
    ResponseDone,
    SessionUpdated,
)
from callgate.core.tools.toolbox import BUILT_IN, Bound, HttpTool, Toolbox, Transfer
from callgate.core.turns.commands import End, Said
from callgate.core.turns.conversation import Conversation
from callgate.core.turns.serving import Phase
from callgate.core.turns.transcript import Turn
from callgate.core.wire.media_stream import Mark, Media, Start, Unknown

START = Start("MZ1", "AC1", "CA1")
ALIVE = SessionUpdated("audio/pcmu", "audio/pcmu")
ONE_MOMENT = base64.b64encode(b"\x55" * 8000).decode()  # a second
AGENT = Agent("Be brief.", "marin", "Hello!", one_moment=ONE_MOMENT)

DESK = Transfer("Front desk", "+15551230009", "for all that is urgent", ring_for=15)
WEATHER = HttpTool("get_weather", "The weather.", {"type": "object"}, "https://api.example.com/weather")
ORDER = HttpTool("order", "Order it.", {"type": "object"}, "https://api.example.com/order")
KEYS = {
    "0": Bound("transfer_call", {"to": "Front desk"}),
    "5": Bound("get_weather", {"city": "Bonn"}),
    "9": Bound("hang_up"),
    "7": Bound("transfer_call", {"to": "nobody"}),
}
TOOLBOX = Toolbox(BUILT_IN, (DESK,), (WEATHER, ORDER), keys=KEYS)
EQUIPPED = replace(AGENT, toolbox=TOOLBOX)

LOUD = base64.b64encode(b"\x10" * 160).decode()
QUIET = base64.b64encode(b"\xfe" * 160).decode()


def audio(seconds: float) -> str:
    return base64.b64encode(b"\x7f" * int(seconds * 8000)).decode()


class Call:
    """Drives a conversation. Events happen at `now`; its commands are collected, and what it records is kept apart."""

    def __init__(
        self,
        agent: Agent = AGENT,
        memory: tuple[Turn, ...] | None = None,
        start: Start = START,
        absences: Absences = NEVER_AWAY,
        lasted: float = 0.0,
    ) -> None:
        self.now = 100.0
        self.conversation = Conversation(start, agent, self.now, memory, absences, lasted)
        self.commands: list[Any] = []
        self.said: dict[str, Turn] = {}

    def does(self, commands: list[Any]) -> list[Any]:
        self.said |= {c.turn.item_id: c.turn for c in commands if isinstance(c, Said)}
        found = [c for c in commands if not isinstance(c, Said)]
        self.commands += found
        return found

    def twilio(self, message: Any) -> list[Any]:
        return self.does(self.conversation.twilio_sent(message, self.now))

    def model(self, *events: Any) -> list[Any]:
        return self.does([c for event in events for c in self.conversation.model_sent(event, self.now)])

    def loses_model(self, reason: str = "gone") -> list[Any]:
        return self.does(self.conversation.model_lost(reason, self.now))

    def ready(self) -> list[Any]:
        return self.does(self.conversation.model_ready(self.now))

    def unavailable(self, *, fatal: bool = False) -> list[Any]:
        return self.does(self.conversation.model_unavailable("no", self.now, fatal=fatal))

    def open(self) -> list[Any]:
        return self.does(self.conversation.begin()) + self.ready()

    def says(self, seconds: float, item: str = "item_1", response: str = "resp_1") -> list[Any]:
        return self.model(ResponseCreated(response), AudioDelta(response, item, audio(seconds)))

    def answers(self, seconds: float = 0.1, item: str = "item_1", response: str = "resp_1") -> list[Any]:
        """Have the model make a whole response that speaks for this long."""
        spoken = self.says(seconds, item, response)
        return spoken + self.model(AudioDone(response, item), ResponseDone(response, "completed"))

    def hears(self, payload: str, seconds: float) -> list[Any]:
        """Feed the caller's audio for this long, frame by frame."""
        found = []
        for _ in range(round(seconds * 50)):
            found += self.twilio(Media("MZ1", payload))
            found += self.waits(0.02)
        return found

    def waits(self, seconds: float) -> list[Any]:
        """Let time pass while Twilio keeps sending, and call `tick` whenever it is due."""
        end, found = self.now + seconds, []
        while self.now < end:
            self.now = min(end, self.now + 1.0, max(self.now, self.conversation.deadline()))
            found += self.does(self.conversation.tick(self.now))
            if self.conversation.phase is Phase.ENDED:
                break
            self.conversation.twilio_sent(Unknown("alive"), self.now)
        return found

    def lives(self, seconds: float) -> list[Any]:
        """Like `waits`, with a model that answers every check whether it is alive."""
        end, found = self.now + seconds, []
        while self.now < end and self.ended is None:
            for command in self.waits(min(0.2, end - self.now)):
                if isinstance(command, AskAlive):
                    found += self.model(ALIVE)
                else:
                    found.append(command)
        return found

    def returns_marks(self) -> None:
        for command in [c for c in self.commands if isinstance(c, Mark)]:
            self.twilio(command)
        self.commands = [c for c in self.commands if not isinstance(c, Mark)]

    @property
    def ended(self) -> End | None:
        return next((c for c in self.commands if isinstance(c, End)), None)


def greeted(call: Call) -> Call:
    """Return the call once its greeting is over."""
    call.open()
    call.answers(1.0, "greeting", "resp_greeting")
    call.now += 2
    call.returns_marks()
    call.commands.clear()
    return call


def of(kind: type, commands: list[Any]) -> list[Any]:
    return [command for command in commands if isinstance(command, kind)]
