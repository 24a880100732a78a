"""The examples in docstrings run and print what they say, and every public name has a docstring."""

import doctest
import importlib
import pkgutil

import pytest

import tensorad as ts

MODULES = [module.name for module in pkgutil.walk_packages(ts.__path__, "tensorad.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say what it is"
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", ts.__all__)
def test_public_names_are_documented(name: str) -> None:
    item = getattr(ts, name)
    assert item.__doc__
    for attribute, value in vars(item).items() if isinstance(item, type) else ():
        if callable(value) and not attribute.startswith("_"):
            assert value.__doc__, f"{name}.{attribute}"
