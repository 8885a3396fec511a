"""What all parts of a run share: the options, a relay with calls running through it, and the resulting figures."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from .contenders import CONTENDERS, Relay
from .errors import BenchError
from .limit import Trial
from .model import Load
from .rig import Rig
from .window import Window


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and for how long. ``contenders`` replaces each part's own list."""

    parts: tuple[str, ...]
    contenders: tuple[str, ...] | None = None
    loads: tuple[Load, ...] = (Load.ECHO, Load.TALK)
    calls: int = 30
    rounds: int = 3
    seconds: float = 4.0
    callgate_path: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one measurement. ``note`` is a remark to read with the figures."""

    part: str
    contender: str
    round: int
    values: Mapping[str, float]
    note: str = ""


@dataclass(slots=True)
class Bench:
    """One run of the benchmark."""

    options: Options
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # the parts that could not be measured, and why

    def relay(
        self, name: str, model_url: str, environ: Mapping[str, str] | None = None, *, unbounded: bool = False
    ) -> Relay:
        """Return a contender's process, not yet started."""
        return Relay(
            CONTENDERS[name],
            model_url,
            callgate_path=self.options.callgate_path,
            environ=environ,
            unbounded=unbounded,
        )

    @contextlib.asynccontextmanager
    async def running(
        self,
        name: str,
        load: Load,
        *,
        model_tls: ssl.SSLContext | None = None,
        environ: Mapping[str, str] | None = None,
        unbounded: bool = False,
    ) -> AsyncIterator[tuple[Rig, Relay]]:
        """Run a contender between the generator and the model. ``unbounded`` lifts the limit on what a stream may
        send. The end of the relay's log is appended to any `BenchError`."""
        async with (
            Rig(load, model_tls=model_tls) as rig,
            self.relay(name, rig.model.url, environ, unbounded=unbounded) as relay,
        ):
            try:
                yield rig, relay
                if rig.troubled:
                    print(relay.last_words(), flush=True)
                await rig.hang_up(list(rig.callers))
            except BenchError as error:
                raise BenchError(f"{name}: {error}\n{relay.last_words()}") from error

    @contextlib.asynccontextmanager
    async def trial(self, name: str, load: Load) -> AsyncIterator[Trial]:
        """Run a contender for a search for its limit."""
        async with self.running(name, load) as (rig, relay):
            yield Trial(rig, [relay], relay.door)

    def values(self, part: str, contender: str, value: str) -> list[float]:
        """Return one figure from each round so far."""
        return [row.values[value] for row in self.rows if (row.part, row.contender) == (part, contender)]

    def contenders(self, *usual: str) -> tuple[str, ...]:
        """Return the contenders of a part whose usual contenders are ``usual``."""
        return usual if self.options.contenders is None else self.options.contenders

    def callgates(self) -> tuple[str, ...]:
        """Return the contenders of a part that only callgate supports."""
        return tuple(name for name in self.contenders("callgate") if CONTENDERS[name].webhooks)

    def note(self, part: str, contender: str, round: int, told: object, note: str = "", **values: float) -> None:
        """Store figures and print them on one line."""
        self.rows.append(Row(part, contender, round, values, note))
        print(
            f"{round}  {part:14} {contender:18} {told}{f'  ({note})' if note and note not in str(told) else ''}",
            flush=True,
        )

    def note_window(self, part: str, contender: str, round: int, window: Window, **more: float) -> None:
        """Store the usual figures of a window."""
        self.note(
            part,
            contender,
            round,
            window,
            window.doubt,
            calls=window.calls,
            cpu=window.cpu,
            to_model_p50=window.to_model.p50,
            to_model_p99=window.to_model.p99,
            to_caller_p50=window.to_caller.p50,
            to_caller_p99=window.to_caller.p99,
            p99=window.p99,
            clear_count=window.clear.count,
            clear_p50=window.clear.p50,
            clear_p99=window.clear.p99,
            lost=window.lost,
            mixed=window.mixed,
            problems=len(window.problems),
            **more,
        )
