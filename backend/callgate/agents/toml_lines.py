"""Finds the line of each key in a TOML document, which `tomllib` does not report. Pure.

The document has been parsed by `tomllib`, so its syntax is not checked again. The syntax is TOML 1.0:
https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

Path = tuple[str | int, ...]

_TOKEN: Final = re.compile(
    r'(?P<text>"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\]|\\.)*"|\'[^\']*\')'
    r"|(?P<newline>\n)|(?P<blank>[ \t\r]+|#[^\n]*)|(?P<sign>[\[\]{}=.,])|(?P<bare>[^\s\[\]{}=.,#\"']+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def key_lines(document: str) -> dict[Path, int]:
    """Return the line, from 1, on which each key, table and array element begins."""
    return _Walk(document).lines


class _Walk:
    def __init__(self, document: str) -> None:
        self.lines: dict[Path, int] = {}
        self._tokens = list(_tokens(document))
        self._at = 0
        self._arrays: dict[Path, int] = {}  # array of tables -> the number of its tables so far
        self._walk()

    def _walk(self) -> None:
        table: Path = ()
        while (token := self._tokens[self._at]).kind != "end":
            if token.kind == "newline":
                self._at += 1
            elif token.text == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        """Read ``[table]`` or ``[[array of tables]]``. Return its path."""
        line = self._tokens[self._at].line
        self._at += 1
        is_array = self._take("[")
        keys = self._keys()
        self._take("]")
        if is_array:
            self._take("]")
        path = self._resolved(keys[:-1], line)
        path = (*path, keys[-1])
        if is_array:
            self._note(path, line)
            number = self._arrays.get(path, 0)
            self._arrays[path] = number + 1
            path = (*path, number)
        self._note(path, line)
        return path

    def _resolved(self, keys: list[str], line: int) -> Path:
        """Return the path of a table. A key of an array of tables means its last table."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            self._note(path, line)
            if path in self._arrays:
                path = (*path, self._arrays[path] - 1)
        return path

    def _pair(self, table: Path) -> None:
        """Read ``key = value``."""
        line = self._tokens[self._at].line
        for key in self._keys():
            table = (*table, key)
            self._note(table, line)
        self._take("=")
        self._value(table)

    def _value(self, path: Path) -> None:
        if self._take("{"):
            while self._next_entry("}"):
                self._pair(path)
        elif self._take("["):
            number = 0
            while self._next_entry("]"):
                self._note((*path, number), self._tokens[self._at].line)
                self._value((*path, number))
                number += 1
        else:
            while self._tokens[self._at].kind not in ("newline", "end") and self._tokens[self._at].text not in "],}":
                self._at += 1

    def _next_entry(self, closing: str) -> bool:
        """Move to the next entry of an array or inline table. Return False, past the closing bracket, if there is
        none."""
        while self._tokens[self._at].kind == "newline" or self._tokens[self._at].text == ",":
            self._at += 1
        return not self._take(closing)

    def _keys(self) -> list[str]:
        """Read a dotted key."""
        keys = []
        while True:
            token = self._tokens[self._at]
            keys.append(_unquoted(token.text) if token.kind == "text" else token.text)
            self._at += 1
            if not self._take("."):
                return keys

    def _take(self, sign: str) -> bool:
        token = self._tokens[self._at]
        taken = token.kind == "sign" and token.text == sign
        self._at += taken
        return taken

    def _note(self, path: Path, line: int) -> None:
        self.lines.setdefault(path, line)


def _tokens(document: str) -> Iterator[_Token]:
    line = 1
    for found in _TOKEN.finditer(document):
        kind = found.lastgroup or ""
        if kind != "blank":
            yield _Token(kind, found[0], line)
        line += found[0].count("\n")
    yield _Token("end", "", line)


def _unquoted(text: str) -> str:
    key: str = tomllib.loads(f"key = {text}")["key"]
    return key
