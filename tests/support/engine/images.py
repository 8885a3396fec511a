"""Builds the images of the bundle, and those that only the tests use.

    python -m support.engine.images CLIENT

CLIENT is a file with what tests/engine/up.sh printed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from support.engine import acme
from support.engine.bundle import HERE, Bundle, copy_project

BUILD_TIMEOUT: Final = 900.0
OURS: Final = ("pebble", "dclint")


def build_images(engine: Mapping[str, str], folder: Path) -> None:
    """Build all of them, or wait until another process has. ``folder`` is an empty one, for a copy of the project."""
    with alone(), ThreadPoolExecutor() as pool:
        acme_folder = folder / "acme"
        acme_folder.mkdir()
        copy_project(folder)
        acme.prepare(acme_folder)
        bundle = Bundle(f"callgate-test-{secrets.token_hex(4)}", folder, engine, acme_folder)

        def build(name: str) -> None:
            bundle.run("docker", "build", "--tag", f"callgate-test-{name}", HERE / name, timeout=BUILD_TIMEOUT)

        ours = [pool.submit(build, name) for name in OURS]
        bundle.compose("build", timeout=BUILD_TIMEOUT)
        for each in ours:
            each.result()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep other processes out while the context lasts."""
    folder = os.open(HERE, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def client_of(text: str) -> dict[str, str]:
    """Return the environment of a client of the engine, from what tests/engine/up.sh printed."""
    return dict(line.split("=", 1) for line in text.splitlines())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        build_images(client_of(Path(sys.argv[1]).read_text()), Path(temporary))
