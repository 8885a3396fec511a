"""The line check's session stays pure, and the recording it needs comes with the package."""

from __future__ import annotations

import ast
from importlib.resources import files
from pathlib import Path

import pytest
from callgate.linecheck import clips

PACKAGE = Path(__file__).parents[2] / "backend/callgate/linecheck"
PURE = ["client_events", "input_audio", "items", "protocol", "response", "schema", "session", "vad"]
ACTS = {"asyncio", "socket", "time", "datetime", "random", "secrets", "os", "logging", "websockets", "threading"}


@pytest.mark.parametrize("module", PURE)
def test_pure_module_imports_nothing_that_acts(module: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        match node:
            case ast.Import():
                imported |= {alias.name.split(".")[0] for alias in node.names}
            case ast.ImportFrom(level=0, module=str(name)):
                imported.add(name.split(".")[0])
            case ast.ImportFrom(level=1, module=str(name)):
                assert name in PURE
            case ast.ImportFrom(level=2, module=str(name)):
                assert name in ("errors", "media_stream")
    assert not imported & ACTS


def test_greeting_is_a_few_seconds_of_speech_in_the_package() -> None:
    assert files("callgate.linecheck").joinpath("greeting.ulaw").is_file()
    assert 3 * 8_000 <= len(clips.greeting()) <= 4 * 8_000
