"""Errors have similar names, and callgate.errors lists all of them."""

from __future__ import annotations

import importlib

import callgate.errors
from support.rooms import modules


def errors() -> list[type[BaseException]]:
    """Every exception class that a module of the package defines."""
    names = [f"callgate.{name}" for name in modules() if name and "__main__" not in name and "migrations" not in name]
    found = [(name, each) for name in names for each in vars(importlib.import_module(name)).values()]
    return [
        each
        for name, each in found
        if isinstance(each, type) and issubclass(each, BaseException) and each.__module__ == name
    ]


def test_an_error_is_called_one_or_a_refusal():
    assert [each for each in errors() if not each.__name__.endswith(("Error", "Refused"))] == []


def test_the_tree_names_every_error_that_an_operator_may_be_shown():
    shown = {each.__name__ for each in errors() if issubclass(each, callgate.errors.CallgateError)}
    assert {name for name in shown if name not in (callgate.errors.__doc__ or "")} == set()
