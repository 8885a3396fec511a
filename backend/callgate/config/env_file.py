"""The .env file, which two programs read: python-dotenv for a backend without containers, Compose for the bundle.

Their rules for quotes, `$`, `#` and line ends differ, and have changed between versions. So a line is accepted only if
both read it alike; any other is refused, with its number and the way to write it. Then it does not matter which of them
reads the file. No value is ever shown, because it may be a secret.
"""

from __future__ import annotations

import codecs
import io
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from dotenv import dotenv_values

from callgate.errors import ConfigError

# What the agent says and is told. Only these may have several lines; and a # in them is more likely meant than a
# comment.
WORDS: Final = ("INSTRUCTIONS", "GREETING", "VOICEMAIL")

_BLANK: Final = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_NAME: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_QUOTED: Final = re.compile(r"""'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)\"""", re.DOTALL)
_AFTER_QUOTES: Final = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_SETTING_IN_QUOTES: Final = re.compile(r"\n[ \t]*(?:export[ \t]+)?([A-Z_][A-Z0-9_]*)[ \t]*=")
_COMMENT: Final = re.compile(r"(\s)#")
_NEEDS_NO_QUOTES: Final = re.compile(r"[A-Za-z0-9_.:/+@,=-]*")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}  # what all read alike after a \ in double quotes
_NOT_IN_SINGLE_QUOTES: Final = re.compile(r"\\(?:[\\']|\Z)")  # a backslash that some take for an escape

_NO_WAY: Final = "there is no spelling of a $ together with such backslashes that all read alike"
_FORM: Final = "it is not of the form NAME=value, with letters, digits and _ in the name; a comment begins with #"


def read_env_file(path: Path) -> dict[str, str]:
    """Return the settings in the file, {} if there is none.

    Raises `ConfigError` with one sentence for each line that not all of its readers would read alike.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise ConfigError([f"{path} can't be read: {exc.strerror}"]) from exc
    return parse_env_file(data, str(path))


def parse_env_file(data: bytes, name: str) -> dict[str, str]:
    """Do the same with the contents of the file ``name``."""
    text, problems = _text_of(data)
    if problems := problems or list(_problems(text)):
        raise ConfigError([f"{name}, line {line}: {problem}" for line, problem in problems])
    return {key: value or "" for key, value in dotenv_values(stream=io.StringIO(text), interpolate=False).items()}


def spelled(value: str) -> str:
    """Return how a value is written so that all read it alike. Raises `ValueError` if there is no way."""
    if any(_is_control(char) for char in value.replace("\n", "")):
        raise ValueError("it contains a control character")
    if _NEEDS_NO_QUOTES.fullmatch(value):
        return value
    if "'" not in value and not _NOT_IN_SINGLE_QUOTES.search(value):
        return f"'{value}'"
    if "$" in value:
        if _NOT_IN_SINGLE_QUOTES.search(value):
            raise ValueError(_NO_WAY)
        return "'" + value.replace("'", "\\'") + "'"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


class _Value(NamedTuple):
    """What is set, where the next line begins, and what is wrong with it."""

    text: str
    end: int
    problem: str = ""


def _text_of(data: bytes) -> tuple[str, list[tuple[int, str]]]:
    """Return the file's text, or the lines that are not text."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "", [(1, "the file is in UTF-16: save it as UTF-8")]
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        return "", [(line, "it is not UTF-8, but perhaps Latin-1 or Windows-1252: save the file as UTF-8")]
    problems = []
    for number, content in enumerate(text.split("\n"), 1):
        content = content.removesuffix("\r")
        if "\r" in content:
            problems.append((number, "it contains a carriage return: save the file with line ends of Unix"))
        elif any(map(_is_control, content)):
            problems.append((number, "it contains an invisible control character: write the line again"))
    return text, problems


def _is_control(char: str) -> bool:
    return char != "\t" and unicodedata.category(char) in ("Cc", "Cs")


