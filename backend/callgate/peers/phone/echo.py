"""Checks whether each caller heard its own words back, as the line check promises."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from .correlate import ANOTHERS_WORDS, OWN_WORDS, Voice, anothers_words, own_words
from .simulation.report import CallReport, Promise
from .wav import decode


@dataclass(frozen=True, slots=True)
class Echo:
    """How similar what was heard is to what was said, over all calls. See `callgate.peers.phone.correlate`."""

    calls: int
    own: float | None  # the lowest of all; None if nothing was said that should have been repeated
    anothers: float | None  # the highest of all; None if there was only one call

    def as_line(self) -> str:
        """Return the result in one line."""
        own = "none said" if self.own is None else f"{self.own:.3f} (lowest)"
        anothers = "" if self.anothers is None else f", another's {self.anothers:.2f} (highest)"
        return f"{self.calls} call{'s' * (self.calls != 1)}: own words {own}{anothers}"


def compare_echoes(reports: Sequence[CallReport], expected: Sequence[bool]) -> tuple[tuple[CallReport, ...], Echo]:
    """Judge the calls that ``expected`` an echo. Returns the reports with these promises added, and the result."""
    voices = [_voice(report) for report in reports]
    several = len(reports) > 1
    traces = anothers_words(voices) if several else (0.0,) * len(reports)
    judged, lowest = [], []
    for report, wanted, voice, trace in zip(reports, expected, voices, traces, strict=True):
        if not wanted:
            judged.append(report)
            continue
        likenesses = [match.correlation for match in own_words(voice)]
        heard_out = [not utterance.spoken_over for utterance in report.utterances]
        lowest += [likeness for likeness, whole in zip(likenesses, heard_out, strict=True) if whole]
        promises = [_own(number, likeness) for number, likeness in enumerate(likenesses, 1) if heard_out[number - 1]]
        if several:
            promises.append(_anothers(trace))
        judged.append(dataclasses.replace(report, promises=(*report.promises, *promises)))
    highest = max((trace for trace, wanted in zip(traces, expected, strict=True) if wanted), default=0.0)
    return tuple(judged), Echo(len(reports), min(lowest, default=None), highest if several else None)


def _voice(report: CallReport) -> Voice:
    heard = decode(report.heard)
    return Voice(
        tuple(decode(utterance.audio) for utterance in report.utterances),
        tuple(heard[utterance.at_byte :] for utterance in report.utterances),
    )


def _own(number: int, likeness: float) -> Promise:
    happened = f"what was said and what was heard have a correlation of {likeness:.3f}"
    what = f"the reply to utterance {number} is the caller's own words"
    return Promise(what, likeness >= OWN_WORDS, happened, f"At least {OWN_WORDS} is expected: listen to the recording")


def _anothers(trace: float) -> Promise:
    happened = f"a trace of {trace:.2f} of another caller's words was heard"
    what = "the caller hears no other caller's words"
    return Promise(
        what, trace < ANOTHERS_WORDS, happened, f"Less than {ANOTHERS_WORDS} is expected: calls are mixed up"
    )
