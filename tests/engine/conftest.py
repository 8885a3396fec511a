"""A Docker engine, the bundle's images, and bundles made from them, each with its own name."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest
from support.engine import acme
from support.engine.bundle import HERE, Bundle, copy_project, notes
from support.engine.images import build_images, client_of

NewBundle = Callable[..., AbstractContextManager[Bundle]]

ENGINE_TIMEOUT = 1800.0  # a bare machine downloads a Debian or two
# The test files that take longest, so that they start first when several run in parallel.
LONGEST = ("test_fast_suite", "test_rehearsal", "test_setup", "test_certificate", "test_rotation")


@pytest.fixture(scope="session")
def engine() -> Mapping[str, str]:
    """Return the environment of a client of the engine."""
    done = subprocess.run([HERE / "up.sh"], stdout=subprocess.PIPE, text=True, check=True, timeout=ENGINE_TIMEOUT)
    return client_of(done.stdout)


@pytest.fixture(scope="session")
def new_bundle(engine: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> NewBundle:
    """Return ``new_bundle(domain=…, NAME=…)``: a bundle in a new folder, without a .env, with values for the override
    file.

    The bundle and its volumes are removed afterwards.
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
def images(engine: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Build the bundle's images and the tests' own, in only one of several processes."""
    build_images(engine, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def rehearsal(new_bundle: NewBundle, images: None) -> Iterator[Bundle]:
    """Yield a running bundle without any .env."""
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
    """Show the measurements. Nothing is asserted, because times depend on the machine."""
    if notes:
        terminalreporter.section("measured")
        for what in notes:
            terminalreporter.line(what)
