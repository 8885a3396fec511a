"""nginx in front of the relay, configured as in deploy/nginx, with certificates from a throw-away authority."""

from __future__ import annotations

import ssl
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil
from demo.local_edge import DEPLOY, LocalEdge
from demo.local_program import LOOPBACK, START_TIMEOUT, clean_environ
from support.edge.pairs import Authority

from .clocks import cpu_seconds
from .contenders import DOMAIN, Door
from .errors import BenchError


class Trust:
    """A certificate authority that exists while the context lasts, and issues the model server's certificate."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="callgate-bench-")
        self.authority = Authority()
        self.ca_file = Path(self._folder.name) / "ca.pem"
        self.ca_file.write_bytes(self.authority.pem)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._folder.cleanup()

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment that makes a relay trust it."""
        return {"SSL_CERT_FILE": str(self.ca_file)}

    def model_tls(self) -> ssl.SSLContext:
        """Return the TLS context of the model's server, which is ``localhost``."""
        folder = Path(self._folder.name) / "model"
        self.authority.issue("localhost").write(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "fullchain.pem", folder / "privkey.pem")
        return context

    def caller_tls(self) -> ssl.SSLContext:
        """Return the TLS context of a client on Twilio's side."""
        return ssl.create_default_context(cafile=self.ca_file)


class Edge:
    """nginx in front of relays at these ports, running while the context lasts, on the core of its parent process.
    ``environ`` adds to its entrypoint's environment."""

    def __init__(self, trust: Trust, *ports: int, environ: Mapping[str, str] | None = None) -> None:
        self._trust = trust
        self._ports = ports
        backends = " ".join(f"{LOOPBACK}:{port}" for port in ports)
        # EDGE_CERTIFICATE=kept: the bundle's nginx keeps the certificate in memory by itself, but the local nginx may
        # be older and read it on each handshake.
        given = {"EDGE_BACKEND": backends, "EDGE_CERTIFICATE": "kept", **(environ or {})}
        self._edge = LocalEdge(DOMAIN, environ=given)

    def __enter__(self) -> Self:
        self._edge.__enter__()
        try:
            self._publish()
            self._edge.start_nginx(self._ports[0])
        except BaseException:
            self._edge.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._edge.stop()

    def _publish(self) -> None:
        lineage = self._edge.state / "lineage"
        self._trust.authority.issue(DOMAIN).write(lineage)
        environ = {
            **clean_environ(),
            **self._edge.publish_environ,
            "RENEWED_LINEAGE": str(lineage),
            "RENEWED_DOMAINS": DOMAIN,
        }
        hook = str(DEPLOY / "certbot" / "hooks" / "publish")
        done = subprocess.run([hook], env=environ, capture_output=True, text=True, timeout=START_TIMEOUT)
        if done.returncode:
            raise BenchError(f"the certificate can't be published: {done.stderr.strip()}")

    def pids(self) -> Sequence[int]:
        """Return the process IDs of the master and its workers, cheaply."""
        if self._edge.nginx is None:
            return []
        master = self._edge.nginx.pid
        return [master, *map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split())]

    def _processes(self) -> Sequence[psutil.Process]:
        if self._edge.nginx is None:
            return []
        master = psutil.Process(self._edge.nginx.pid)
        return [master, *master.children()]

    def cpu_seconds(self) -> float:
        """Return the CPU time that nginx and its workers have used, in s."""
        return sum(cpu_seconds(process.pid) for process in self._processes())

    @property
    def http_port(self) -> int:
        """The port for plain HTTP."""
        return self._edge.http_port

    @property
    def https_port(self) -> int:
        """The port for HTTPS."""
        return self._edge.https_port

    @property
    def error_log(self) -> Path:
        """The path of nginx's error log."""
        return self._edge.error_log

    @property
    def door(self) -> Door:
        """The address for calls."""
        port = self._edge.https_port
        tls = self._trust.caller_tls()
        return Door(f"https://{LOOPBACK}:{port}/incoming-call", f"wss://{LOOPBACK}:{port}", tls)
