"""Backup and restore, with the commands of docs/operations.md: after all volumes are gone, everything is as it was."""

from __future__ import annotations

import asyncio
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from callgate.peers.phone.simulation.script import Speak, Wait
from callgate.peers.phone.simulation.timeline import Event
from support.engine.bundle import ROOT, Bundle, note
from support.engine.line import WORDS, Line

DOMAIN = "voice.backup.test"
AUTH_TOKEN = "the-auth-token-of-the-backup"
SERVICES = ("nginx", "certbot", "backend")
VOLUMES = {"certbot": ("certbot", "10002", "101"), "data": ("backend", "10001", "10001")}
BLOCK = re.compile(r"<!-- (backup|restore):begin -->\n\n((?: {4}\S.*\n)+)\n<!-- \1:end -->")
SID = re.compile(r"CA[0-9a-f]{32}")
PLACE_A_CALL = ("callgate", "phone", "--expect-echo")


def commands(which: str) -> list[str]:
    """Return the document's commands for a backup or a restore."""
    blocks = dict(BLOCK.findall((ROOT / "docs/operations.md").read_text()))
    return [line.partition("#")[0].strip() for line in blocks[which].splitlines()]


def follow(bundle: Bundle, which: str, *more: str) -> str:
    """Run the document's commands, and return what they said."""
    said = ""
    for command in commands(which):
        done = bundle.run("bash", "-euo", "pipefail", "-c", " ".join([command, *more]))
        said += done.stdout + done.stderr
    return said


@pytest.fixture(scope="module")
def bundle(new_bundle, images):
    with new_bundle(DOMAIN) as bundle:
        (bundle.folder / ".env").write_text(
            f"DOMAIN={DOMAIN}\nACME_EMAIL=operator@{DOMAIN}\nTWILIO_AUTH_TOKEN={AUTH_TOKEN}\nDRAIN_SECONDS=1\n"
        )
        bundle.start_acme()
        bundle.up()
        bundle.exec("backend", *PLACE_A_CALL)
        yield bundle


def line(bundle: Bundle) -> Line:
    return Line(bundle, DOMAIN, bundle.acme_folder / "root.pem", AUTH_TOKEN)


def calls(bundle: Bundle) -> str:
    listed = bundle.exec("backend", "callgate", "calls", "list", "--json").stdout
    sids = dict.fromkeys(SID.findall(listed))
    return listed + "".join(bundle.exec("backend", "callgate", "calls", "show", "--json", sid).stdout for sid in sids)


def certbots(bundle: Bundle) -> str:
    """Return the checksums of the account, and of every certificate that was ever issued."""
    find = "cd certbot/config && find accounts archive renewal -type f -exec sha256sum {} + | sort -k 2"
    return bundle.exec("certbot", "sh", "-c", f"cd /var/lib/callgate && {find}").stdout


def strangers(bundle: Bundle, volume: str) -> str:
    """Return the files in a volume that are not its service's."""
    service, user, group = VOLUMES[volume]
    find = f"find /var/lib/callgate/{volume} ! -user {user} -o ! -group {group}"
    return bundle.exec(service, "sh", "-c", find).stdout


def test_after_the_loss_of_all_volumes_everything_is_as_it_was_and_nothing_is_issued_anew(bundle):
    before = {"calls": calls(bundle), "certbot": certbots(bundle), "served": line(bundle).served()}
    assert "CA" in before["calls"]
    assert before["certbot"].count("archive/") == 4

    said = follow(bundle, "backup")
    (backup,) = bundle.folder.glob("callgate*.tar")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    note(f"the backup has {backup.stat().st_size / 1000:.0f} kB")
    assert AUTH_TOKEN not in said
    assert AUTH_TOKEN.encode() not in backup.read_bytes()

    bundle.remove()  # the ACME server too: it could not be asked for anything
    assert bundle.run("docker", "volume", "ls", "--quiet", "--filter", f"name={bundle.name}").stdout == ""
    follow(bundle, "restore")
    bundle.run("scripts/start.sh", *SERVICES)
    assert {"calls": calls(bundle), "certbot": certbots(bundle), "served": line(bundle).served()} == before
    for volume in VOLUMES:
        assert strangers(bundle, volume) == ""


def test_a_restore_beside_services_that_run_needs_a_word_more_and_brings_back_what_was(bundle):
    before, older = calls(bundle), line(bundle).served()
    bundle.exec("backend", *PLACE_A_CALL)
    started = bundle.inspect("nginx")["State"]["StartedAt"]

    refused = bundle.run(*commands("restore")[0].split(), check=False)
    assert refused.returncode == 1
    assert "is not empty" in refused.stderr
    assert calls(bundle) != before
    assert bundle.inspect("backend")["State"]["Health"]["Status"] == "healthy"

    follow(bundle, "restore", "--replace")
    bundle.up(*SERVICES)
    assert calls(bundle) == before
    assert line(bundle).served() == older
    assert bundle.inspect("nginx")["State"]["StartedAt"] == started
    assert bundle.exec("backend", "sh", "-c", "ls data/before-restore-*/calls.sqlite3").stdout
    for volume in VOLUMES:
        assert strangers(bundle, volume) == ""


