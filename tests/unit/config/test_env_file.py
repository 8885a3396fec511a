"""The .env file: what all its readers read alike, and what is refused because they would not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from callgate.__main__ import main
from callgate.config.env_file import parse_env_file, read_env_file, spelled
from callgate.config.names import OF_THE_BUNDLE, known, misspelt
from callgate.config.settings import Config
from callgate.config.sources import read_settings, rehearsal_token
from callgate.errors import ConfigError
from dotenv import dotenv_values
from hypothesis import example, given
from hypothesis import strategies as st
from support.spellings import ALIKE, REFUSED


@pytest.mark.parametrize("spelling", ALIKE)
def test_what_python_dotenv_reads_as_compose_does_is_read(spelling, tmp_path):
    data, value = ALIKE[spelling]
    *_, last = parse_env_file(data, ".env").values()
    assert last == value
    (tmp_path / ".env").write_bytes(data)
    *_, dotenv = dotenv_values(tmp_path / ".env").values()
    if "${" not in value:  # which python-dotenv replaces, unless it is told not to
        assert dotenv == value


@pytest.mark.parametrize("spelling", REFUSED)
def test_what_they_read_differently_is_refused_with_its_line_and_what_to_write(spelling):
    data, line, says = REFUSED[spelling]
    with pytest.raises(ConfigError) as caught:
        parse_env_file(data, ".env")
    problem = caught.value.problems[0]
    assert problem.startswith(f".env, line {line}: ")
    assert says in problem


def test_all_bad_lines_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_env_file(b"A=$x\nB=1\nC='\nD\n", ".env")
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        ".env, line 1", ".env, line 3", ".env, line 4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [b"ADMIN_TOKEN=s3cret$s3cret", b"s3cret", b"s3cret s3cret=s3cret", b"ADMIN_TOKEN='s3cret",
     b'ADMIN_TOKEN="s3cret" s3cret', b"ADMIN_TOKEN=s3cret\nADMIN_TOKEN=s3cret2", b"ADMIN_TOKEN=#s3cret",
     b"ADMIN_TOKEN=s3cret\xff", b"ADMIN_TOKEN=' s3cret'", b"ADMIN_TOKEN: s3cret"],
)  # fmt: skip
def test_no_part_of_a_value_is_ever_shown(line):
    with pytest.raises(ConfigError) as caught:
        parse_env_file(line, ".env")
    assert "s3cret" not in str(caught.value)


@given(value=st.text(max_size=20))
@example(value="it's $5")
@example(value="a\\")
@example(value="'\"'")
def test_what_is_spelled_is_read_again_or_there_is_no_way_to_spell_it(value):
    try:
        spelling = spelled(value)
    except ValueError:
        assert ("$" in value and "\\" in value) or not value.isprintable()
        return
    data = f"FIRST=1\nGREETING={spelling}\nLAST=2\n".encode()
    assert parse_env_file(data, ".env") == {"FIRST": "1", "GREETING": value, "LAST": "2"}
    assert dotenv_values(stream=io.StringIO(data.decode()), interpolate=False)["GREETING"] == value


def test_the_service_does_not_start_with_a_line_that_is_read_differently(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes("DOMAIN=voice.example.com\nGREETING=Grüß Gott\n".encode("latin-1"))
    assert main(["serve"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("callgate: .env, line 2: it is not UTF-8")


def test_a_file_that_is_named_must_exist_and_be_a_file(tmp_path, capsys):
    assert main(["serve", "--env-file", str(tmp_path / "none")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    assert main(["serve", "--env-file", str(tmp_path)]) == 2
    assert "Is a directory" in capsys.readouterr().err


def test_without_a_file_there_are_no_settings(tmp_path: Path):
    assert read_env_file(tmp_path / ".env") == {}


def test_nothing_in_the_file_refers_to_anything_else(tmp_path):
    (tmp_path / ".env").write_text("DOMAIN=a\nINSTRUCTIONS='You answer for ${DOMAIN}.'\n")
    assert read_settings({}, tmp_path / ".env")["INSTRUCTIONS"] == "You answer for ${DOMAIN}."


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfsk-key\r\n", b"  sk-key\n\n"])
def test_a_secret_in_a_file_is_the_line_that_it_contains(tmp_path, text):
    (tmp_path / "key").write_bytes(text)
    assert Config.parse({"OPENAI_API_KEY_FILE": str(tmp_path / "key")}).openai_api_key == "sk-key"


@pytest.mark.parametrize(
    ("text", "says"),
    [(b"s3cr\xe9t", "not UTF-8"), (b"s3cret\nanother", "more than one line"), ("s3".encode("utf-16"), "not UTF-8")],
)
def test_a_secret_in_a_file_that_can_not_be_one_is_refused_and_not_shown(tmp_path, text, says):
    (tmp_path / "key").write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        Config.parse({"OPENAI_API_KEY_FILE": str(tmp_path / "key")})
    (problem,) = caught.value.problems
    assert problem.startswith(f"OPENAI_API_KEY: OPENAI_API_KEY_FILE is {tmp_path / 'key'}, which ")
    assert says in problem
    assert "s3" not in problem.replace(str(tmp_path), "")


@pytest.mark.parametrize("value", [b"Gr\xfc\xdf Gott".decode("utf-8", "surrogateescape"), "Gr\ufffd\ufffd Gott"])
def test_an_environment_that_is_not_utf_8_is_refused(value):
    """The first is what Python makes of it, the second is what Docker hands on."""
    with pytest.raises(ConfigError, match="GREETING: it contains characters that are not UTF-8"):
        Config.parse({"GREETING": value})


def test_only_what_the_agent_says_and_is_told_may_have_several_lines():
    assert Config.parse({"INSTRUCTIONS": "one\ntwo"}).instructions == "one\ntwo"
    with pytest.raises(ConfigError, match="ADMIN_TOKEN: it has more than one line"):
        Config.parse({"ADMIN_TOKEN": "one\ntwo"})


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "DOMAIN", "OPENAI_MODEL", "HTTP_TOOLS_ALLOW"])
@pytest.mark.parametrize(
    ("value", "says"),
    [("# s3cret", "it begins with #"), ("'s3cret'", "quotes around it"), ('"s3cret"', "quotes around it")],
)
def test_what_another_reader_of_the_file_left_in_a_value_is_refused_and_not_shown(name, value, says):
    with pytest.raises(ConfigError) as caught:
        Config.parse({name: value})
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("key", ["two words", "a*", "[ab]", "a?", "a\\b", "good, b*"])
def test_a_key_that_the_edge_would_take_apart_is_refused_and_not_shown(key):
    with pytest.raises(ConfigError) as caught:
        Config.parse({"EDGE_KEY": key})
    assert str(caught.value).startswith("EDGE_KEY: it must not contain spaces")
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "ADMIN_TOKEN", "TWILIO_AUTH_TOKEN", "EDGE_KEY"]
)
@pytest.mark.parametrize("char", ["\u2013", "\u200b", "\u00a0", "\u00e9", "\t# mine "])
def test_a_secret_with_what_no_header_takes_is_refused_and_not_shown(name, char):
    with pytest.raises(ConfigError) as caught:
        Config.parse({name: f"s3cret{char}abc"})
    assert any(
        each.startswith(f"{name}: it contains a character that is not printable ASCII")
        for each in caught.value.problems
    )
    assert "s3cret" not in str(caught.value)


def test_a_token_for_rehearsals_that_is_not_text_is_a_problem_of_its_own(tmp_path):
    (tmp_path / "rehearsal-auth-token").write_bytes(b"\xff\xfe")
    assert rehearsal_token(tmp_path) is None
    with pytest.raises(ConfigError, match="is not text: remove it"):
        Config(data_dir=tmp_path).with_rehearsal_token()


@pytest.mark.parametrize(
    ("name", "meant"),
    [("DOMIAN", "DOMAIN"), ("EXTRA_DOMAIN", "EXTRA_DOMAINS"), ("OPENAI_APIKEY", "OPENAI_API_KEY"), ("domain", "DOMAIN"),
     ("OPENAI_KEY", "OPENAI_API_KEY"), ("TWILIO_SID", "TWILIO_ACCOUNT_SID"), ("GREETINGS", "GREETING"),
     ("TWILIO_AUTH_TOKEN_FIEL", "TWILIO_AUTH_TOKEN_FILE"), ("ACME_DNS_CREDENTIAL", "ACME_DNS_CREDENTIALS")],
)  # fmt: skip
def test_a_misspelt_name_is_recognized(name, meant):
    assert misspelt([name, "PORT"]) == {name: meant}


@pytest.mark.parametrize("name", ["ORDERS_TOKEN", "HOSTNAME", "COMPOSE_PROJECT_NAME", "PATH", "REPORT", "TZ"])
def test_another_programs_variable_is_no_misspelt_setting(name):
    assert misspelt([name]) == {}


def test_no_setting_is_taken_for_another():
    assert misspelt(known()) == {}
    assert known() >= OF_THE_BUNDLE
