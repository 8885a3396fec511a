"""Errors have similar names, and callgate.errors lists all of them."""

from __future__ import annotations

import importlib

import callgate.errors
import pytest
from support.rooms import modules

MODULES = [name for name in modules() if name and "__main__" not in name and "migrations" not in name]


def errors_of(module: str) -> list[type[BaseException]]:
    name = f"callgate.{module}"
    found = vars(importlib.import_module(name)).values()
    return [each for each in found if isinstance(each, type) and issubclass(each, BaseException)
            and each.__module__ == name]  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_an_error_is_called_one_or_a_refusal(module):
    names = [each.__name__ for each in errors_of(module)]
    assert [name for name in names if not name.endswith(("Error", "Refused"))] == []


def test_the_tree_names_every_error_that_an_operator_may_be_shown():
    shown = {each.__name__ for module in MODULES for each in errors_of(module)
             if issubclass(each, callgate.errors.CallgateError)}  # fmt: skip
    assert {name for name in shown if name not in (callgate.errors.__doc__ or "")} == set()
