"""Draws a call: both sides' sound over time, with the events marked. Needs matplotlib, which is an optional extra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from callgate.core.wire.media_stream import SAMPLE_RATE
from callgate.errors import CallgateError

from .simulation.report import CallReport
from .simulation.timeline import Event
from .wav import Samples, decode

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CALLER: Final = "#1f6f8b"
_AGENT: Final = "#c8553d"
_INK: Final = "#22303c"
_GREY: Final = "#8a97a3"
_COLUMNS: Final = 2400  # of the waveform
_ROWS: Final = 4  # of event names

# The events that are marked, and their names.
_MARKED: Final = {
    "start": "stream starts",
    "first audio": "first audio",
    "reply": "reply",
    "interrupted": "agent stops",
    "dtmf": "key",
    "error": "error",
    "close": "stream closes",
}


class PictureError(CallgateError):
    """The picture can't be made."""


def draw_call(report: CallReport, path: Path) -> None:
    """Write the picture of a call as PNG. Raises `PictureError`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise PictureError("a picture needs matplotlib: pip install 'callgate[demo]', or leave out --picture") from exc
    figure = Figure(figsize=(14, 6), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    marks, caller, agent = figure.subplots(
        3, 1, sharex=True, gridspec_kw={"height_ratios": [0.8, 2, 2], "hspace": 0.05}
    )
    figure.subplots_adjust(left=0.07, right=0.985, top=0.9, bottom=0.085)
    _title(figure, report)
    _waveform(caller, "caller", decode(report.said), report.audio_began, _CALLER)
    _waveform(agent, "agent", decode(report.heard), report.audio_began, _AGENT)
    _spans(caller, agent, report)
    _events(marks, (caller, agent), report)
    end = max([report.seconds, *(event.at for event in report.events)])
    agent.set_xlim(-0.01 * end, end * 1.01)
    agent.set_xlabel("seconds since the call began", color=_INK)
    try:
        figure.savefig(path, format="png")
    except OSError as exc:
        raise PictureError(f"{path} can't be written: {exc.strerror or exc}") from exc


def _title(figure: Any, report: CallReport) -> None:
    outcome = "all promises kept" if report.kept else "a promise was NOT kept"
    figure.text(0.07, 0.955, f"Call {report.call_sid[:10]}…", size=15, weight="bold", color=_INK)
    latencies = [f"{u.latency * 1000:.0f} ms" for u in report.utterances if u.latency is not None]
    replies = f"   ·   replies after {', '.join(latencies)}" if latencies else ""
    summary = f"{report.seconds:.1f} s   ·   {report.ended}{replies}   ·   {outcome}"
    figure.text(0.985, 0.957, summary, size=11, color=_INK, ha="right")


def _waveform(axes: Axes, name: str, samples: Samples, began: float, colour: str) -> None:
    step = max(1, len(samples) // _COLUMNS)
    columns = samples[: len(samples) // step * step].reshape(-1, step)
    if len(columns):
        times = began + np.arange(len(columns)) * (step / SAMPLE_RATE)
        axes.fill_between(times, columns.min(axis=1), columns.max(axis=1), color=colour, linewidth=0.6, zorder=3)
    axes.axhline(0, color=colour, linewidth=0.6, zorder=2)
    loudest = float(np.abs(samples).max()) if len(samples) else 0.0
    axes.set_ylim(-1.4 * max(loudest, 0.05), 1.1 * max(loudest, 0.05))
    axes.set_ylabel(name, color=colour, size=13, weight="bold")
    axes.set_yticks([])
    _frame(axes)


def _spans(caller: Axes, agent: Axes, report: CallReport) -> None:
    """Shade the caller's speech, and show how long each reply took."""
    for utterance in report.utterances:
        end = utterance.speech_ended
        if end is None:
            end = utterance.began + len(utterance.audio) / SAMPLE_RATE
        for axes in (caller, agent):
            axes.axvspan(utterance.began, end, color=_CALLER, alpha=0.08, linewidth=0, zorder=1)
        axes = caller
        name = f"{utterance.name} (over the agent)" if utterance.interrupts else utterance.name
        axes.annotate(
            name, (utterance.began, 0.04), xycoords=("data", "axes fraction"), size=9, color=_INK,
            xytext=(3, 0), textcoords="offset points",
        )  # fmt: skip
        if utterance.latency is not None and utterance.latency > 0:
            agent.axvspan(end, end + utterance.latency, color=_GREY, alpha=0.18, linewidth=0, zorder=1)
            agent.annotate(
                f"{utterance.latency * 1000:.0f} ms", (end + utterance.latency / 2, 0.05),
                xycoords=("data", "axes fraction"), size=9, color=_INK, ha="center",
            )  # fmt: skip


def _events(marks: Axes, waveforms: tuple[Axes, ...], report: CallReport) -> None:
    """Draw each event's name above, and a line down through both sides. Names that would touch go on different rows."""
    marks.set_ylim(0, 1)
    marks.axis("off")
    width = max(report.seconds, 1e-3)
    taken = [-width] * _ROWS  # where the last name in each row ends
    for event in report.events:
        label = _label(event)
        if label is None:
            continue
        length = width * (0.0065 * len(label) + 0.01)
        leftward = event.at > 0.9 * width
        begins = event.at - length if leftward else event.at
        row = next((row for row in range(_ROWS) if taken[row] <= begins), taken.index(min(taken)))
        taken[row] = begins + length
        height = 0.04 + row / _ROWS
        marks.plot([event.at, event.at], [-0.1, height + 0.16], color=_GREY, linewidth=0.8, clip_on=False)
        marks.annotate(
            label, (event.at, height), size=9, color=_AGENT if event.kind == "error" else _INK,
            ha="right" if leftward else "left", xytext=(-4 if leftward else 4, 0), textcoords="offset points",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
        for axes in waveforms:
            axes.axvline(event.at, color=_GREY, linewidth=0.8, zorder=2)


def _label(event: Event) -> str | None:
    """Return the event's name and time, or None if it is not marked."""
    name = _MARKED.get(event.kind)
    if event.kind == "error" and event.detail.get("code"):
        name = f"error {event.detail['code']}"
    elif event.kind == "verb" and event.detail.get("continued"):
        name = f"TwiML goes on: {event.detail['verb']}"
    return None if name is None else f"{name} {event.at:.2f}"


def _frame(axes: Axes) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GREY)
    axes.tick_params(colors=_INK)