def _problems(text: str) -> Iterator[tuple[int, str]]:
    """Yield the problems, each with its line."""
    windows, text = "\r\n" in text, text.replace("\r\n", "\n")
    at, seen = 0, dict[str, tuple[int, str]]()
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
            continue
        line = text.count("\n", 0, at) + 1
        if not (named := _NAME.match(text, at)):
            yield line, _FORM
            at = _end_of_line(text, at)
            continue
        name, start = named[1], named.end()
        value = _quoted(text, start, name, line) if text[start : start + 1] in ("'", '"') else _plain(text, start, name)
        if value.problem:
            yield line, value.problem
        elif windows and "\n" in text[start : value.end - 1]:
            yield (
                line,
                f"{name} has several lines, and the file has the line ends of Windows: save it with those of Unix",
            )
        elif (before := seen.get(name)) and before[1] not in ("", value.text):
            yield line, f"{name} is set on line {before[0]} too, to another value: remove one of the two"
        seen[name] = line, value.text
        at = value.end


def _end_of_line(text: str, at: int) -> int:
    return end + 1 if (end := text.find("\n", at)) >= 0 else len(text)


def _plain(text: str, start: int, name: str) -> _Value:
    """Read a value without quotes."""
    end = _end_of_line(text, start)
    raw = text[start:end].strip(" \t\n")
    comment = _COMMENT.search(raw)
    value = raw[: comment.start()].rstrip(" \t") if comment else raw
    problem = ""
    if raw.startswith("#") or (comment and (comment[1] != " " or name in WORDS)):
        # Without a value, only some take it for a comment, as they do after a tab.
        how = f"put it on a line of its own; if not, {_advice(name, raw)}"
        problem = f"what follows the # in {name} may be taken for a comment. If it is one, {how}"
    elif "$" in value:
        problem = _replaced(name, value)
    elif value != value.strip():
        problem = f"{name} begins or ends with an unusual space, such as a no-break space: remove it"
    return _Value(value, end, problem)


def _quoted(text: str, start: int, name: str, line: int) -> _Value:
    """Read a value in quotes."""
    found, next_line = _QUOTED.match(text, start), _end_of_line(text, start)
    if not found:
        return _Value("", next_line, f"the quote after {name}= is never closed: write the same quote after the value")
    if swallowed := _SETTING_IN_QUOTES.search(found[0]):
        further = line + found[0].count("\n", 0, swallowed.start() + 1)
        problem = f"the quote after {name}= is still open on line {further}, where another setting begins: close it"
        return _Value("", next_line, problem)
    after = _AFTER_QUOTES.match(text, found.end())
    if not after:
        advice = _advice(name, text[start : next_line - 1])
        how = f"each setting needs a line of its own; if the quotes are part of the value, {advice}"
        return _Value("", next_line, f"{name} goes on after its quotes: {how}")
    if found[1] is not None:
        value, problem = _literal(found[1], name)
    else:
        value, problem = _escaped(found[2], name)
    if not problem and name not in WORDS and value != value.strip():
        problem = f"{name} begins or ends with a space inside the quotes: remove it"
    elif not problem and name not in WORDS and "\n" in value:
        problem = f"{name} has more than one line: only {', '.join(WORDS)} may have several"
    return _Value(value, after.end(), problem)


def _literal(value: str, name: str) -> tuple[str, str]:
    """Return what single quotes contain, and what is wrong with it."""
    if any(escape[1] == "\\" for escape in _ESCAPE.finditer(value)):
        return value, rf"\\ in single quotes is not read alike by all: in {name}, {_advice(name, value)}"
    return value.replace("\\'", "'"), ""


def _escaped(value: str, name: str) -> tuple[str, str]:
    """Return what double quotes contain, and what is wrong with it."""
    if "$" in value:
        return value, _replaced(name, value)
    if unlike := [escape[0] for escape in _ESCAPE.finditer(value) if escape[1] not in _ESCAPES]:
        return value, rf"{unlike[0]} in double quotes is not read alike by all: in {name}, write \\ for a backslash"
    return _ESCAPE.sub(lambda escape: _ESCAPES[escape[1]], value), ""


def _replaced(name: str, value: str) -> str:
    how = f"{_advice(name, value)}; if another variable is, write its value instead"
    return f"Docker Compose may replace the $ in {name} and what follows it. If the $ itself is meant, {how}"


def _advice(name: str, value: str) -> str:
    """Return how a value that can't stay as it is is written."""
    in_single_quotes = not _NOT_IN_SINGLE_QUOTES.search(value)
    if in_single_quotes and "'" not in value:
        return f"write the value in single quotes: {name}='…'"
    if "$" not in value:
        return f'write the value in double quotes, with a \\ before each " and \\ in it: {name}="…"'
    if in_single_quotes:
        return f"write the value in single quotes, with a \\ before each ' in it: {name}='…'"
    return f"do without one of them, because {_NO_WAY}"
