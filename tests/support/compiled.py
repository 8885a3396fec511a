"""The modules that the image's build compiles."""

from __future__ import annotations

import tomllib

from support.project import ROOT


def compiled_modules() -> list[str]:
    """Return the names of the modules that match pyproject.toml's patterns."""
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
    files = {file.relative_to(ROOT / "backend") for pattern in hooks["mypyc"]["include"] for file in ROOT.glob(pattern)}
    return sorted(".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files)
