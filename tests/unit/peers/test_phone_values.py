"""Signatures, the timeline, the codes, and the command line's options."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import soundfile
from callgate.errors import CallgateError, PhoneError
from callgate.peers.phone import cli
from callgate.peers.phone.options import Address, PhoneOptions
from callgate.peers.phone.settings import options_from
from callgate.peers.phone.simulation import codes, signing
from callgate.peers.phone.simulation.script import Digits, Hold, Interrupt, Speak, Wait
from callgate.peers.phone.simulation.timeline import Event, Timeline, mask_url, table
from twilio.request_validator import RequestValidator

TOKEN = "0123456789abcdef"
WEBHOOK = "https://voice.example.test/incoming-call"
STREAM = "wss://voice.example.test/media-stream/token"


# Signatures, against Twilio's own validator


def test_a_webhook_is_signed_over_url_and_form_without_the_fragment() -> None:
    form = {"CallSid": "CA1", "From": "+15550001111", "Empty": ""}
    signature = signing.sign_webhook(TOKEN, WEBHOOK + "#rc=2&rp=ct", form)
    assert RequestValidator(TOKEN).validate(WEBHOOK, form, signature)
    assert not RequestValidator(TOKEN).validate(WEBHOOK, {**form, "From": "+15550009999"}, signature)


def test_an_upgrade_is_signed_over_the_wss_url_alone() -> None:
    signature = signing.sign_upgrade(TOKEN, STREAM)
    assert RequestValidator(TOKEN).validate(STREAM, {}, signature)


@pytest.mark.parametrize("sign", [signing.sign_wrongly, signing.sign_as_https])
def test_a_faulty_signature_is_one_that_twilio_would_not_make(sign: signing.UpgradeSigner) -> None:
    assert not RequestValidator(TOKEN).validate(STREAM, {}, sign(TOKEN, STREAM))


# The timeline


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://a.example/media-stream/abcdefghijklmnopqrstuvwxyz.123", "wss://a.example/media-stream/***"),
        ("wss://a.example/s/short", "wss://a.example/s/short"),
        ("https://user:pass@a.example:8443/x?token=1#f", "https://a.example:8443/x?***"),
        ("/again", "/again"),
        ("wss://[::1]/s", "wss://[::1]/s"),
        ("wss://[::1/s", "(not a URL)"),
    ],
)
def test_what_may_be_a_token_is_masked_in_a_url(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_a_segment_that_is_also_a_parameter_is_masked_however_short() -> None:
    assert mask_url("wss://a.example/s/short", ["short"]) == "wss://a.example/s/***"


def test_events_are_told_as_they_happen_and_listed_in_a_table() -> None:
    told: list[Event] = []
    timeline = Timeline(told.append)
    timeline.add(0.5, "start", "it begins", number=1)
    assert told == timeline.events
    assert told[0].as_json() == {"at": 0.5, "event": "start", "text": "it begins", "number": 1}
    assert table(told).splitlines()[1].split() == ["0.500", "start", "it", "begins"]


def test_every_code_has_a_meaning_and_an_advice() -> None:
    assert codes.MEANINGS.keys() >= codes.WEBHOOK_CODES | codes.ACCEPT_CODES | codes.FRAME_CODES
    for code in codes.MEANINGS:
        assert codes.meaning(code)
        assert codes.advice(code)
    assert str(PhoneError(31920, "no")) == "Twilio error 31920: no"


def test_the_options_of_a_call_show_no_secret() -> None:
    shown = repr(PhoneOptions(to=WEBHOOK, auth_token=TOKEN, parameters={"token": TOKEN}))
    assert TOKEN not in shown
    assert "+1555" not in shown


# The command line


@pytest.fixture
def wav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # without the developer's .env
    path = tmp_path / "hello.wav"
    soundfile.write(path, [0.5, -0.5] * 400, 8000)
    return path


def options(arguments: list[str], environ: dict[str, str] | None = None) -> PhoneOptions:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    return options_from(parser.parse_args(["phone", *arguments]), {"TWILIO_AUTH_TOKEN": TOKEN, **(environ or {})})


def test_the_script_is_in_the_order_of_the_command_line(wav: Path) -> None:
    line = f"--say {wav} --digits 12# --interrupt {wav} --after 0.3 --wait 2 --interrupt {wav} --listen 1.5 --hold"
    audio = options(["--say", str(wav)]).script[0].audio  # type: ignore[union-attr]
    assert options(line.split()).script == (
        Speak(audio, "hello.wav"),
        Digits("12#"),
        Interrupt(audio, "hello.wav", 0.3),
        Wait(2),
        Interrupt(audio, "hello.wav", 0.8),
        Wait(1.5),
        Hold(),
    )


@pytest.mark.parametrize(
    ("arguments", "environ", "target"),
    [
        (["--to", STREAM], {}, STREAM),
        ([], {"BASE_URL": "https://a.example/"}, "https://a.example/incoming-call"),
        ([], {"DOMAIN": "a.example"}, "https://a.example/incoming-call"),
        ([], {}, "https://localhost/incoming-call"),
    ],
)
@pytest.mark.usefixtures("wav")
def test_where_the_call_goes(arguments: list[str], environ: dict[str, str], target: str) -> None:
    assert options(arguments, environ).to == target


@pytest.mark.usefixtures("wav")
def test_the_auth_token_is_the_given_one_or_the_first_set_or_the_rehearsals(tmp_path: Path) -> None:
    assert options(["--auth-token", "given"]).auth_token == "given"
    assert options([], {"TWILIO_AUTH_TOKEN": " new , old "}).auth_token == "new"
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/rehearsal-auth-token").write_text("rehearsed\n")
    assert options([], {"TWILIO_AUTH_TOKEN": "", "DATA_DIR": "kept"}).auth_token == "rehearsed"
    (tmp_path / ".env").write_text("TWILIO_AUTH_TOKEN=of-the-file\n")
    del (environ := {"TWILIO_AUTH_TOKEN": ""})["TWILIO_AUTH_TOKEN"]
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    assert options_from(parser.parse_args(["phone"]), environ).auth_token == "of-the-file"


@pytest.mark.usefixtures("wav")
@pytest.mark.parametrize("text", ["127.0.0.1:8443", "localhost:8443", "[::1]:8443"])
def test_connect_to_is_a_host_and_a_port(text: str) -> None:
    host = text.rpartition(":")[0].strip("[]")
    assert options(["--connect-to", text]).connect_to == Address(host, 8443)


@pytest.mark.usefixtures("wav")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "voice.example.com"], "is not a URL to call"),
        (["--to", "ftp://a.example/"], "is not a URL to call"),
        (["--connect-to", "8443"], "HOST:PORT"),
        (["--connect-to", "a:99999"], "HOST:PORT"),
        (["--account-sid", "AC1"], "32 hexadecimal digits"),
        (["--say", "missing.wav"], "is not there"),
        (["--record", "nowhere/call.wav"], "no directory"),
        (["--parameter", "token"], "NAME=VALUE"),
        (["--ca", "missing.pem"], "can't be used as a CA file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    assert cli.main(["--to", "https://127.0.0.1:1/", *arguments]) == 2
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.parametrize(
    "arguments",
    [["--after", "1"], ["--digits", "12x"], ["--calls", "0"], ["--wait", "-1"], ["--wait", "nan"], ["--hop"]],
)
def test_a_wrong_use_is_argparses_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.usefixtures("wav")
def test_with_no_token_anywhere_it_says_what_to_set() -> None:
    with pytest.raises(CallgateError, match="TWILIO_AUTH_TOKEN"):
        options([], {"TWILIO_AUTH_TOKEN": ""})
