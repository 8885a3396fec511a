"""Compiled modules restrict the source a little more than Python does."""

import ast

from support.compiled import compiled_modules
from support.rooms import modules


def compiled() -> set[str]:
    return {name.removeprefix("callgate").removeprefix(".") for name in compiled_modules()}


def test_the_patterns_find_the_media_path():
    found = compiled()
    assert {"call.session", "websocket.server", "core.wire.media_stream", "core.turns.conversation"} <= found
    assert "models.socket" in modules().keys() - found


def test_no_class_that_is_interpreted_derives_from_one_that_is_compiled():
    """A compiled caller would not accept an instance of it."""
    inside = compiled()
    for module in (each for name, each in modules().items() if name not in inside):
        tree = ast.parse(module.text)
        imported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").removeprefix("callgate.") in inside
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                derived = imported & {base.id for base in node.bases if isinstance(base, ast.Name)}
                assert not derived, f"{module.name}.{node.name} derives from {derived}"
