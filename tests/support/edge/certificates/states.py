"""The states: what was damaged, lost, restored, changed or closed before the keeper looks at it."""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.local_edge import LOOPBACK
from demo.local_program import find_program

from support.edge.certificates.station import Station
from support.edge.keepers import environ
from support.edge.pairs import Authority

Damage = Callable[[Station], None]
NOWHERE: Final = "127.0.0.99"


@dataclass(frozen=True, slots=True)
class State:
    """A state. ``cause``: what the first complaint says, if only a person can mend it; empty if the keeper can.
    ``refused``: what somebody is told who asks for a certificate by hand in this state; empty if they get one."""

    name: str
    damage: Damage
    cause: str = ""
    refused: str = ""

    @property
    def is_mended(self) -> bool:
        return not self.cause


# Volumes.


def files_copied(at: Station) -> None:
    for link in at.live.glob("*.pem"):
        content = link.read_bytes()
        link.unlink()
        link.write_bytes(content)


def conf(change: Callable[[str], str]) -> Damage:
    def damage(at: Station) -> None:
        at.renewal.write_text(change(at.renewal.read_text()))

    return damage


def elsewhere(text: str) -> str:
    lines = [
        line for line in text.splitlines() if not line.startswith(("archive_dir", "cert ", "privkey", "chain", "full"))
    ]
    paths = [f"{kind} = /etc/letsencrypt/live/x/{kind}.pem" for kind in ("cert", "privkey", "chain", "fullchain")]
    return "\n".join(["archive_dir = /etc/letsencrypt/archive/x", *paths, *lines])


def removed(which: Callable[[Station], Path]) -> Damage:
    def damage(at: Station) -> None:
        path = which(at)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    return damage


def both_emptied(at: Station) -> None:
    shutil.rmtree(at.state)
    shutil.rmtree(at.published)


def other_key(at: Station) -> None:
    key = (at.live / "privkey.pem").resolve()
    key.write_bytes(Authority().issue(at.name).privkey)


def truncated(at: Station) -> None:
    chain = (at.live / "fullchain.pem").resolve()
    chain.write_bytes(chain.read_bytes()[:200])


def no_intermediate(at: Station) -> None:
    chain = (at.live / "fullchain.pem").resolve()
    first = chain.read_text().partition("-----END CERTIFICATE-----")
    chain.write_text(first[0] + first[1] + "\n")


def published_copied(at: Station) -> None:
    copy = at.published / "copy"
    shutil.copytree(at.published / "current", copy)
    (at.published / "current").unlink()
    copy.rename(at.published / "current")


def published_damaged(at: Station) -> None:
    (at.published / "current" / "privkey.pem").write_bytes(Authority().issue(at.name).privkey)


def published_dangles(at: Station) -> None:
    (at.published / "current").unlink()
    (at.published / "current").symlink_to("0123")


def older_restored(at: Station) -> None:
    backup = at.edge.state / "backup"
    shutil.copytree(at.state, backup, symlinks=True)
    at.act("issue", "--force")
    at.count_from_here()
    shutil.rmtree(at.state)
    backup.rename(at.state)


def second_lineage(at: Station) -> None:
    """What earlier versions left: the broken one, and certbot's next name beside it."""
    numbered = f"{at.name}-0001"
    shutil.copytree(at.archive, at.archive.with_name(numbered))
    shutil.copytree(at.live, at.live.with_name(numbered), symlinks=True)
    for link in at.live.with_name(numbered).glob("*.pem"):
        target = link.readlink()
        link.unlink()
        link.symlink_to(str(target).replace(f"/{at.name}/", f"/{numbered}/"))
    at.renewal.with_name(f"{numbered}.conf").write_text(at.renewal.read_text().replace(at.name, numbered))
    files_copied(at)


def left_by_killed_start(at: Station) -> None:
    shutil.copytree(at.config, at.state / "config.1700000000000000000.tried", symlinks=True)
    shutil.rmtree(at.config)
    (at.config / "renewal").mkdir(parents=True)


def left_locks(at: Station) -> None:
    for folder in ("config", "work", "logs"):
        (at.state / folder / ".certbot.lock").touch()


def state_damaged(at: Station) -> None:
    (at.state / "keeper" / f"{at.name}.json").write_text('{"ladder": ')


def log_folder_is_file(at: Station) -> None:
    shutil.rmtree(at.state / "logs")
    (at.state / "logs").write_text("")


# The account.


def account_unknown(at: Station) -> None:
    """The authority has forgotten it, as one that was set up anew."""
    regr = at.account / "regr.json"
    content = json.loads(regr.read_text())
    content["uri"] = f"{content['uri'].rpartition('/')[0]}/0123456789abcdef"
    regr.write_text(json.dumps(content))


