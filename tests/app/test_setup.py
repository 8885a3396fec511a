"""scripts/setup.sh's steps, with Twilio's REST API on a socket, and stand-ins for docker and issue-cert.sh."""

from __future__ import annotations

import asyncio
import io
import json
import os
import stat
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from callgate.core.gate.signature import edge_proof
from callgate.operator.ask import Answer, UnreachableError
from callgate.operator.setup.cli import main
from callgate.operator.setup.outside import Outside
from callgate.operator.setup.terminal import Terminal
from callgate.operator.setup.webhooks import wanted
from dotenv import dotenv_values
from support.project import ROOT
from support.twilio_rest import FakeTwilioRest

ACCOUNT, TOKEN, KEY = "AC" + 32 * "1", "0123456789abcdef" * 2, "sk-the-key-of-openai"
NUMBER, SECOND, MINE = "+15551230009", "+15551230010", "+15557654321"
DOMAIN = "voice.callgate.test"
BASE_URL = f"https://{DOMAIN}"
CALL = "CA" + 32 * "a"
PROOF = edge_proof(TOKEN)
HERE = wanted(BASE_URL, proof=PROOF).as_json()

DOCKER = """#!/bin/sh
case "$*" in
"version --format"*)
  [ -z "${NO_ENGINE:-}" ] || { echo "Cannot connect to the Docker daemon." >&2; exit 1; }
  echo "${ENGINE:-28.5.2}"
  ;;
"compose version --short") echo 2.40.3 ;;
*" ps --quiet") cat "$UP" 2>/dev/null; exit 0 ;;
*" ps --all --quiet"*) echo 4711 ;;
*" up -d --wait"*)
  echo "docker $*" >>"$CALLS"
  env >docker.environ
  echo container >"$UP"
  exit "${UP_STATUS:-0}"
  ;;
"inspect --format {{index"*) echo "certbot|running|unhealthy|0||" ;;
"inspect "*) printf 'first check\\nno certificate is published: voice.callgate.test does not resolve\\n\\n' ;;
esac
"""
ISSUE = """#!/bin/sh
env >issue-cert.sh.environ
echo issue-cert.sh >>"$CALLS"
[ -z "${CERT_STATUS:-}" ] || echo "keeper: the certificate authority was not asked: no A record" >&2
exit "${CERT_STATUS:-0}"
"""


class Answers(Terminal):
    """An operator with a list of answers, who records the questions."""

    def __init__(self, *answers: str, out: io.StringIO) -> None:
        super().__init__(stdout=out)
        self.answers, self.asked = list(answers), []

    @property
    def can_ask(self) -> bool:
        return True

    def ask(self, prompt: str, *, secret: bool = False) -> str:
        self.asked.append((prompt, secret))
        return self.answers.pop(0)


