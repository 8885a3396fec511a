"""A real DNS server (Knot DNS) for one zone, which a key may update (RFC 2136, RFC 8945)."""

from __future__ import annotations

import base64
import secrets
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from demo.local_edge import LOOPBACK, Program, free_ports
from demo.local_program import clean_environ, find_program, port_answers

KEY_NAME: Final = "keeper."


class DnsServer:
    """Answers for ``zone``, whose names all lead to the loopback address."""

    def __init__(self, zone: str) -> None:
        self.zone: Final = zone
        self.secret: Final = base64.b64encode(secrets.token_bytes(32)).decode()
        (self.port,) = free_ports(1)
        self.folder: Final = Path(tempfile.mkdtemp(prefix="callgate-knot-"))
        self._program: Program | None = None

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        (self.folder / "zone").write_text(
            f"$ORIGIN {self.zone}.\n$TTL 1\n@ SOA ns hostmaster 1 3600 600 86400 1\n@ NS ns\n@ A {LOOPBACK}\n"
            f"ns A {LOOPBACK}\n* A {LOOPBACK}\n"
        )
        conf = self.folder / "knot.conf"
        conf.write_text(
            f"server:\n  rundir: {self.folder}\n  listen: {LOOPBACK}@{self.port}\n"
            f"database:\n  storage: {self.folder}\n"
            f"log:\n  - target: stderr\n    any: info\n"
            f"key:\n  - id: {KEY_NAME}\n    algorithm: hmac-sha256\n    secret: {self.secret}\n"
            f"acl:\n  - id: updates\n    key: {KEY_NAME}\n    action: update\n"
            f"zone:\n  - domain: {self.zone}.\n    storage: {self.folder}\n    file: zone\n    acl: updates\n"
        )
        log = self.folder / "log"
        argv = [find_program("knotd"), "-c", str(conf)]
        self._program = Program("knotd", argv, environ=clean_environ(), stdout=log, stderr=log)
        self._program.wait_until(lambda: port_answers(self.port))
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._program is not None:
            self._program.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def credentials(self, *, secret: str = "") -> Path:
        """Write the file that certbot's plugin dns-rfc2136 reads."""
        file = self.folder / "rfc2136.ini"
        file.touch(mode=0o600)
        file.write_text(
            f"dns_rfc2136_server = {LOOPBACK}\ndns_rfc2136_port = {self.port}\ndns_rfc2136_name = {KEY_NAME}\n"
            f"dns_rfc2136_secret = {secret or self.secret}\ndns_rfc2136_algorithm = HMAC-SHA256\n"
        )
        return file
