"""The certificate of the local ACME server, and the user whom nginx's workers run as."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from pathlib import Path

from .local_program import LOOPBACK, START_TIMEOUT, EdgeError, clean_environ, find_program


def make_self_signed(cert: Path, key: Path) -> None:
    """Make a self-signed certificate for the loopback address, and its key."""
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    options += ["-subj", f"/CN={LOOPBACK}", "-addext", f"subjectAltName=IP:{LOOPBACK}"]
    options += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    argv = [find_program("openssl"), "req", *options, "-out", str(cert), "-keyout", str(key)]
    done = subprocess.run(argv, env=clean_environ(), capture_output=True, text=True, timeout=START_TIMEOUT)
    if done.returncode:
        raise EdgeError(f"openssl can't make a certificate: {done.stderr.strip()}")


def worker_user() -> pwd.struct_passwd | None:
    """Return the user for nginx's workers; None if this process is not root. Raises `EdgeError` if there is none."""
    if os.geteuid() != 0:
        return None
    for name in ("nginx", "www-data", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EdgeError("there is no user nginx, www-data or nobody that nginx's workers could run as")
