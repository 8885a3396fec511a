"""One nginx and one ACME server (Pebble), on which one installation after another is made, damaged and looked after."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.request
from pathlib import Path
from typing import Any, Final, Self

from cryptography import x509
from demo.local_edge import EdgeError, LocalEdge

from support.edge.keepers import keeper, one_turn

BRIEF: Final = 16  # seconds that a certificate lives, where one is to come due or to expire
MOST_TURNS: Final = 3


class Station:
    """An installation of the keeper. ``brief``: the authority's certificates live for `BRIEF` seconds."""

    def __init__(self, *, brief: bool = False, **acme_config: object) -> None:
        config = {**({"certificateValidityPeriod": BRIEF} if brief else {}), **acme_config}
        self.is_brief: Final = brief
        self.edge: Final = LocalEdge(acme_config=config, acme_environ={"PEBBLE_AUTHZREUSE": "0"})
        self.changes: dict[str, str] = {}
        self.said = ""
        self.status = 0
        self._issued_before = 0
        self._installed_at = 0.0

    def __enter__(self) -> Self:
        self.edge.__enter__()
        self.edge.start_nginx(1)
        self.edge.start_acme()
        return self

    def __exit__(self, *exc: object) -> None:
        self.edge.stop()

    # The folders.

    @property
    def name(self) -> str:
        return self.edge.domain

    @property
    def state(self) -> Path:
        return self.edge.state / "certbot"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def live(self) -> Path:
        return self.config / "live" / self.name

    @property
    def archive(self) -> Path:
        return self.config / "archive" / self.name

    @property
    def renewal(self) -> Path:
        return self.config / "renewal" / f"{self.name}.conf"

    @property
    def published(self) -> Path:
        return self.edge.published / self.name

    @property
    def account(self) -> Path:
        """The folder of the only account."""
        (found,) = self.config.glob("accounts/*/dir/*")
        return found

    # Making it.

    def install(self) -> None:
        """Start with empty folders, and get a certificate."""
        self.clear()
        self.act("issue")
        if self.status:
            raise EdgeError(f"the installation failed: {self.said}")
        self._installed_at = (self.archive / "fullchain1.pem").stat().st_mtime

    def clear(self) -> None:
        """Empty all folders, and take back what was changed in DNS."""
        self.changes.clear()
        for folder in (self.state, self.edge.published, self.edge.webroot):
            shutil.rmtree(folder, ignore_errors=True)
        self.edge.webroot.mkdir()
        self.tell_dns("clear-a", host=self.name)
        self.tell_dns("clear-aaaa", host=self.name)
        self.tell_dns("clear-servfail", host=self.name)
        self.tell_dns("clear-caa", host=self.name)

    def tell_dns(self, call: str, **values: object) -> None:
        """Have the DNS server that both sides ask answer differently (pebble-challtestsrv's management)."""
        body = json.dumps(values).encode()
        with urllib.request.urlopen(f"{self.edge.dns_management}/{call}", data=body, timeout=5.0) as answer:
            answer.read()

    def wait_for_age(self, share: float) -> None:
        """Wait until the kept certificate has lived this share of its life."""
        time.sleep(max(0.0, self._installed_at + share * BRIEF - time.time()))

    def count_from_here(self) -> None:
        """Certificates that were issued before do not count."""
        self._issued_before = self._issued()

    @property
    def issued(self) -> int:
        """The certificates that the authority has issued since."""
        return self._issued() - self._issued_before

    def _issued(self) -> int:
        return (self.edge.logs / "pebble.log").read_text(errors="replace").count("Issued certificate serial")

    # What an operator does, or the keeper by itself.

    def act(self, *verb: str, **changes: str) -> None:
        """Run one of the keeper's verbs."""
        done = keeper(self.edge, *verb, **{**self.changes, **changes})
        self.status, self.said = done.returncode, done.stdout + done.stderr

    def serve(self) -> None:
        """Start the service. Let it try up to `MOST_TURNS` times, without waiting for the time between two tries."""
        said = ""
        for _ in range(MOST_TURNS):
            self._turn()
            said += self.said
            state = self.keeper_state()
            if self.served() and not state.get("failure"):
                break
            self._let_it_be_due()
        self.said = said

    def _turn(self) -> None:
        done = one_turn(self.edge, **self.changes)
        self.status, self.said = done.returncode, done.stdout + done.stderr

    def keeper_state(self) -> dict[str, Any]:
        """Return the keeper's saved state; empty if there is none."""
        try:
            found: dict[str, Any] = json.loads((self.state / "keeper" / f"{self.name}.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def change_state(self, **values: object) -> None:
        """Change what the keeper remembers."""
        file = self.state / "keeper" / f"{self.name}.json"
        file.write_text(json.dumps({**self.keeper_state(), **values}))

    def _let_it_be_due(self) -> None:
        if state := self.keeper_state():
            self.change_state(ladder={**state["ladder"], "next_try": 0.0})

    def served(self) -> int | None:
        """Return the serial number of the certificate that a client accepts now; None if there is none."""
        certificate = self.served_certificate()
        return certificate.serial_number if certificate else None

    def served_certificate(self) -> x509.Certificate | None:
        """Return the certificate that a client accepts now; None if there is none."""
        try:
            return self.edge.served_certificate()
        except OSError:
            return None

    def first_complaint(self) -> str:
        """Return the first line that says what is wrong."""
        for line in self.said.splitlines():
            text = re.sub(r"^\S+ \S+ (ERROR|WARNING|INFO|CRITICAL) keeper: ", r"\1 ", line)
            if text.startswith(("ERROR ", "keeper: ")):
                return text.removeprefix("ERROR ").removeprefix("keeper: ")
        return ""
