"""The package's rooms, as its imports show them: folders, their lines, and the arrows between them.

    .venv/bin/python tests/support/rooms.py [FOLDER]

draws the package or the one in FOLDER from top to bottom: each room imports only rooms below it. If there is a circle,
the drawing shows it and the exit code is 1. Figures follow: long files, wide classes, and class names used twice.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "backend/callgate"
LONG_FILE = 300  # lines
MANY_FIELDS = 12


@dataclass(frozen=True)
class Module:
    """One file. ``name`` is dotted and relative to the package, which itself is "". ``imports`` are names of the
    package's modules. ``libraries`` are all other imports, as written."""

    name: str
    path: Path
    text: str
    imports: frozenset[str]
    libraries: frozenset[str]

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @property
    def classes(self) -> list[ast.ClassDef]:
        return [node for node in ast.walk(ast.parse(self.text)) if isinstance(node, ast.ClassDef)]


@cache
def modules(package: Path = PACKAGE) -> dict[str, Module]:
    """Return all modules of a package, by name."""
    paths = {_name(path, package): path for path in sorted(package.rglob("*.py"))}
    return {name: _read(name, path, package.name, paths) for name, path in paths.items()}


def within(room: str, all_modules: Mapping[str, Module]) -> dict[str, Module]:
    """Return the modules of a room and of the rooms inside it."""
    return {name: each for name, each in all_modules.items() if name == room or name.startswith(f"{room}.")}


def arrows(room: str, all_modules: Mapping[str, Module]) -> dict[str, dict[str, int]]:
    """Return the parts of a room ("" is the package), folders or files, with the number of imports from each to each
    other."""
    found: dict[str, dict[str, int]] = {}
    for module in all_modules.values():
        if (child := _child(module.name, room)) is None:
            continue
        to = found.setdefault(child, {})
        for name in module.imports:
            if (other := _child(name, room)) not in (None, child):
                to[other] = to.get(other, 0) + 1
    return found


def order(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the names from top to bottom. Raises `graphlib.CycleError` if there is a circle."""
    return list(TopologicalSorter({name: sorted(to) for name, to in sorted(graph.items())}).static_order())[::-1]


def folders(all_modules: Mapping[str, Module]) -> list[str]:
    """Return all rooms that hold something; "" is the package."""
    return sorted({"", *(name.rpartition(".")[0] for name in all_modules if name)})


def fields(cls: ast.ClassDef) -> set[str]:
    """Return a class's fields: those its body declares, and those `__init__` assigns to self."""
    declared = {
        node.target.id for node in cls.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for function in cls.body:
        if isinstance(function, ast.FunctionDef) and function.name == "__init__":
            declared |= {
                node.attr
                for node in ast.walk(function)
                if isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and isinstance(node.value, ast.Name)
                and node.value.id == "self"
            }
    return declared


def names_with_several_meanings(all_modules: Mapping[str, Module]) -> dict[str, list[str]]:
    """Return class names that several modules define, and where."""
    found: dict[str, list[str]] = defaultdict(list)
    for module in all_modules.values():
        for cls in module.classes:
            if not cls.name.startswith("_"):
                found[cls.name].append(module.name)
    return {name: where for name, where in sorted(found.items()) if len(where) > 1}


def _name(path: Path, package: Path) -> str:
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _read(name: str, path: Path, package: str, known: Mapping[str, Path]) -> Module:
    text = path.read_text()
    base = name.split(".") if name else []
    if path.name != "__init__.py":
        base = base[:-1]
    imports, libraries = set(), set()
    for node in ast.walk(ast.parse(text)):
        for written, sources in _imported(node, base, package):
            of_ours = next((source for source in sources if source in known), None)
            if of_ours is None:
                libraries.add(written)
            elif of_ours != name:
                imports.add(of_ours)
    return Module(name, path, text, frozenset(imports), frozenset(libraries))


def _imported(node: ast.AST, base: list[str], package: str) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Yield a statement's imports: each as written, and its possible names in the package, the most likely first."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top, _, rest = alias.name.partition(".")
            yield alias.name, (rest,) if top == package else ()
    elif isinstance(node, ast.ImportFrom):
        written = node.module or ""
        if node.level:
            source = (
                [*base[: len(base) - node.level + 1], *written.split(".")]
                if written
                else base[: len(base) - node.level + 1]
            )
        elif written.partition(".")[0] == package:
            source = written.split(".")[1:]
        else:
            yield written, ()
            return
        for alias in node.names:
            yield written, (".".join((*source, alias.name)), ".".join(source))


def _child(name: str, room: str) -> str | None:
    """Return the part of a room that a module belongs to, or None. A room's own ``__init__`` belongs to no part."""
    if name == room or (room and not name.startswith(f"{room}.")):
        return None
    return name[len(room) :].lstrip(".").partition(".")[0]


def _drawing(room: str, all_modules: Mapping[str, Module]) -> tuple[list[str], bool]:
    graph = arrows(room, all_modules)
    circle: list[str] = []
    try:
        names = order(graph)
    except CycleError as exc:
        circle, names = exc.args[1], sorted(graph)
    lines = []
    for child in names:
        inside = within(".".join(filter(None, (room, child))), all_modules)
        size = f"{len(inside):3} files" if len(inside) > 1 else ""
        length = sum(each.lines for each in inside.values())
        to = ", ".join(f"{name} {graph[child][name]}" for name in names if name in graph[child])
        lines.append(f"  {child:24} {size:9} {length:6} lines  {'→ ' + to if to else ''}".rstrip())
    if circle:
        lines.append(f"  A CIRCLE: {' → '.join(circle[::-1])}")
    return lines, bool(circle)


def main(package: Path) -> int:
    """Print the drawing and the figures. Return 1 if there is a circle."""
    found = modules(package)
    circles = 0
    for room in folders(found):
        lines, has_circle = _drawing(room, found)
        circles += has_circle
        print(f"{package.name}/{room.replace('.', '/')}", *lines, sep="\n", end="\n\n")
    long = {each.path.relative_to(package): each.lines for each in found.values() if each.lines > LONG_FILE}
    wide = {f"{each.name}.{cls.name}": len(fields(cls)) for each in found.values() for cls in each.classes}
    twice = names_with_several_meanings(found)
    at_top = [name for name, each in found.items() if "." not in name and each.path.name != "__init__.py"]
    print(f"{len(found)} modules, {sum(each.lines for each in found.values())} lines, {circles} circles")
    print(f"{len(at_top)} modules in the package's own folder: {', '.join(at_top)}")
    print(f"{len(long)} files of more than {LONG_FILE} lines:", *(f"{path} {size}" for path, size in long.items()))
    many = {name: count for name, count in wide.items() if count > MANY_FIELDS}
    print(
        f"{len(many)} classes with more than {MANY_FIELDS} fields:",
        *(f"{name} {count}" for name, count in many.items()),
    )
    print(
        f"{len(twice)} names of classes in several modules:",
        *(f"{name} ({', '.join(where)})" for name, where in twice.items()),
    )
    return 1 if circles else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else PACKAGE))
