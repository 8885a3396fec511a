"""The unit and application tests, in the backend's image: its Python, its packages, its user."""

from __future__ import annotations

import tomllib

import pytest
from support.engine.bundle import HERE, ROOT, copy_project, note

IMAGE = "callgate-test-fast"
BUILD_TIMEOUT = 900.0
RUN_TIMEOUT = 600.0


@pytest.fixture
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    copy_project(folder, "tests", "bench", "docs", "agents", "*.md", "requirements*.txt")
    return folder


def test_the_fast_suite_passes_in_the_backends_image(rehearsal, project):
    rehearsal.run(
        "docker", "build", "--tag", IMAGE, "--file", HERE / "fast" / "Dockerfile", project, timeout=BUILD_TIMEOUT
    )
    done = rehearsal.run(
        "docker", "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp:exec",
        "--cap-drop", "ALL", "--env", "HOME=/tmp", "--env", "HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis",
        IMAGE,
        "python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses", "3", "-m", "not whole",
        "tests/unit", "tests/app",
        timeout=RUN_TIMEOUT,
    )  # fmt: skip
    note(done.stdout.splitlines()[-1])


def test_what_it_ran_on_is_the_bundles_python_and_not_this_machines(rehearsal):
    version = rehearsal.exec("backend", "python3", "-c", "import sys; print(*sys.version_info[:2])").stdout
    assert version.split() == ["3", "13"]


def compiled_rooms() -> list[str]:
    """The names of all modules that the image's build has to compile."""
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
    files = {file.relative_to(ROOT / "backend") for pattern in hook["mypyc"]["include"] for file in ROOT.glob(pattern)}
    return sorted(".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files)


def test_the_media_path_is_compiled_in_it(rehearsal):
    wanted = compiled_rooms()
    script = "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]))"
    files = rehearsal.exec("backend", "python3", "-c", script, *wanted).stdout.split()
    assert [file for file in files if not file.endswith(".so")] == []
    assert len(files) == len(wanted) > 0
