"""The unit and application tests in the backend's image: its Python, its packages, its user."""

from __future__ import annotations

import pytest
from support.compiled import compiled_modules
from support.engine.bundle import HERE, Bundle, copy_project, note

IMAGE = "callgate-test-fast"
BUILD_TIMEOUT = 900.0
RUN_TIMEOUT = 1800.0  # it yields to other work


@pytest.fixture(scope="module")
def bundle(new_bundle, images):
    """Return a bundle that is not running."""
    with new_bundle() as bundle:
        yield bundle


def output(bundle: Bundle, *command: str) -> str:
    """Return what a command prints in a container of the backend."""
    return bundle.compose("run", "--rm", "--no-deps", "-T", "backend", *command).stdout


@pytest.fixture
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    copy_project(folder, "tests", "bench", "docs", "agents", "*.md", "requirements*.txt")
    return folder


def test_the_fast_suite_passes_in_the_backends_image(bundle, project):
    bundle.run(
        "docker", "build", "--tag", IMAGE, "--file", HERE / "fast" / "Dockerfile", project, timeout=BUILD_TIMEOUT
    )
    done = bundle.run(
        # It yields to the calls of other tests, which take place in real time.
        "docker", "run", "--rm", "--cpu-shares", "128", "--network", "none", "--read-only", "--tmpfs", "/tmp:exec",
        "--cap-drop", "ALL", "--env", "HOME=/tmp", "--env", "HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis",
        IMAGE,
        "python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses", "3", "-m", "not whole",
        "tests/unit", "tests/app",
        timeout=RUN_TIMEOUT,
    )  # fmt: skip
    note(done.stdout.splitlines()[-1])


def test_what_it_ran_on_is_the_bundles_python_and_not_this_machines(bundle):
    version = output(bundle, "python3", "-c", "import sys; print(*sys.version_info[:2])")
    assert version.split() == ["3", "13"]


def test_the_media_path_is_compiled_in_it(bundle):
    wanted = compiled_modules()
    script = "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]))"
    found = output(bundle, "python3", "-c", script, *wanted).split()
    assert [file for file in found if not file.endswith(".so")] == []
    assert len(found) == len(wanted) > 0
