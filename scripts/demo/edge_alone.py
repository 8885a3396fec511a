"""Runs the local edge without the demo, for a backend that is started by hand:

    PYTHONPATH=scripts .venv/bin/python -m demo.edge_alone --backend-port 8765 --domain callgate.example [--state DIR]

It shows each step, writes DIR/edge.json when everything is ready, and stays until SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from callgate.core.units import SECONDS

from .local_edge import LOOPBACK, EdgeError, LocalEdge, last_lines


@contextlib.contextmanager
def _step(text: str) -> Iterator[None]:
    print(f"{text} ... ", end="", flush=True)
    start = time.monotonic()
    yield
    print(f"{time.monotonic() - start:.1f} s", flush=True)


def _start_all(edge: LocalEdge, backend_port: int) -> None:
    with _step("nginx, still without a certificate"):
        edge.start_nginx(backend_port)
    print(f"  http  {LOOPBACK}:{edge.http_port}\n  https {LOOPBACK}:{edge.https_port}")
    with _step("ACME server (Pebble) and its DNS"):
        edge.start_acme()
    print(f"  {edge.acme_directory}")
    with _step(f"certbot, for {edge.domain}, by http-01"):
        edge.issue()
    with _step("handshake, verified with the ACME server's root"):
        certificate = edge.served_certificate()
    issuer = certificate.issuer.rfc4514_string()
    print(f"  issuer {issuer}, serial {certificate.serial_number:x}\n  root   {edge.ca_file}")
    ready = {
        "domain": edge.domain,
        "http_port": edge.http_port,
        "https_port": edge.https_port,
        "ca_file": str(edge.ca_file),
        "issuer": issuer,
        "logs": str(edge.logs),
    }
    new = edge.state / "edge.json.new"
    new.write_text(json.dumps(ready, indent=2) + "\n")
    new.replace(edge.state / "edge.json")


def _stay(edge: LocalEdge) -> NoReturn:
    while all(program.running for program in edge.programs):
        time.sleep(0.2 * SECONDS)
    ended = next(program for program in edge.programs if not program.running)
    raise EdgeError(f"{ended.name} ended by itself:\n{last_lines(ended.log)}")


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's docstring. Return 0 after a signal, 1 after a failure."""
    parser = argparse.ArgumentParser(description="nginx, an ACME server and certbot, on free ports of this machine")
    parser.add_argument("--backend-port", type=int, default=8765, help="the backend's port on this machine (8765)")
    parser.add_argument("--domain", default="callgate.example", help="the host name served (callgate.example)")
    parser.add_argument("--state", type=Path, help="the folder for everything that is written (a temporary one)")
    options = parser.parse_args(argv)
    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell that starts this in the background has SIGINT ignored
        signal.signal(ending, _interrupt)
    try:
        with LocalEdge(options.domain, state=options.state) as edge:
            _start_all(edge, options.backend_port)
            print("ready; Ctrl-C ends it", flush=True)
            _stay(edge)
    except KeyboardInterrupt:
        print("\nended; nothing is left running")
        return 0
    except (EdgeError, OSError) as error:
        print(f"\nedge_alone: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
