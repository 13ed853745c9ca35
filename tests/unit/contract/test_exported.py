"""The public surface is what `__all__` says, and all of it is documented."""

from __future__ import annotations

import inspect

import windfall


def test_all_names_are_there_sorted_and_documented() -> None:
    assert windfall.__all__ == sorted(windfall.__all__)
    for name in windfall.__all__:
        assert inspect.getdoc(getattr(windfall, name)), f"{name} has no docstring"


def test_every_exception_is_in_the_tree_of_its_modules_docstring() -> None:
    tree = windfall.errors.__doc__ or ""
    for name, value in vars(windfall.errors).items():
        if inspect.isclass(value) and issubclass(value, Exception):
            assert name in tree, f"{name} is not drawn in the tree"
