"""Each part of a conversation owns its state, and calls end in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from support.project import ROOT

TURNS = ROOT / "backend/callgate/core/turns"
CAUSES = ("agent_leaves", "caller_left", "safety_net", "service_stops", "stream_gone")
FILES = sorted(TURNS.glob("*.py"))


def assigned(tree: ast.AST) -> list[ast.Attribute]:
    """Return the attributes that a module assigns, or deletes."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            found.append(node)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_object_assigns_the_field_of_another(file: Path):
    others = [
        f"{file.name}:{node.lineno}: {ast.unparse(node)}"
        for node in assigned(ast.parse(file.read_text()))
        if not (isinstance(node.value, ast.Name) and node.value.id == "self")
    ]
    # The clock's spans are values of its own, which nobody else sees.
    assert [other for other in others if not other.startswith("heard_clock.py")] == []


def calls_of(name: str) -> list[tuple[str, str]]:
    """Return where the package calls a name, and the function that it stands in."""
    found = []
    for file in sorted((ROOT / "backend/callgate").rglob("*.py")):
        for function in ast.walk(ast.parse(file.read_text())):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                called = node.func if isinstance(node, ast.Call) else None
                if isinstance(called, ast.Name) and called.id == name:
                    found.append((file.relative_to(ROOT / "backend/callgate").as_posix(), function.name))
    return found


def test_every_end_of_a_call_is_made_in_one_place():
    places = [("core/turns/ending.py", "broken"), ("core/turns/ending.py", "_end")]
    assert calls_of("End") == places


def test_the_causes_of_an_end_are_these_and_the_list_in_its_docstring_names_them_all():
    tree = ast.parse((TURNS / "ending.py").read_text())
    (ending,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Ending"]
    causes = {
        method.name
        for method in ending.body
        if isinstance(method, ast.FunctionDef) and "self._end(" in ast.unparse(method)
    }
    assert causes == set(CAUSES)
    docstring = ast.get_docstring(tree) or ""
    assert all(f"    {cause} " in docstring for cause in (*CAUSES, "broken"))
