"""Compiled modules restrict the source a little more than Python does."""

import ast

import pytest
from support.compiled import compiled_modules
from support.rooms import modules

COMPILED = {name.removeprefix("callgate").removeprefix(".") for name in compiled_modules()}
INTERPRETED = {name: each for name, each in modules().items() if name not in COMPILED}


def test_the_patterns_find_the_media_path():
    assert {"call.session", "websocket.server", "core.wire.media_stream", "core.turns.conversation"} <= COMPILED
    assert "models.socket" in INTERPRETED


@pytest.mark.parametrize("module", INTERPRETED.values(), ids=INTERPRETED)
def test_no_class_that_is_interpreted_derives_from_one_that_is_compiled(module):
    """A compiled caller would not accept an instance of it."""
    tree = ast.parse(module.text)
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").removeprefix("callgate.") in COMPILED
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            assert not imported & {base.id for base in node.bases if isinstance(base, ast.Name)}, node.name
