"""The whole edge on one machine: an ACME server (Pebble), nginx and certbot, on free ports of the loopback address.

`LocalEdge` starts and stops the programs, for the demo and the tests. nginx and certbot are run by the same files in
deploy/ as on a server, only with other ports, other folders and another ACME server. Root is not needed; as root,
nginx's workers run as another user, as on a server.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import shutil
import socket
import ssl
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from callgate.core.units import SECONDS
from cryptography import x509

from .edge_files import make_self_signed, worker_user
from .local_program import (
    LOOPBACK,
    START_TIMEOUT,
    EdgeError,
    Program,
    clean_environ,
    find_program,
    free_ports,
    last_lines,
    port_answers,
)

__all__ = ["LOOPBACK", "EdgeError", "LocalEdge", "Program", "find_program", "free_ports", "last_lines"]

CERTBOT_TIMEOUT: Final = 120 * SECONDS
DEPLOY: Final = Path(__file__).resolve().parents[2] / "deploy"


class LocalEdge:
    """nginx, and on request an ACME server and certbot. As a context manager, it stops them all on exit.

    ``state``: the folder for everything; by default a temporary one, which is removed at the end. ``published``: the
    certificates of another edge, to be served here too. ``environ`` is added to the environment of
    deploy/nginx/entrypoint, ``acme_environ`` to that of Pebble, and ``acme_config`` to its configuration;
    ``acme_dns`` is another DNS server for it to ask, as HOST:PORT.
    """

    def __init__(
        self,
        domain: str = "callgate.example",
        *,
        state: Path | None = None,
        published: Path | None = None,
        environ: Mapping[str, str] | None = None,
        acme_environ: Mapping[str, str] | None = None,
        acme_config: Mapping[str, object] | None = None,
        acme_dns: str | None = None,
    ) -> None:
        self.domain: Final = domain
        # Files in it with our names come from an earlier run and are removed; all others are left alone.
        self.state: Final = Path(tempfile.mkdtemp(prefix="callgate-edge-")) if state is None else state.resolve()
        self._state_is_ours: Final = state is None
        self.logs: Final = self.state / "logs"
        self.webroot: Final = self.state / "webroot"
        self.published: Final = published or self.state / "published"
        self.ca_file: Final = self.state / "ca.pem"
        self.http_port = 0
        self.https_port = 0
        self.nginx: Program | None = None
        self.acme_directory: str | None = None
        self.dns: str | None = None
        self.dns_management: str | None = None
        self._environ = dict(environ or {})
        self._acme_environ = dict(acme_environ or {})
        self._acme_config = dict(acme_config or {})
        self._acme_dns = acme_dns
        self._acme: list[Program] = []
        self._worker_user = worker_user()

    def __enter__(self) -> Self:
        try:
            self._prepare_state()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare_state(self) -> None:
        for name in ("acme", "certbot", "logs", "nginx", "published", "webroot"):
            shutil.rmtree(self.state / name, ignore_errors=True)
        for file in (self.ca_file, self.state / "edge.json"):
            file.unlink(missing_ok=True)
        for folder in (self.logs, self.webroot, self.state / "acme"):
            folder.mkdir(parents=True)
        if self._state_is_ours:
            self.state.chmod(0o755)
        if self._worker_user:
            closed = [folder for folder in (self.state, *self.state.parents) if not folder.stat().st_mode & 0o001]
            if closed:
                user = self._worker_user.pw_name
                raise EdgeError(f"nginx's workers (user {user}) can't enter {closed[-1]}: choose another state folder")

    # nginx.

    def start_nginx(self, backend_port: int) -> None:
        """Start nginx; it needs no certificate yet. ``http_port`` and ``https_port`` are known afterwards."""
        for attempt in ("first", "last"):
            self.http_port, self.https_port = free_ports(2)
            self.nginx = self._start_nginx(backend_port)
            try:
                self.nginx.wait_until(self._nginx_is_ready)
                return
            except EdgeError as error:
                self.nginx.stop()
                if attempt == "last" or " in use" not in str(error):
                    raise

    def restart_nginx(self, backend_port: int, **environ: str) -> None:
        """Stop nginx, and start it again on the same ports, with ``environ`` added to its environment."""
        if self.nginx is not None:
            self.nginx.stop()
        self._environ |= environ
        self.nginx = self._start_nginx(backend_port)
        self.nginx.wait_until(self._nginx_is_ready)

    def _start_nginx(self, backend_port: int) -> Program:
        environ = {
            **clean_environ(),
            "DOMAIN": self.domain,
            "EDGE_BACKEND": f"{LOOPBACK}:{backend_port}",
            "EDGE_LISTEN": LOOPBACK,
            "EDGE_HTTP_PORT": str(self.http_port),
            "EDGE_HTTPS_PORT": str(self.https_port),
            # EDGE_NGINX allows trying the same configuration with another nginx.
            "EDGE_NGINX": os.environ.get("EDGE_NGINX") or find_program("nginx"),
            "EDGE_STATE": str(self.state / "nginx"),
            "CERT_PUBLISHED": str(self.published),
            "ACME_WEBROOT": str(self.webroot),
            **({"EDGE_USER": self._worker_user.pw_name} if self._worker_user else {}),
            **self._environ,
        }
        return Program(
            "nginx",
            [str(DEPLOY / "nginx" / "entrypoint")],
            environ=environ,
            stdout=self.access_log,
            stderr=self.error_log,
        )

    @property
    def access_log(self) -> Path:
        return self.logs / "nginx-access.log"

    @property
    def error_log(self) -> Path:
        return self.logs / "nginx-error.log"

    def _nginx_is_ready(self) -> bool:
        # The master writes its process id once it has bound its ports. The `nginx -t` before leaves the file empty.
        pid_file = self.state / "nginx" / "nginx.pid"
        return self.nginx is not None and pid_file.exists() and pid_file.read_text().strip() == str(self.nginx.pid)

    # The ACME server, and its DNS server.

    def start_acme(self) -> None:
        """Start Pebble. nginx must be running, because Pebble fetches challenges from its HTTP port."""
        if not self.http_port:
            raise EdgeError("start nginx before the ACME server, which asks for challenges at nginx's port")
        for attempt in ("first", "last"):
            try:
                self._start_acme()
                return
            except EdgeError as error:
                self.stop_acme()
                if attempt == "last" or " in use" not in str(error):
                    raise

    def _start_acme(self) -> None:
        folder = self.state / "acme"
        dns_port, dns_management_port, acme_port, management_port = free_ports(4)

        make_self_signed(folder / "cert.pem", folder / "key.pem")
        config = {
            "listenAddress": f"{LOOPBACK}:{acme_port}",
            "managementListenAddress": f"{LOOPBACK}:{management_port}",
            "certificate": str(folder / "cert.pem"),
            "privateKey": str(folder / "key.pem"),
            "httpPort": self.http_port,
            "tlsPort": self.https_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            **self._acme_config,
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": config}))

        self.dns, self.dns_management = f"{LOOPBACK}:{dns_port}", f"http://{LOOPBACK}:{dns_management_port}"
        dns = ["-dns01", f"{LOOPBACK}:{dns_port}", "-management", f"{LOOPBACK}:{dns_management_port}"]
        dns += ["-defaultIPv4", LOOPBACK, "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]
        self._start_acme_program("pebble-challtestsrv", dns).wait_until(
            lambda: port_answers(dns_port) and port_answers(dns_management_port)
        )
        pebble = ["-config", str(folder / "pebble.json"), "-dnsserver", self._acme_dns or self.dns]
        self._start_acme_program("pebble", pebble).wait_until(
            lambda: port_answers(acme_port) and port_answers(management_port)
        )

        self.acme_directory = f"https://{LOOPBACK}:{acme_port}/dir"
        trust = ssl.create_default_context(cafile=folder / "cert.pem")
        # Pebble creates a new root at each start. Clients of the edge verify with it.
        with urllib.request.urlopen(
            f"https://{LOOPBACK}:{management_port}/roots/0", timeout=START_TIMEOUT, context=trust
        ) as answer:
            self.ca_file.write_bytes(answer.read())

    def _start_acme_program(self, name: str, options: Sequence[str]) -> Program:
        log = self.logs / f"{name}.log"
        # By default, Pebble refuses some good nonces at random. certbot retries only once, and would sometimes fail.
        environ = {**clean_environ(), "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", **self._acme_environ}
        program = Program(name, [find_program(name), *options], environ=environ, stdout=log, stderr=log)
        self._acme.append(program)
        return program

    # Certificates.

    def issue(self, *certbot_options: str) -> None:
        """Get and publish the certificate with deploy/certbot/issue."""
        self._run_certbot([str(DEPLOY / "certbot" / "issue"), *certbot_options])

    def renew(self, *certbot_options: str) -> None:
        """Have certbot renew what is due, with the options that it remembers from ``issue``."""
        folder = self.state / "certbot"
        folders = [f"--{name}-dir={folder / name}" for name in ("config", "work", "logs")]
        self._run_certbot([find_program("certbot"), "renew", "--no-random-sleep-on-renew", *folders, *certbot_options])

    def _run_certbot(self, argv: Sequence[str]) -> None:
        if self.acme_directory is None:
            raise EdgeError("start the ACME server before asking it for a certificate")
        log = self.logs / "certbot.log"
        environ = {
            **clean_environ(),
            "DOMAIN": self.domain,
            "ACME_SERVER": self.acme_directory,
            "ACME_WEBROOT": str(self.webroot),
            "CERTBOT": find_program("certbot"),
            "CERTBOT_STATE": str(self.state / "certbot"),
            "REQUESTS_CA_BUNDLE": str(self.state / "acme" / "cert.pem"),
            **self.publish_environ,
        }
        certbot = Program("certbot", argv, environ=environ, stdout=log, stderr=log)
        try:
            certbot.wait_done(CERTBOT_TIMEOUT)
        finally:
            certbot.stop()

    @property
    def publish_environ(self) -> dict[str, str]:
        """The environment of deploy/certbot/hooks/publish: where to publish, and for which group."""
        group = {"CERT_GROUP": grp.getgrgid(self._worker_user.pw_gid).gr_name} if self._worker_user else {}
        return {"CERT_PUBLISHED": str(self.published), **group}

    def connect(self, name: str | None = None, *, timeout: float = 10 * SECONDS) -> ssl.SSLSocket:
        """Open a TLS connection to ``name`` (``domain``), verified with ``ca_file`` alone."""
        trust = ssl.create_default_context(cafile=self.ca_file)
        return trust.wrap_socket(
            socket.create_connection((LOOPBACK, self.https_port), timeout=timeout), server_hostname=name or self.domain
        )

    def served_certificate(self) -> x509.Certificate:
        """Return the certificate from a new, verified handshake."""
        with self.connect() as client:
            der = client.getpeercert(binary_form=True)
        if der is None:
            raise EdgeError(f"the handshake with {self.domain} ended without a certificate")
        return x509.load_der_x509_certificate(der)

    @property
    def issuer(self) -> str:
        """The issuer of the certificate that is served, in RFC 4514 notation."""
        return self.served_certificate().issuer.rfc4514_string()

    # Stopping.

    @property
    def programs(self) -> list[Program]:
        return [program for program in (self.nginx, *self._acme) if program is not None]

    def stop_acme(self) -> None:
        """Stop the ACME server and its DNS server."""
        while self._acme:
            self._acme.pop().stop()

    def stop(self) -> None:
        """Stop all programs, and remove the state folder if it is a temporary one. May be called again."""
        with contextlib.ExitStack() as each:  # if stopping one raises, the others are stopped nevertheless
            if self._state_is_ours:
                each.callback(shutil.rmtree, self.state, ignore_errors=True)
            for program in self.programs:
                each.callback(program.stop)
