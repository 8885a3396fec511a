"""A Docker engine, the bundle's images, and bundles made of them, each under a name of its own."""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest
from support.engine import acme
from support.engine.bundle import HERE, Bundle, copy_project, notes

NewBundle = Callable[..., AbstractContextManager[Bundle]]

ENGINE_TIMEOUT = 1800.0  # a bare machine downloads a Debian or two
BUILD_TIMEOUT = 900.0
# The files of tests that take longest, so that they are begun with where several are run at once.
LONGEST = ("test_fast_suite", "test_rehearsal", "test_setup", "test_certificate", "test_rotation")


@pytest.fixture(scope="session")
def engine() -> Mapping[str, str]:
    """What a client of the engine has in its environment."""
    done = subprocess.run([HERE / "up.sh"], stdout=subprocess.PIPE, text=True, check=True, timeout=ENGINE_TIMEOUT)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


@pytest.fixture(scope="session")
def new_bundle(engine: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> NewBundle:
    """``new_bundle(domain=…, NAME=…)``: a bundle in a new folder, without a .env, and values for the override file.

    It and its volumes are removed afterwards.
    """

    @contextlib.contextmanager
    def make(domain: str | None = None, **more: str) -> Iterator[Bundle]:
        folder, acme_folder = tmp_path_factory.mktemp("bundle"), tmp_path_factory.mktemp("acme")
        copy_project(folder)
        acme.prepare(acme_folder)
        bundle = Bundle(f"callgate-test-{secrets.token_hex(4)}", folder, engine, acme_folder, domain, more)
        try:
            yield bundle
        finally:
            bundle.remove()

    return make


@pytest.fixture(scope="session", autouse=True)
def images(engine: Mapping[str, str], new_bundle: NewBundle) -> None:
    """The images of the bundle, and the tests' own. Of several processes one makes them."""
    with alone(), new_bundle() as bundle, concurrent.futures.ThreadPoolExecutor() as pool:

        def build(name: str) -> None:
            bundle.run("docker", "build", "--tag", f"callgate-test-{name}", HERE / name, timeout=BUILD_TIMEOUT)

        ours = [pool.submit(build, name) for name in ("pebble", "dclint")]
        bundle.compose("build", timeout=BUILD_TIMEOUT)
        for each in ours:
            each.result()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """While no other process is in here."""
    folder = os.open(HERE, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@pytest.fixture(scope="session")
def rehearsal(new_bundle: NewBundle, images: None) -> Iterator[Bundle]:
    """The bundle with no .env at all, up."""
    with new_bundle() as bundle:
        assert not (bundle.folder / ".env").exists()
        bundle.up()
        yield bundle


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    ours.sort(key=lambda item: LONGEST.index(name) if (name := item.path.stem) in LONGEST else len(LONGEST))
    items[:] = [item for item in items if HERE not in item.path.parents] + ours


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["notes"] = notes


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    notes.extend(getattr(node, "workeroutput", {}).get("notes", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured. Nothing here is asserted: how long things take is the machine's."""
    if notes:
        terminalreporter.section("measured")
        for what in notes:
            terminalreporter.line(what)
