"""The README's section on using your own domain, followed to the letter."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

import pytest
from callgate.peers.phone.simulation.script import Speak
from support.engine.bundle import HERE, ROOT, run
from support.engine.line import WORDS, Line

DOMAIN = "voice.readme.test"
AUTH_TOKEN = "the-auth-token-of-the-readme"
# What a reader fills in. There is no OpenAI account here, so the line check answers.
FILLED_IN = {"DOMAIN": DOMAIN, "TWILIO_AUTH_TOKEN": AUTH_TOKEN}
SECTION = re.compile(r"<!-- own-domain:begin -->(.*?)<!-- own-domain:end -->", re.DOTALL)


def test_the_section_says_what_is_filled_in_here():
    text = (ROOT / "README.md").read_text().partition("## On your own domain")[2].partition("<!-- own-domain:begin")[0]
    assert "Copy `.env.example` to `.env`" in text
    assert all(f"`{name}`" in text for name in FILLED_IN)


def commands() -> list[str]:
    """Return the section's commands, in order."""
    (section,) = SECTION.findall((ROOT / "README.md").read_text())
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```|((?:^ {4,}\S.*\n)+)", section, re.DOTALL | re.MULTILINE)
    lines = [line for pair in blocks for line in textwrap.dedent(pair[0] or pair[1]).splitlines()]
    return [line for line in lines if line.split("#")[0].strip()]


def test_the_section_ends_with_a_bundle_that_is_up():
    assert any("issue-cert.sh" in command for command in commands())
    assert any("scripts/start.sh" in command for command in commands())


@pytest.fixture
def bundle(new_bundle, images):
    with new_bundle(DOMAIN) as bundle:
        bundle.start_acme()
        yield bundle


async def test_a_reader_ends_up_with_a_certificate_and_a_call(bundle):
    docker = shutil.which("docker", path=bundle.environ["PATH"])
    path = f"{HERE / 'bin'}:{bundle.environ['PATH']}"
    environ = {**bundle.environ, "PATH": path, "TEST_DOCKER": docker}
    fill_in(bundle.folder)
    for command in commands():
        run(["bash", "-euo", "pipefail", "-c", command], environ=environ, cwd=bundle.folder)

    line = Line(bundle, DOMAIN, bundle.acme_folder / "root.pem", AUTH_TOKEN)
    report = await line.call(Speak(WORDS, "words"), echo=True)
    assert report.kept, report.promises


def fill_in(folder: Path) -> None:
    """Copy .env.example to .env, and fill it in as the section says before its commands."""
    text = (folder / ".env.example").read_text()
    for name, value in FILLED_IN.items():
        text, found = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert found == 1, name
    (folder / ".env").write_text(text)
