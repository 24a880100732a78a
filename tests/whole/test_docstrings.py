"""The examples in docstrings run and print what they say, and every public name has a docstring.

What the docstrings of the reference have to say is a matter of tests/tensorad_docs/test_reference.py.
"""

import doctest
import importlib
import pkgutil

import pytest

import tensorad as ts
import tensorad_docs
import tensorad_ipython

PACKAGES = [ts, tensorad_ipython, tensorad_docs]
MODULES = [
    *(package.__name__ for package in PACKAGES),
    *(module.name for each in PACKAGES for module in pkgutil.walk_packages(each.__path__, f"{each.__name__}.")),
]


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