def during_a_call(act: Callable[[], object]) -> tuple[Callable[[Event], None], list[asyncio.Future[object]]]:
    """Do something in another thread as soon as the caller hears the agent."""
    done: list[asyncio.Future[object]] = []

    def on_event(event: Event) -> None:
        if event.kind == "first audio" and not done:
            done.append(asyncio.get_running_loop().run_in_executor(None, act))

    return on_event, done


async def test_a_call_does_not_notice_a_backup(bundle, tmp_path):
    bundle.up(*SERVICES)
    on_event, made = during_a_call(lambda: bundle.run("scripts/backup.sh", tmp_path / "during.tar"))
    script = [Speak(WORDS, f"words {n}") for n in range(3)]
    report = await line(bundle).call(*script, echo=True, on_event=on_event)
    await asyncio.gather(*made)
    assert made
    assert report.kept, report.promises


async def test_a_caller_who_is_there_during_a_restore_waits_and_reaches_an_agent_again(bundle):
    bundle.up(*SERVICES)
    on_event, made = during_a_call(lambda: follow(bundle, "restore", "--replace"))
    report = await line(bundle).call(Wait(25.0), on_event=on_event)
    await asyncio.gather(*made)
    bundle.up(*SERVICES)
    assert "Pause" in report.verbs
    assert report.verbs.count("Connect") == 2, report.verbs
    assert len(report.stream_sids) == 2


def copy_as_root(bundle: Bundle, service: str, path: str, folder: Path) -> None:
    """Copy a file out, and in again, as somebody does who knows only `docker compose cp`."""
    bundle.compose("cp", f"{service}:{path}", str(folder / "copied"))
    bundle.compose("cp", str(folder / "copied"), f"{service}:{path}")


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("backend", "/var/lib/callgate/data/calls.sqlite3"),
        ("certbot", f"/var/lib/callgate/certbot/config/renewal/{DOMAIN}.conf"),
        ("certbot", f"/var/lib/callgate/certbot/config/archive/{DOMAIN}/privkey1.pem"),
    ],
    ids=lambda value: value.rpartition("/")[2],
)
def test_a_file_that_became_roots_is_named_with_the_command_that_mends_it(bundle, tmp_path, service, path):
    bundle.up(*SERVICES)
    copy_as_root(bundle, service, path, tmp_path)
    says = f"{path} belongs to user 0, and "
    mend = "run scripts/own-volumes.sh"

    command = {"backend": ("callgate", "ready"), "certbot": ("python3", "-m", "keeper", "health")}[service]
    said = wait_for(bundle, service, command, says)
    assert mend in said
    if service == "backend":
        bundle.exec("backend", *PLACE_A_CALL)  # calls are answered all the same
        doctor = bundle.run("scripts/doctor.sh", "--json", check=False)
        assert says in doctor.stdout
        assert "un scripts/own-volumes.sh" in doctor.stdout
        refused = bundle.run("scripts/backup.sh", str(tmp_path / "b.tar"), check=False)
        assert (refused.returncode, (tmp_path / "b.tar").exists()) == (1, False)

    bundle.run("scripts/own-volumes.sh")
    assert strangers(bundle, "data") + strangers(bundle, "certbot") == ""
    wait_for(bundle, service, command, says, gone=True)
    if service == "backend":
        before = set(SID.findall(calls(bundle)))
        bundle.exec("backend", *PLACE_A_CALL)
        for _ in range(120):
            if set(SID.findall(calls(bundle))) - before:
                return
        raise AssertionError("the call is not in the record")


def wait_for(bundle: Bundle, service: str, command: tuple[str, ...], text: str, *, gone: bool = False) -> str:
    """Repeat a command until it says the text, or no longer says it. Return what it said."""
    for _ in range(120):
        done = bundle.exec(service, *command, check=False)
        if (text in done.stdout + done.stderr) is not gone:
            return done.stdout + done.stderr
    raise AssertionError(f"{command}: {done.stdout}{done.stderr}")


def test_the_document_says_what_is_in_it_and_what_is_not():
    text = (ROOT / "docs/operations.md").read_text().partition("## Back it up")[2].partition("\n## ")[0]
    for word in (".env", "agents/", "pg_dump", "certbot", "DATA_DIR"):
        assert word in text
    assert commands("backup")[0].startswith("scripts/backup.sh ")
    assert commands("restore")[0].startswith("scripts/restore.sh ")
    assert subprocess.run(["bash", "-n", ROOT / "scripts/restore.sh"], check=True).returncode == 0
