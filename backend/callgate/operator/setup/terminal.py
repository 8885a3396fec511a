"""The dialogue with the operator."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from .refusal import SetupRefused

TRIES: Final = 5


class Terminal:
    """A dialogue with the operator. ``assume_yes``: ask nothing, and take every confirmation as given."""

    def __init__(self, *, assume_yes: bool = False, stdin: TextIO | None = None, stdout: TextIO | None = None) -> None:
        self._stdin, self._stdout = stdin or sys.stdin, stdout or sys.stdout
        self.assume_yes = assume_yes

    @property
    def can_ask(self) -> bool:
        """Whether there is an operator to ask."""
        return not self.assume_yes and self._stdin.isatty()

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=self._stdout, flush=True)

    def step(self, text: str) -> None:
        """Print the heading of a step."""
        self.say(f"==> {text}")

    def ask(self, prompt: str, *, secret: bool = False) -> str:
        """Read a line from the operator, and strip it. ``secret``: don't echo what is typed.

        Raises `SetupRefused` at the end of the input, or if it is not text.
        """
        try:
            return (getpass.getpass(f"{prompt}: ") if secret else self._line(f"{prompt}: ")).strip()
        except EOFError as exc:
            raise nobody_to_ask(prompt) from exc
        except UnicodeDecodeError as exc:
            raise SetupRefused(
                prompt,
                found="a character that is not UTF-8",
                wanted="UTF-8 text",
                do="set the terminal to UTF-8, and run this again",
            ) from exc

    def choose(self, prompt: str, choices: Sequence[str]) -> int:
        """Return the index of the operator's choice. Raises `SetupRefused` after too many invalid answers."""
        for number, choice in enumerate(choices, 1):
            self.say(f"  {number}  {choice}")
        for _ in range(TRIES):
            answer = self.ask(f"{prompt} (1 to {len(choices)})")
            if answer.isascii() and answer.isdecimal() and 1 <= int(answer) <= len(choices):
                return int(answer) - 1
        raise SetupRefused(
            prompt, found="no valid choice", wanted=f"a number from 1 to {len(choices)}", do="run this again"
        )

    def confirm(self, question: str) -> bool:
        """Ask whether to go on. Raises `SetupRefused` if there is nobody to ask."""
        if self.assume_yes:
            return True
        if not self.can_ask:
            raise nobody_to_ask(question)
        return self.ask(f"{question} (y/N)").lower() in ("y", "yes")

    def _line(self, prompt: str) -> str:
        print(prompt, end="", file=self._stdout, flush=True)
        if not (line := self._stdin.readline()):
            raise EOFError
        return line


def nobody_to_ask(question: str) -> SetupRefused:
    """Return the refusal for a question that nobody can answer."""
    return SetupRefused(
        question, found="no terminal to ask on", wanted="an answer", do="run this in a terminal, or with --yes"
    )
