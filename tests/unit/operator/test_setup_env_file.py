"""The .env file that the set-up writes: what it changes, and above all what it leaves alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from callgate.operator.setup.env_file import EnvFile
from callgate.operator.setup.refusal import SetupRefused
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

BEFORE = """\
# ours, do not touch
export SOMETHING_ELSE='of another program'
DOMAIN=old.callgate.test

OPENAI_MODEL="gpt-realtime-2.1" # the good one
"""
TEMPLATE = (
    "# The example.\nDOMAIN=voice.example.com\n# ACME_EMAIL=you@example.com\nTWILIO_AUTH_TOKEN=\n# MAX_CALLS=30\n"
)


@pytest.fixture
def file(tmp_path: Path) -> EnvFile:
    (tmp_path / ".env.example").write_text(TEMPLATE)
    return EnvFile(tmp_path / ".env", tmp_path / ".env.example")


def test_every_line_that_is_not_set_stays_as_it_is(file):
    file.path.write_text(BEFORE)
    assert file.write({"DOMAIN": "new.callgate.test", "ADMIN_TOKEN": "abc"})
    assert file.path.read_text() == BEFORE.replace("old.", "new.") + "ADMIN_TOKEN=abc\n"


def test_a_new_one_is_the_example_filled_in(file):
    file.write({"DOMAIN": "voice.callgate.test", "ACME_EMAIL": "me@callgate.test", "TWILIO_AUTH_TOKEN": "t"})
    assert file.path.read_text() == (
        "# The example.\nDOMAIN=voice.callgate.test\nACME_EMAIL=me@callgate.test\nTWILIO_AUTH_TOKEN=t\n# MAX_CALLS=30\n"
    )


def test_only_its_owner_can_read_it(file):
    file.path.write_text(BEFORE)
    file.path.chmod(0o644)
    assert file.write({"DOMAIN": "old.callgate.test"})
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.write({"DOMAIN": "new.callgate.test"})
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_what_stands_there_already_is_not_written_again(file):
    file.write({"DOMAIN": "voice.callgate.test"})
    before = file.path.stat()
    assert not file.write({"DOMAIN": "voice.callgate.test"})
    assert (file.path.stat().st_ino, file.path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_nothing_is_created_where_there_is_nothing_to_write(file):
    assert not file.write({})
    assert not file.path.exists()


@pytest.mark.parametrize("value", ["back\\\\slash$", "slash$\\", "$\\'", "a\x00b", "a\x1bb"])
def test_a_value_that_no_spelling_gives_back_to_all_is_refused_and_nothing_is_written(file, value):
    file.path.write_text(BEFORE)
    with pytest.raises(SetupRefused, match="ADMIN_TOKEN"):
        file.write({"ADMIN_TOKEN": value})
    assert file.path.read_text() == BEFORE
    assert sorted(path.name for path in file.path.parent.iterdir()) == [".env", ".env.example"]


@pytest.mark.parametrize(
    ("bad", "says"),
    [("INSTRUCTIONS='You are\nDOMAIN=old.callgate.test\n", "line 1: the quote after INSTRUCTIONS="),
     ("INSTRUCTIONS='\n", "line 1: the quote after INSTRUCTIONS="),
     (f"{BEFORE}not a setting\n", "line 6: it is not of"),
     ("ADMIN_TOKEN=s3cret$x\n", "line 1: Docker Compose")],
)  # fmt: skip
def test_a_file_with_a_line_that_is_not_read_alike_is_refused_and_left_as_it_was(file, bad, says):
    file.path.write_text(bad)
    with pytest.raises(SetupRefused, match=says) as caught:
        file.write({"ADMIN_TOKEN": "a b"})
    assert "s3cret" not in caught.value.report()
    assert file.path.read_text() == bad


def test_a_last_line_without_an_end_is_not_written_on(file):
    file.path.write_text("DOMAIN=old.callgate.test")
    file.write({"ADMIN_TOKEN": "abc"})
    assert file.path.read_text() == "DOMAIN=old.callgate.test\nADMIN_TOKEN=abc\n"


def test_what_an_editor_on_windows_adds_does_not_get_in_the_way(file):
    file.path.write_bytes(b"\xef\xbb\xbfDOMAIN=old.callgate.test\r\nPORT=1 # x\r\n")
    file.write({"DOMAIN": "new.callgate.test"})
    assert file.path.read_text() == "DOMAIN=new.callgate.test\nPORT=1 # x\n"


def test_a_link_is_followed(file, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "settings").write_text(BEFORE)
    file.path.symlink_to(elsewhere / "settings")
    file.write({"DOMAIN": "new.callgate.test"})
    assert file.path.is_symlink()
    assert "new.callgate.test" in (elsewhere / "settings").read_text()


def test_one_that_is_no_text_is_refused(file):
    file.path.write_bytes(b"DOMAIN=\xff\xfe\n")
    with pytest.raises(SetupRefused, match=r"\.env"):
        file.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for another user")
def test_it_belongs_to_whom_the_folder_belongs(file):
    os.chown(file.path.parent, 12345, 12345)
    file.write({"DOMAIN": "voice.callgate.test"})
    assert file.path.stat().st_uid == 12345


@given(
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1)
    .map(str.strip)
    .filter(lambda value: value and not ("$" in value and re.search(r"\\(?:[\\']|$)", value)))
)
def test_what_is_written_is_what_is_read(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("env")
    file = EnvFile(folder / ".env", folder / "none")
    file.write({"FIRST": "1", "ADMIN_TOKEN": value, "LAST": "2"})
    assert dotenv_values(file.path, interpolate=False) == {"FIRST": "1", "ADMIN_TOKEN": value, "LAST": "2"}
    assert file.read()["ADMIN_TOKEN"] == value