def account_deactivated(at: Station) -> None:
    copy = at.edge.state / "copy"
    shutil.copytree(at.config, copy, symlinks=True)
    settings = environ(at.edge)
    folders = [f"--{name}-dir={at.edge.state / 'copy-of-'}{name}" for name in ("work", "logs")]
    argv = [find_program("certbot"), "unregister", "--non-interactive", "--server", settings["ACME_SERVER"]]
    done = subprocess.run(
        [*argv, f"--config-dir={copy}", *folders],
        env={**settings, "REQUESTS_CA_BUNDLE": settings["ACME_CA_BUNDLE"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    for folder in at.edge.state.glob("copy*"):
        shutil.rmtree(folder)
    assert done.returncode == 0, done.stdout + done.stderr


def account_key_damaged(at: Station) -> None:
    key = at.account / "private_key.json"
    key.chmod(0o600)
    key.write_text("{")


def second_account(at: Station) -> None:
    account = at.account
    at.renewal.write_text("\n".join(line for line in at.renewal.read_text().splitlines() if "account =" not in line))
    shutil.copytree(account, account.with_name("0" * 32))


# Names, as the authority sees them and as this machine does.


def dns(call: str, **values: object) -> Damage:
    def damage(at: Station) -> None:
        at.tell_dns(call, host=at.name, **values)

    return damage


def settings(**changes: str) -> Damage:
    def damage(at: Station) -> None:
        at.changes.update(changes)

    return damage


# This machine, and the authority.


def webroot_unseen(at: Station) -> None:
    at.changes["ACME_WEBROOT"] = str(at.edge.state / "elsewhere")


def clock(days: int) -> Damage:
    """Let the keeper and certbot live in another time."""

    def damage(at: Station) -> None:
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
        other_time = {"LD_PRELOAD": str(library), "FAKETIME": f"{days:+d}d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        # The keeper gives certbot an environment of its own.
        words = " ".join(f"{name}={value}" for name, value in other_time.items())
        certbot = at.edge.state / "certbot-in-another-time"
        certbot.write_text(f'#!/bin/sh\nexec env {words} {find_program("certbot")} "$@"\n')
        certbot.chmod(0o755)
        at.changes.update(other_time, CERTBOT=str(certbot))

    return damage


def own_certificate(at: Station) -> None:
    Authority().issue(at.name).write(at.edge.state / "own")
    pair = at.edge.state / "own"
    shutil.copy(at.live / "fullchain.pem", pair / "fullchain.pem")
    shutil.copy(at.live / "privkey.pem", pair / "privkey.pem")
    at.changes.update(TLS_CERTIFICATE=str(pair / "fullchain.pem"), TLS_KEY=str(pair / "privkey.pem"))


def failing_for_a_day(at: Station) -> None:
    """The first authority does not answer for a day; a second one is configured."""
    since = datetime.datetime.now(datetime.UTC).timestamp() - 90000
    second = at.edge.acme_directory or ""
    at.changes.update(ACME_SERVER=f"https://{LOOPBACK}:1/dir", ACME_FALLBACK_SERVER=second)
    with contextlib.suppress(FileNotFoundError):
        at.change_state(server=f"https://{LOOPBACK}:1/dir", failing_since=since)


STATES: Final = (
    State("intact", lambda at: None),
    # Volumes.
    State("live files are copies, not links", files_copied),
    State("conf names other folders", conf(elsewhere)),
    State("conf names another authenticator", conf(lambda text: text.replace("= webroot", "= nginx"))),
    State("conf names another webroot", conf(lambda text: text.replace("/webroot", "/nowhere"))),
    State("conf is empty", conf(lambda text: "")),
    State("conf is garbage", conf(lambda text: "\x00[[[garbage")),
    State("conf is missing", removed(lambda at: at.renewal)),
    State("live folder is missing", removed(lambda at: at.live)),
    State("archive is missing", removed(lambda at: at.archive)),
    State("key is another one's", other_key),
    State("chain is truncated", truncated),
    State("chain lacks the intermediate", no_intermediate),
    State("published: folder is missing", removed(lambda at: at.published)),
    State("published: link is a copied folder", published_copied),
    State("published: key is another one's", published_damaged),
    State("published: link leads nowhere", published_dangles),
    State("certbot's volume is empty", removed(lambda at: at.state)),
    State("both volumes are empty", both_emptied),
    State("an older certbot volume was restored", older_restored),
    State("a second lineage, -0001", second_lineage),
    State("a new start was killed", left_by_killed_start),
    State("lock files were left", left_locks),
    State("the keeper's state is damaged", state_damaged),
    State("logs is a file", log_folder_is_file),
    # The account.
    State("account: the authority lost it", account_unknown),
    State("account: deactivated", account_deactivated),
    State("account: folder is missing", removed(lambda at: at.config / "accounts")),
    State("account: key is damaged", account_key_damaged),
    State("account: registration is missing", removed(lambda at: at.account / "regr.json")),
    State("account: there are two", second_account),
    State("account: conf names another", conf(lambda text: text.replace("account = ", "account = 0"))),
    # Names.
    State("dns: no server answers here", settings(KEEPER_RESOLVER=f"{LOOPBACK}:1")),
    State("dns: leads to another machine", dns("add-a", addresses=[NOWHERE]), "can't reach it on port 80"),
    State("dns: fails everywhere", dns("set-servfail"), "SERVFAIL|does not resolve|could not look up"),
    # Settings.
    State("settings: another e-mail address", settings(ACME_EMAIL="other@callgate.example")),
    State("settings: a profile that is not offered", settings(ACME_PROFILE="nonesuch"), "profile"),
    State("settings: a DNS plugin that is missing", settings(ACME_CHALLENGE="dns-nonesuch"), "has no plugin"),
    State("settings: half a binding", settings(ACME_EAB_KID="x"), "belong together"),
    # The machine.
    State("machine: challenges are not seen", webroot_unseen, "another server answers"),
    State("machine: the clock is 400 days slow", clock(-400), "clock"),
    State("machine: the clock is 400 days fast", clock(400), "clock"),
    State("machine: an own certificate is set", own_certificate, refused="TLS_CERTIFICATE is set"),
    # The authority.
    State("authority: down", settings(ACME_SERVER=f"https://{LOOPBACK}:1/dir"), "can't be reached"),
    State("authority: down for a day, a second one is set", failing_for_a_day),
)  # fmt: skip
