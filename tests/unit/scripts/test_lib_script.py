"""`need_venv` of scripts/lib.sh, with stand-ins for Python, pip and uv: which one installs what, and what is left
alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.project import ROOT

FILES = ("scripts/lib.sh", "scripts/pip_settings.py", "requirements-uv.txt", "requirements-dev.txt", "pyproject.toml")

# The Python outside .venv: it makes a .venv of stand-ins.
PYTHON = """#!/bin/sh
case "$*" in
--version) echo "Python 3.11.2" ;;
"-m venv "*)
  echo "venv" >>"$CALLS"
  [ -z "${GATE:-}" ] || read -r go <"$GATE"
  rm -rf .venv
  mkdir -p .venv/bin
  cp "$STUBS/venv-python" .venv/bin/python
  echo "#!$PWD/.venv/bin/python" >.venv/bin/pip
  ;;
esac
"""
VENV_PYTHON = """#!/bin/sh
case "$*" in
"-m pip config list") printf %s "${PIP_SETTINGS:-}" ;;
*requirements-uv.txt)
  echo "get uv: $*" >>"$CALLS"
  [ -z "${NO_UV:-}" ] || exit 1
  cp "$STUBS/uv" .venv/bin/uv
  ;;
scripts/*) exec "$PYTHON" "$@" ;;
"-m pip --version") ;;
*)
  echo "pip: $*" >>"$CALLS"
  exit "${PIP_STATUS:-0}"
  ;;
esac
"""
UV = """#!/bin/sh
echo "uv: $*" >>"$CALLS"
env >"$CALLS.environ"
exit "${UV_STATUS:-0}"
"""
LINK = "--no-deps --no-build-isolation --editable ."
LOCKED = "--require-hashes -r requirements-dev.txt"


class Project:
    """A folder with the files that `need_venv` reads, and a script that calls it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.calls_file = folder / "calls"
        self.stubs = folder / "stubs"
        for file in FILES:
            (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, self.folder / file)
        self.stubs.mkdir()
        for name, text in (("python3", PYTHON), ("venv-python", VENV_PYTHON), ("uv", UV)):
            (self.stubs / name).write_text(text)
            (self.stubs / name).chmod(0o755)

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    @contextlib.contextmanager
    def start(self, **environ: str) -> Iterator[subprocess.Popen[str]]:
        """Run the script while the context lasts."""
        told = {
            "PATH": f"{self.stubs}:{os.defpath}",
            "PYTHON": sys.executable,
            "STUBS": str(self.stubs),
            "CALLS": str(self.calls_file),
            **environ,
        }
        command = ["bash", "-c", "source scripts/lib.sh && need_venv"]
        with subprocess.Popen(
            command, cwd=self.folder, env=told, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def set_up(self, **environ: str) -> tuple[int, str]:
        """Run the script to completion, and return its exit status and output."""
        with self.start(**environ) as process:
            output, errors = process.communicate(timeout=20)
        return process.returncode, output + errors


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_uv_installs_what_is_locked_and_then_callgate_itself(project: Project) -> None:
    assert project.set_up() == (0, "==> setting up .venv\n")
    made, got_uv, locked, link = project.calls
    assert made == "venv"
    assert "--require-hashes" in got_uv
    assert "--only-binary :all:" in got_uv
    assert locked.startswith("uv: pip install ")
    assert "--python .venv/bin/python" in locked
    assert locked.endswith(LOCKED)
    assert link.startswith("uv: pip install ")
    assert link.endswith(LINK)


def test_what_is_set_up_is_left_alone(project: Project) -> None:
    project.set_up()
    before = project.calls
    assert project.set_up() == (0, "")
    assert project.calls == before


def test_a_change_of_what_is_locked_is_installed_into_what_is_there(project: Project) -> None:
    project.set_up()
    (project.folder / "requirements-dev.txt").write_text("another==1\n")
    assert project.set_up()[0] == 0
    assert project.calls.count("venv") == 1
    assert sum(call.endswith(LOCKED) for call in project.calls) == 2


def test_pip_installs_where_there_is_no_uv_for_this_machine(project: Project) -> None:
    status, said = project.set_up(NO_UV="1")
    assert status == 0
    assert "uv can't install the packages here; pip does" in said
    assert [call.split(" -qq")[0] for call in project.calls[-2:]] == [
        "pip: -m pip --python .venv/bin/python install"
    ] * 2
    assert project.calls[-2].endswith(LOCKED)
    assert project.calls[-1].endswith(LINK)


def test_pip_begins_anew_where_uv_fails(project: Project) -> None:
    status, said = project.set_up(UV_STATUS="2")
    assert status == 0
    assert "pip does" in said
    assert [call.split(":")[0] for call in project.calls] == ["venv", "get uv", "uv", "venv", "pip", "pip"]


def test_what_could_not_be_finished_is_begun_anew(project: Project) -> None:
    status, said = project.set_up(UV_STATUS="2", PIP_STATUS="1")
    assert status == 1
    assert said.splitlines()[-1].endswith("pip can't install into .venv: the reason is above")
    assert project.calls.count("venv") == 2
    assert project.set_up()[0] == 0
    assert project.calls.count("venv") == 3


def test_uv_is_told_where_pip_finds_packages(project: Project) -> None:
    settings = (
        "global.index-url='https://index.example/simple'\n"
        "global.find-links='/wheels /more'\n"
        ":env:.trusted-host='index.example'\n"
        "global.no-index='true'\n"
    )
    assert project.set_up(PIP_SETTINGS=settings)[0] == 0
    environ = Path(f"{project.calls_file}.environ").read_text().splitlines()
    assert "UV_DEFAULT_INDEX=https://index.example/simple" in environ
    assert "UV_FIND_LINKS=/wheels,/more" in environ
    assert "UV_INSECURE_HOST=index.example" in environ
    assert "--no-index" in project.calls[-1]


def test_a_venv_that_is_a_symbolic_link_is_refused_and_what_it_points_to_is_kept(
    project: Project, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "theirs").touch()
    project.venv.symlink_to(elsewhere)
    status, said = project.set_up()
    assert status == 1
    assert len(said.splitlines()) == 1
    assert f".venv is a symbolic link to {elsewhere}" in said
    assert "rm .venv" in said
    assert list(elsewhere.iterdir()) == [elsewhere / "theirs"]
    assert project.calls == []


def test_of_two_at_once_one_sets_up_and_the_other_waits_for_it(project: Project, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with project.start(GATE=str(gate)) as first:
        held = gate.open("w")  # returns when the first one makes .venv
        with project.start(GATE=str(gate)) as second:
            with held:
                held.write("go\n")
            ended = [process.communicate(timeout=20) and process.returncode for process in (first, second)]
    assert ended == [0, 0]
    assert project.calls.count("venv") == 1
