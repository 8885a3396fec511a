"""The line on which a key stands, for every valid TOML document."""

from __future__ import annotations

import json
import tomllib

from callgate.agents.toml_lines import Path, key_lines
from hypothesis import given
from hypothesis import strategies as st

DOCUMENT = '''\
# a comment with [brackets] and "quotes
[default]
instructions = """
voice = "not a key"
[not.a.table] \\""" { # """
tools = ["a", # one
  "b",
]
a.b . "c d" = 1.5
when = 1979-05-27 07:32:00
[[default.http]]
name = 'x"'
headers = { A = "1", "B.c" = { d = [1,
  2] } }
[default.http.parameters]
order = {}

[[default.http]]
name = """"quoted""""
[number."+1555"]
greeting = "\\"]"
'''


def test_each_key_table_and_entry_has_its_line():
    tomllib.loads(DOCUMENT)
    lines = key_lines(DOCUMENT)
    expected: dict[Path, int] = {
        ("default",): 2,
        ("default", "instructions"): 3,
        ("default", "tools"): 6,
        ("default", "tools", 0): 6,
        ("default", "tools", 1): 7,
        ("default", "a", "b", "c d"): 9,
        ("default", "when"): 10,
        ("default", "http"): 11,
        ("default", "http", 0): 11,
        ("default", "http", 0, "name"): 12,
        ("default", "http", 0, "headers", "B.c", "d"): 13,
        ("default", "http", 0, "headers", "B.c", "d", 1): 14,
        ("default", "http", 0, "parameters", "order"): 16,
        ("default", "http", 1): 18,
        ("default", "http", 1, "name"): 19,
        ("number", "+1555", "greeting"): 21,
    }
    assert {path: lines.get(path) for path in expected} == expected


def paths_of(value: object, path: Path = ()) -> set[Path]:
    """Return all keys and entries of a parsed document."""
    found = {path} if path else set()
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        found |= paths_of(child, (*path, step))
    return found


KEYS = st.sampled_from(["a", "b-c", "9", "x y", "é", '"', "]", "=", "#"])
TEXT = st.text(st.sampled_from("ab \"'\\#[]{}=,.\n\u00e9"), max_size=8)
SCALARS = st.one_of(TEXT, st.integers(-9, 9), st.booleans(), st.sampled_from([1.5, -2e3]))
VALUES = st.recursive(
    SCALARS, lambda inside: st.lists(inside, max_size=3) | st.dictionaries(KEYS, inside, max_size=3), max_leaves=8
)


def written(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {written(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + "".join(f"  {written(child)}, # ]\n" for child in value) + "]"
    return json.dumps(value)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3))
def test_every_key_of_every_document_has_a_line_on_which_it_stands(tables):
    document = ""
    for name, table in tables.items():
        document += f"\n[{json.dumps(name)}] # [\n"
        document += "".join(f"{json.dumps(key)} = {written(value)}\n" for key, value in table.items())
    assert tomllib.loads(document) == tables
    lines, text = key_lines(document), document.split("\n")
    assert set(lines) == paths_of(tables)
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert json.dumps(path[-1]) in text[line - 1]