@dataclass
class Host:
    """A machine with the project on it, and what its set-up finds outside."""

    folder: Path
    twilio: FakeTwilioRest
    out: io.StringIO = field(default_factory=io.StringIO)
    answers: dict[str, Answer | None] = field(default_factory=dict)
    fetched: list[tuple[str, str, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # the idempotency keys of placed calls
    lost: list[Answer | None] = field(default_factory=list)  # what arrives first, in place of that answer

    def fetch(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        self.fetched.append((method, url, headers.get("Authorization", "")))
        if method == "POST":
            self.keys.append(headers["Idempotency-Key"])
            if self.lost:
                if (instead := self.lost.pop(0)) is None:
                    raise UnreachableError("no answer within 20 s")
                return instead
        if (answer := self.answers.get(url)) is None:
            raise UnreachableError("Connection refused")
        return answer

    @property
    def outside(self) -> Outside:
        return Outside(
            fetch=self.fetch,
            addresses=lambda name: ["1.1.1.1"],
            is_here=lambda address: True,
            leads_here=lambda name: None,
            twilio=self.twilio.http_client,
        )

    async def run(self, *argv: str, terminal: Terminal | None = None) -> int:
        words = ["--folder", str(self.folder), *argv]
        terminal = terminal or Terminal(assume_yes="--yes" in argv, stdin=io.StringIO(), stdout=self.out)
        return await asyncio.to_thread(main, words, terminal=terminal, outside=self.outside)

    @property
    def commands(self) -> list[str]:
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    @property
    def env(self) -> dict[str, str | None]:
        return dotenv_values(self.folder / ".env")

    def state(self) -> dict[str, tuple[int, str]]:
        """Return every file in the folder that the set-up may write, except the stand-ins' notes."""
        names = (".env", ".callgate-number.json")
        files = [self.folder / name for name in names if (self.folder / name).exists()]
        return {file.name: (file.stat().st_mtime_ns, file.read_text()) for file in files}


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(autouse=True)
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOMAIN", "BASE_URL", "OPENAI_API_KEY", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "ADMIN_TOKEN",
                 "CALLGATE_COMPOSE_OVERRIDE"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("UP", str(tmp_path / "up"))


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    (tmp_path / ".env.example").write_text((ROOT / ".env.example").read_text())
    program(tmp_path / "bin" / "docker", DOCKER)
    program(tmp_path / "scripts" / "issue-cert.sh", ISSUE)
    for name in ("bundle.sh", "start.sh"):
        program(tmp_path / "scripts" / name, (ROOT / "scripts" / name).read_text())
    async with FakeTwilioRest(ACCOUNT, TOKEN, NUMBER).serving() as twilio:
        twilio.live[CALL] = "in-progress"
        host = Host(tmp_path, twilio)
        host.answers = {
            "https://api.openai.com/v1/models/gpt-realtime-2.1": Answer(200, b"{}"),
            f"{BASE_URL}/healthz": Answer(200, b"ok\n"),
            f"{BASE_URL}/test-call-realtime": Answer(200, json.dumps({"ok": True, "call_sid": CALL}).encode()),
        }
        yield host


@pytest.fixture
def options(host: Host) -> list[str]:
    """Return the options of a run without questions."""
    for name, text in (("token", TOKEN), ("key", KEY)):
        (host.folder / name).write_text(text + "\n")
    return ["--yes", "--domain", DOMAIN, "--twilio-account-sid", ACCOUNT,
            "--twilio-auth-token-file", str(host.folder / "token"), "--openai-api-key-file", str(host.folder / "key"),
            "--test-call-to", MINE]  # fmt: skip


async def test_from_nothing_to_a_call_without_a_question(host, options, capfd):
    assert await host.run(*options) == 0
    env = host.env
    assert (env["DOMAIN"], env["TWILIO_AUTH_TOKEN"], env["OPENAI_API_KEY"]) == (DOMAIN, TOKEN, KEY)
    assert env["TWILIO_PHONE_NUMBER"] == NUMBER  # the account's only one
    assert len(env["ADMIN_TOKEN"]) >= 32
    assert stat.S_IMODE((host.folder / ".env").stat().st_mode) == 0o600
    assert host.commands == ["issue-cert.sh", "docker compose -f docker-compose.prod.yml up -d --wait"]
    assert host.twilio.webhooks[NUMBER]["voice_url"] == f"{BASE_URL}/incoming-call?proof={PROOF}"
    assert ("POST", f"{BASE_URL}/test-call-realtime", f"Bearer {env['ADMIN_TOKEN']}") in host.fetched
    said = host.out.getvalue() + "".join(capfd.readouterr())
    assert "answered" in said
    assert not [secret for secret in (TOKEN, PROOF, KEY, env["ADMIN_TOKEN"], NUMBER, MINE) if secret in said]


async def test_a_second_run_changes_nothing_and_says_so(host, options):
    await host.run(*options)
    before, updates = host.state(), len(host.twilio.number_updates)
    host.out.truncate(0)
    host.fetched.clear()
    assert await host.run(*options) == 0
    assert host.state() == before
    assert len(host.twilio.number_updates) == updates
    assert not [url for method, url, _ in host.fetched if method == "POST"]  # no call is placed either
    said = host.out.getvalue()
    assert "nothing to change" in said
    assert "nothing was started" in said
    assert "nothing was changed" in said


async def test_a_run_needs_no_option_for_what_stands_in_the_file(host, options):
    await host.run(*options)
    before = host.state()
    assert await host.run("--yes") == 0
    assert host.state() == before


async def test_undo_brings_back_what_was_before_and_then_there_is_nothing_to_undo(host, options):
    old = {"voice_url": "https://old.test/voice", "voice_method": "GET", "voice_application_sid": "AP" + 32 * "5"}
    host.twilio.webhooks[NUMBER] = dict(old)
    await host.run(*options)
    assert host.twilio.webhooks[NUMBER]["voice_application_sid"] == ""
    assert await host.run("undo", "--yes") == 0
    assert {name: host.twilio.webhooks[NUMBER][name] for name in old} == old
    assert not (host.folder / ".callgate-number.json").exists()
    updates = len(host.twilio.number_updates)
    assert await host.run("undo", "--yes") == 0
    assert "nothing to undo" in host.out.getvalue()
    assert len(host.twilio.number_updates) == updates


async def test_a_trunk_is_taken_off_and_given_back(host, options):
    trunk = "TK" + 32 * "7"
    host.twilio.webhooks[NUMBER] = {"trunk_sid": trunk}
    await host.run(*options)
    assert host.twilio.webhooks[NUMBER]["trunk_sid"] == ""
    await host.run("undo", "--yes")
    assert host.twilio.webhooks[NUMBER]["trunk_sid"] == trunk


async def test_undo_asks_before_it_undoes_what_somebody_else_did(host, options, capsys):
    await host.run(*options)
    host.twilio.webhooks[NUMBER]["voice_url"] = "https://theirs.test/"
    assert await host.run("undo", "--yes") == 1
    assert "somebody else has changed the number" in capsys.readouterr().err
    assert host.twilio.webhooks[NUMBER]["voice_url"] == "https://theirs.test/"
    assert await host.run("undo", terminal=Answers("n", out=host.out)) == 0
    assert host.twilio.webhooks[NUMBER]["voice_url"] == "https://theirs.test/"
    assert await host.run("undo", terminal=Answers("y", out=host.out)) == 0
    assert host.twilio.webhooks[NUMBER]["voice_url"] == "https://demo.twilio.com/welcome/voice/"


async def test_an_operator_is_asked_for_each_and_asked_again_for_what_is_wrong(host):
    host.twilio.numbers.append(SECOND)
    host.twilio.without_voice.add("+15551230011")
    host.twilio.numbers.append("+15551230011")
    host.answers["https://api.openai.com/v1/models/gpt-realtime-2.1"] = Answer(200, b"{}")
    terminal = Answers(
        "https://" + DOMAIN, DOMAIN, "", ACCOUNT, "wrong", ACCOUNT, TOKEN, "9", "2", KEY, MINE, out=host.out
    )
    assert await host.run("env", terminal=terminal) == 0
    assert terminal.answers == []
    assert host.env["TWILIO_PHONE_NUMBER"] == SECOND
    assert host.env["TEST_CALL_TO"] == MINE
    assert {prompt.split(" (")[0] for prompt, secret in terminal.asked if secret} == {
        "Twilio auth token", "OpenAI API key"
    }  # fmt: skip
    said = host.out.getvalue()
    assert "Twilio does not accept this pair" in said
    assert "+15551230011" not in said
    assert not [number for number in (NUMBER, SECOND) if number in said]


async def test_what_was_accepted_is_kept_when_a_later_answer_is_not(host, options, capsys):
    host.answers["https://api.openai.com/v1/models/gpt-realtime-2.1"] = Answer(401, b"")
    assert await host.run(*options) == 1
    assert host.env["TWILIO_AUTH_TOKEN"] == TOKEN
    assert not host.env["OPENAI_API_KEY"]
    assert "issue-cert.sh" not in host.commands
    assert host.twilio.number_updates == []
    error = capsys.readouterr().err
    assert error.startswith("setup.sh: OPENAI_API_KEY\n  found   ")
    assert KEY not in error


async def test_without_a_terminal_all_that_lacks_is_said_at_once_with_its_options(host, capsys):
    assert await host.run("env") == 1
    error = capsys.readouterr().err
    for option in ("--domain", "--twilio-account-sid", "--twilio-auth-token-file"):
        assert option in error
    assert not (host.folder / ".env").exists()


async def test_the_examples_domain_is_not_an_answer(host, options):
    (host.folder / ".env").write_text((host.folder / ".env.example").read_text())
    assert await host.run("env", "--yes", *options[3:]) == 1
    terminal = Answers(DOMAIN, "", out=host.out)
    assert await host.run("env", *options[3:], terminal=terminal) == 0
    assert host.env["DOMAIN"] == DOMAIN


async def test_a_key_in_the_environment_does_not_take_the_place_of_the_one_that_was_chosen(host, options, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-something-else")
    monkeypatch.setenv("ADMIN_TOKEN", "from-the-environment")
    await host.run("env", *options)
    assert host.env["OPENAI_API_KEY"] == KEY
    assert host.env["ADMIN_TOKEN"] == "from-the-environment"
    await host.run("env", "--yes")
    assert host.env["OPENAI_API_KEY"] == KEY


async def test_what_this_shell_exports_does_not_reach_the_services_unless_the_file_lacks_it(host, options, monkeypatch):
    await host.run("env", *options)
    monkeypatch.setenv("DOMAIN", "other.callgate.test")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-something-else")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN_FILE", "/run/another")
    monkeypatch.setenv("ACME_SERVER", "https://acme.callgate.test/dir")
    monkeypatch.setenv("PORT", "1")
    assert await host.run("cert", "start", "--yes") == 0
    for seen in ("issue-cert.sh.environ", "docker.environ"):
        given = (host.folder / seen).read_text().splitlines()
        assert not [
            line for line in given if line.startswith(("DOMAIN=", "OPENAI_API_KEY=", "TWILIO_AUTH_TOKEN_FILE="))
        ]
        assert "ACME_SERVER=https://acme.callgate.test/dir" in given
    told = host.out.getvalue().splitlines()
    assert any(line.endswith("unset DOMAIN OPENAI_API_KEY TWILIO_AUTH_TOKEN_FILE") for line in told)
    assert "sk-of" not in host.out.getvalue()


async def test_a_line_that_compose_would_read_otherwise_ends_it_before_anything_is_asked_or_started(host, capsys):
    (host.folder / ".env").write_text(f"DOMAIN={DOMAIN}\nGREETING=Only $5!\n")
    assert await host.run("--yes") == 1
    error = capsys.readouterr().err
    assert "line 2: Docker Compose may replace the $" in error
    assert "GREETING='…'" in error
    assert host.commands == []


@pytest.mark.parametrize("text", [b"s3cr\xe9t", b"s3cret\nanother"])
async def test_a_file_that_contains_no_secret_is_refused_without_a_traceback(host, options, capsys, text):
    (host.folder / "token").write_bytes(text)
    assert await host.run("env", *options) == 1
    error = capsys.readouterr().err
    assert error.startswith("setup.sh: --twilio-auth-token-file\n  found   ")
    assert "s3cr" not in error


async def test_an_answer_that_is_not_utf_8_is_refused_without_a_traceback(host, capsys):
    class Typed(Terminal):
        can_ask = True

    terminal = Typed(stdin=io.TextIOWrapper(io.BytesIO(b"voice.b\xfccher.example\n"), "utf-8"), stdout=host.out)
    assert await host.run("env", terminal=terminal) == 1
    assert "found   a character that is not UTF-8" in capsys.readouterr().err


async def test_a_secret_that_the_file_has_in_another_file_stays_there(host, options):
    (host.folder / ".env").write_text(f"TWILIO_AUTH_TOKEN_FILE={host.folder / 'token'}\n")
    assert await host.run("env", "--yes", *options[1:5], *options[7:]) == 0
    assert "TWILIO_AUTH_TOKEN" not in host.env
    assert host.env["TWILIO_AUTH_TOKEN_FILE"] == str(host.folder / "token")


async def test_a_secret_beside_the_file_that_has_it_is_refused(host, options, capsys):
    (host.folder / "other").write_text("another")
    (host.folder / ".env").write_text(f"ADMIN_TOKEN_FILE={host.folder / 'other'}\n")
    assert await host.run("env", *options, "--admin-token-file", str(host.folder / "key")) == 1
    assert "ADMIN_TOKEN_FILE" in capsys.readouterr().err
    assert "ADMIN_TOKEN" not in host.env


async def test_a_secret_that_the_file_has_twice_is_refused_before_the_backend_refuses_it(host, options, capsys):
    (host.folder / ".env").write_text(f"ADMIN_TOKEN=abc\nADMIN_TOKEN_FILE={host.folder / 'key'}\n")
    assert await host.run("env", *options) == 1
    assert "keep one of them" in capsys.readouterr().err


async def test_a_bad_line_elsewhere_in_the_file_is_named(host, options, capsys):
    (host.folder / ".env").write_text("MAX_CALLS=many\n")
    assert await host.run("env", *options) == 1
    assert "MAX_CALLS" in capsys.readouterr().err
    assert host.env["MAX_CALLS"] == "many"


@pytest.mark.parametrize(
    ("setting", "value", "step", "last"),
    [
        ("NO_ENGINE", "1", "start", "start it (systemctl start docker), or run this with sudo"),
        ("ENGINE", "24.0.7", "start", "update it (docs.docker.com/engine/install)"),
        ("UP_STATUS", "1", "start", "no certificate is published: voice.callgate.test does not resolve"),
        ("CERT_STATUS", "1", "cert", "the certificate authority was not asked: no A record"),
    ],
)
async def test_a_program_that_fails_ends_it_with_the_cause_in_the_last_line(
    host, options, monkeypatch, capfd, setting, value, step, last
):
    await host.run("env", *options)
    monkeypatch.setenv(setting, value)
    assert await host.run(step, "number", "--yes") == 1
    assert capfd.readouterr().err.splitlines()[-1].endswith(last)
    assert host.twilio.number_updates == []


async def test_behind_a_tunnel_there_is_neither_a_domain_nor_a_certificate(host, options):
    host.answers["https://abc.tunnel.test/healthz"] = Answer(200, b"ok\n")
    host.answers["https://abc.tunnel.test/test-call-realtime"] = host.answers[f"{BASE_URL}/test-call-realtime"]
    assert await host.run("--yes", "--base-url", "https://abc.tunnel.test", *options[3:]) == 0
    assert "issue-cert.sh" not in host.commands
    assert host.twilio.webhooks[NUMBER]["voice_url"] == f"https://abc.tunnel.test/incoming-call?proof={PROOF}"
    assert host.env["BASE_URL"] == "https://abc.tunnel.test"
    with (host.folder / ".env").open("a") as file:
        file.write("NGROK_AUTHTOKEN=1\n")
    assert await host.run("start", "--yes") == 0
    ups = [command.partition("--wait")[2].split() for command in host.commands if "--wait" in command]
    assert ups == [["backend"], ["backend", "ngrok"]]


async def test_a_number_is_not_pointed_to_where_nobody_answers(host, options, capsys):
    await host.run("env", *options)
    del host.answers[f"{BASE_URL}/healthz"]
    assert await host.run("number", "--yes") == 1
    assert "cert start" in capsys.readouterr().err
    assert host.twilio.number_updates == []


async def test_a_number_is_changed_only_when_that_is_confirmed(host, options, capsys):
    await host.run("env", *options)
    assert await host.run("number") == 1  # there is nobody to ask
    assert "--yes" in capsys.readouterr().err
    assert await host.run("number", terminal=Answers("", out=host.out)) == 0
    assert host.twilio.number_updates == []
    assert "https://demo.twilio.com/welcome/voice/" in host.out.getvalue()
    assert await host.run("number", terminal=Answers("y", out=host.out)) == 0
    assert {name: host.twilio.webhooks[NUMBER].get(name, HERE[name]) for name in HERE} == HERE


async def test_the_fallback_may_be_on_another_machine(host, options):
    await host.run("env", *options)
    await host.run("number", "--yes", "--fallback-url", "https://other.test/sorry")
    assert host.twilio.webhooks[NUMBER]["voice_fallback_url"] == "https://other.test/sorry"


async def test_a_number_of_another_account_is_refused(host, options, capsys):
    assert await host.run("env", *options, "--twilio-phone-number", "+15559999999") == 1
    assert "no such number" in capsys.readouterr().err


async def test_a_token_that_was_changed_since_is_named_by_every_step(host, options, capsys):
    await host.run("env", *options)
    (host.folder / ".env").write_text((host.folder / ".env").read_text().replace(TOKEN, "another"))
    assert await host.run("number", "--yes") == 1
    assert "20003" in capsys.readouterr().err


async def test_a_suspended_account_is_refused(host, options, capsys):
    host.twilio.account = {"status": "suspended", "type": "Full"}
    assert await host.run("env", *options) == 1
    assert "suspended" in capsys.readouterr().err


async def test_what_twilio_says_of_a_change_it_refuses_is_shown_without_the_number(host, options, capsys):
    await host.run("env", *options)
    host.twilio.refuse = (400, 21402, f"Url of {NUMBER} is not valid")
    assert await host.run("number", "--yes") == 1
    error = capsys.readouterr().err
    assert "21402" in error
    assert NUMBER not in error


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed"])
async def test_a_test_call_that_nobody_answers_is_not_a_success(host, options, capsys, status):
    await host.run("env", *options)
    host.twilio.live[CALL] = status
    assert await host.run("call", "--yes") == 1
    assert status in capsys.readouterr().err


async def test_a_test_call_whose_answer_is_lost_is_asked_for_again_as_the_same_call(host, options, monkeypatch):
    monkeypatch.setattr("callgate.operator.setup.call_step.TRY_AGAIN_AFTER", 0.0)
    await host.run("env", *options)
    host.lost = [None, Answer(504, b"<html>504 Gateway Time-out</html>")]
    assert await host.run("call", "--yes") == 0
    assert (len(host.keys), len(set(host.keys))) == (3, 1)
    assert await host.run("call", "--yes") == 0
    assert host.keys[-1] != host.keys[0]  # another run is another call


async def test_a_test_call_of_which_nothing_is_known_may_ring_and_that_is_said(host, options, capsys, monkeypatch):
    monkeypatch.setattr("callgate.operator.setup.call_step.TRY_AGAIN_AFTER", 0.0)
    await host.run("env", *options)
    host.lost = [None] * 9
    assert await host.run("call", "--yes") == 1
    assert "the number may ring all the same" in capsys.readouterr().err
    assert len(host.keys) < 9
    assert len(set(host.keys)) == 1


async def test_a_test_call_that_the_service_refuses_says_why(host, options, capsys):
    await host.run("env", *options)
    refusal = {"ok": False, "error": "This needs the admin token.", "fix": "Send it."}
    host.answers[f"{BASE_URL}/test-call-realtime"] = Answer(401, json.dumps(refusal).encode())
    assert await host.run("call", "--yes") == 1
    error = capsys.readouterr().err
    assert "This needs the admin token." in error
    assert "Send it." in error
    assert len(host.keys) == 1


@pytest.mark.parametrize(
    "argv", [["sing"], ["undo", "env"], ["--fallback-url", "http://a.test"], ["--twilio-auth-token", "x"]]
)
def test_what_is_no_command_is_refused_with_2(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2


def test_no_option_takes_a_secret_itself(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for name in ("--twilio-auth-token", "--openai-api-key", "--admin-token"):
        assert f"{name}-file FILE" in shown
        assert f"{name} " not in shown
