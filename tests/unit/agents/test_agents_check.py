"""``callgate agents check``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from callgate.__main__ import main

GOOD = """
[default]
greeting = "Hello."
time_zone = "UTC"
tools = ["hang_up", "transfer_call"]
transfer = [{ name = "boss", number = "+15551230009" }]
http = [{ name = "orders", description = "x", url = "https://h.example/", headers = { A = "${TOKEN}" } }]
mcp = [{ label = "crm", url = "https://h.example/", authorization = "${TOKEN}" }]
keys = { 0 = { tool = "transfer_call", to = "boss" } }
hours = { monday = ["09:00-17:00"], when_closed = { say = "Closed." } }
[number."+15551230001"]
turn_detection = { type = "semantic_vad" }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty current folder, with one secret in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", "s3cret")
    monkeypatch.delenv("AGENTS_FILE", raising=False)
    return tmp_path


def check(*words: str) -> int:
    return main(["agents", "check", *words])


def test_a_good_file_is_shown_agent_by_agent_and_no_secret_of_it(folder, capsys):
    (folder / "a.toml").write_text(GOOD)
    assert check("a.toml") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Agents from a.toml: the default, 1 numbers of their own, 0 that answer for others.\n")
    for text in ("+15551230001", "Hello.", "semantic_vad, auto", "boss +15551230009", "orders", "crm", "says: Closed."):
        assert text in shown
    assert "s3cret" not in shown


def test_a_good_file_as_json(folder, capsys):
    (folder / "a.toml").write_text(GOOD)
    assert check("--json", "a.toml") == 0
    shown = capsys.readouterr().out
    told = json.loads(shown)
    assert (told["ok"], told["file"], list(told["agents"])) == (True, "a.toml", ["default", "+15551230001"])
    assert told["agents"]["default"]["hours"] == ["monday 09:00-17:00"]
    assert "s3cret" not in shown


def test_all_mistakes_are_shown_and_the_exit_code_is_one(folder, capsys):
    (folder / "a.toml").write_text("[default]\nvoice = 5\nmodel = 5\n")
    assert check("a.toml") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": it")[0] for line in lines] == ["a.toml:2: default.voice", "a.toml:3: default.model"]


def test_mistakes_as_json_have_line_and_key(folder, capsys):
    (folder / "a.toml").write_text("[default]\nvoice = 5\n")
    assert check("--json", "a.toml") == 1
    told = json.loads(capsys.readouterr().out)
    problem = {"line": 2, "key": "default.voice", "problem": "it must be a text, in quotes"}
    assert told == {"ok": False, "file": "a.toml", "problems": [problem]}


def test_without_a_file_the_settings_make_the_one_agent(capsys):
    assert check() == 0
    assert capsys.readouterr().out.startswith("One agent answers every number: the settings make it.\n")


def test_the_settings_name_the_file(folder, capsys):
    (folder / ".env").write_text("AGENTS_FILE=b.toml\n")
    (folder / "b.toml").write_text('default.voice = "cedar"')
    assert check() == 0
    assert "Agents from b.toml" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "a.toml: there is no such file"),
        (lambda path: path.mkdir(), "a.toml: it can't be read: Is a directory"),
        (lambda path: path.write_bytes(b"# \xff"), "a.toml:1: it is not UTF-8 text"),
        (lambda path: path.write_bytes(b"#" * (1024 * 1024 + 1)), "a.toml: it is larger than 1024 kB"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_of_in_one_line(folder, capsys, make, told):
    make(folder / "a.toml")
    assert check("a.toml") == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(told)


def test_settings_that_cannot_be_read_are_another_matter(folder, capsys):
    (folder / ".env").write_text("PORT=eighty\n")
    assert check() == 2
    assert capsys.readouterr().err.startswith("callgate: PORT: ")


def test_a_byte_order_mark_is_no_mistake(folder, capsys):
    (folder / "a.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert check("a.toml") == 0
    assert "+15551230001" in capsys.readouterr().out


def test_lines_that_end_as_on_windows_are_counted_alike(folder, capsys):
    (folder / "a.toml").write_bytes(b'[default]\r\nvoice = "x"\r\nmodel = 5\r\n')
    assert check("a.toml") == 1
    assert capsys.readouterr().out.startswith("a.toml:3: default.model")


def test_a_pattern_that_could_hold_up_every_call_is_a_mistake_with_its_tool_and_what_to_write_instead(folder, capsys):
    (folder / "a.toml").write_text(
        """
[[default.http]]
name = "orders"
description = "x"
url = "https://h.example/"
parameters.properties.order = { type = "string", pattern = '^(?!0)[0-9]+$' }
"""
    )
    assert check("a.toml") == 1
    told = "".join(capsys.readouterr())
    assert "a.toml:2: default.http[0]: orders: parameters.properties.order.pattern: the pattern '^(?!0)[0-9]+$'" in told
    assert "looks ahead or behind, which can take for ever: write it without (?=, (?!" in told
