"""The reports on conversations with a model that lives. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from .living import FAR_QUESTIONS, THINKS, USUAL_QUESTIONS, Conversations, Spoken
from .report import SECTIONS, Report, markdown_table, text_table
from .runner import LATE

HEADING = ("a probe is answered", "calls", "clips", "opened beside", "given up", "answers lost", "without goodbye",
           "clips over the caller", "dead air")  # fmt: skip


def of_usual(held: Conversations, seed: int) -> Report:
    """Return the report on usual conversations."""
    about = (
        f"{len(held.spoken)} conversations of {USUAL_QUESTIONS} questions (seed {seed}) with a model that thinks "
        f"{THINKS[0]:g} to {THINKS[1]:g} s before each response."
    )
    return _of(held, SECTIONS[1], about, HEADING)


def of_far(held: Conversations, seed: int, away: float) -> Report:
    """Return the report on conversations with a model that is far away."""
    about = (
        f"{len(held.spoken)} conversations of {FAR_QUESTIONS} question (seed {seed}) with a model of which each event "
        f"is late by {away:g} s, and so is each event on its way to it."
    )
    return _of(held, SECTIONS[2], about, ("the model is", *HEADING[1:]))


def _of(held: Conversations, section: str, about: str, heading: Sequence[str]) -> Report:
    spoken = held.spoken
    settings = list(dict.fromkeys(each.setting for each in spoken))
    rows = [_row(setting, [each for each in spoken if each.setting == setting]) for setting in settings]
    rows += [_row("all", spoken)] if len(settings) > 1 else []
    lines = [
        f"{about} In {sum(each.soft for each in spoken)} of them the caller speaks softly.",
        f"{held.repeated} were held again, because they went badly while this process, which runs the caller, the "
        f"service and the model, was late by more than {LATE * 1000:.0f} ms.",
        f"Left behind: {', '.join(held.left) or 'nothing'}.",
        *dict.fromkeys(f"- {problem}" for each in spoken for problem in each.problems),
    ]
    return Report(
        section=section,
        text="\n".join([text_table([heading, *rows]), "", *lines]),
        markdown="\n\n".join(["  \n".join(lines), markdown_table([heading, *rows])]),
        values={"conversations": [asdict(each) for each in spoken], "left": held.left},
        is_good=bool(spoken) and all(each.is_good for each in spoken) and not held.left,
    )


def _row(setting: str, spoken: Sequence[Spoken]) -> Sequence[str]:
    figures = [each.figures for each in spoken]
    return (
        setting,
        str(len(spoken)),
        str(sum(each.clips for each in figures)),
        str(sum(each.sessions - 1 for each in figures)),
        str(sum(each.given_up for each in figures)),
        str(sum(len(each.lost) for each in figures)),
        str(sum(not each.said_goodbye for each in spoken)),
        str(sum(each.over_caller for each in figures)),
        f"{max((each.dead_air for each in figures), default=0.0):.2f} s",
    )
