"""The reference of the site: every public name stands on it, with a docstring that says what is there."""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import tensorad as ts
import tensorad_ipython
from tensorad.op import OPS
from tensorad.rule import rule
from tensorad_docs.rules_page import names_page
from tensorad_ipython import page as pages
from tensorad_ipython.magics import GradMagics, parser_of

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"
SECTION = re.compile(r"^ *(Args|Attributes):\n((?: *\n| {4,}.*\n?)+)", re.MULTILINE)
PACKAGES = ("tensorad", "tensorad_ipython")


def found(path: str) -> Any:
    """What a dotted name means: the longest module in it, and what stands there."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(getattr, parts[end:], module)
    raise ModuleNotFoundError(path)


TEXTS = {file.name: file.read_text() for file in sorted(REFERENCE.glob("*.md")) if file.name != "ops.md"}
PATHS = [path for text in TEXTS.values() for path in re.findall(r"^::: (\S+)", text, re.MULTILINE)]
ITEMS: dict[str, Any] = {path: found(path) for path in PATHS}
FUNCTIONS = [name for name in dir(ts) if name in OPS]  # before other tests add rules of their own
CLASSES = {path: item for path, item in ITEMS.items() if isinstance(item, type)}


def own(item: type) -> Iterator[type]:
    """A class, and those of its bases that are ours."""
    return (each for each in item.__mro__ if each.__module__.partition(".")[0] in PACKAGES)


def members(item: type) -> dict[str, Any]:
    """The public methods and properties that stand in the source of a class, or of a base of ours."""
    return {
        name: value
        for each in reversed([*own(item)])
        for name, value in vars(each).items()
        if not name.startswith("_") and _is_from(each, value)
    }


def _is_from(owner: type, value: Any) -> bool:
    """Whether a method was written in a class: torch's are put onto Tensor by the table."""
    function = value.fget if isinstance(value, property) else getattr(value, "func", value)
    return inspect.isfunction(function) and function.__qualname__ == f"{owner.__qualname__}.{function.__name__}"


def documented() -> dict[str, Callable[..., Any]]:
    """Every function and method on the pages, and every class that is called, by its name."""
    functions = {path: item for path, item in ITEMS.items() if not isinstance(item, type)}
    for path, item in CLASSES.items():
        functions |= {f"{path}.{name}": value for name, value in members(item).items() if inspect.isfunction(value)}
    return functions


def section(text: str | None, title: str) -> list[str] | None:
    """The names that a section of a docstring describes; None if it has no such section."""
    for name, body in SECTION.findall(inspect.cleandoc(text or "") + "\n"):
        if name == title:
            return re.findall(r"^ {4}\**(\w+): ", body, re.MULTILINE)
    return None


def test_a_name_stands_on_one_page_only() -> None:
    assert len(PATHS) == len(set(PATHS)) > 80


@pytest.mark.parametrize("name", ts.__all__)
def test_public_names_have_an_entry(name: str) -> None:
    item = getattr(ts, name)
    if isinstance(item, ModuleType):
        assert f"`ts.{name}" in "".join(TEXTS.values())
    else:
        assert item in ITEMS.values()


@pytest.mark.parametrize("module", [ts.tree, ts.random, pages, tensorad_ipython], ids=lambda each: each.__name__)
def test_functions_of_public_modules_have_an_entry(module: ModuleType) -> None:
    for name, item in vars(module).items():
        original = inspect.unwrap(item) if callable(item) else item
        if inspect.isfunction(original) and original.__module__ == module.__name__ and not name.startswith("_"):
            assert item in ITEMS.values(), name


def test_functions_of_torch_are_listed() -> None:
    listed = set(re.findall(r"`ts\.(\w+)`", names_page()))
    assert {*FUNCTIONS} <= listed


def test_functions_of_torch_say_what_they_are() -> None:
    for name in FUNCTIONS:
        text, card = inspect.getdoc(getattr(ts, name)) or "", rule(name)
        assert card.name in text
        assert OPS[getattr(ts, name).__name__] is getattr(ts, name), "it is called by a name of its own"
        assert re.match(r"(torch|`).* (on Tensors|as a Tensor)", text), name
        assert "a constant" in text or f'`tensorad.rule("{card.name.partition("(")[0]}")` shows' in text, name


def test_functions_that_fill_tensors_are_in_the_table() -> None:
    made = {name for name, call in OPS.items() if "a constant, of torch's own arguments" in (call.__doc__ or "")}
    assert len(made) > 15
    assert made <= set(re.findall(r"`ts\.(\w+)\(", TEXTS["tensors.md"]))


def test_classes_that_are_returned_have_an_entry() -> None:
    """What functions, methods and attributes there are said to give is there, where it is a class of ours."""
    known = {name: item for package in PACKAGES for name, item in _classes(package)}
    for path, said in _said():
        for word in re.findall(r"\b[A-Z]\w+", said if isinstance(said, str) else repr(said)):
            if word in known and word not in ("Typeset", "Site"):  # how the inside of two attributes is written down
                assert known[word] in CLASSES.values(), f"{path}: {word}"


def _said() -> Iterator[tuple[str, Any]]:
    """What annotations say of the results of functions and methods, and of attributes and properties."""
    for path, item in documented().items():
        yield path, inspect.get_annotations(item).get("return")
    for path, item in CLASSES.items():
        yield from ((path, said) for said in inspect.get_annotations(item).values())
        for value in members(item).values():
            getter: Any = getattr(value, "fget", value)
            yield path, inspect.get_annotations(getattr(getter, "func", getter)).get("return")


def _classes(package: str) -> Iterator[tuple[str, type]]:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        for name, item in vars(importlib.import_module(module.name)).items():
            if isinstance(item, type) and item.__module__ == module.name and not name.startswith("_"):
                yield name, item


@pytest.mark.parametrize("path", PATHS)
def test_what_stands_on_a_page_is_documented(path: str) -> None:
    item = ITEMS[path]
    assert inspect.getdoc(item)
    for name, value in members(item).items() if isinstance(item, type) else ():
        assert inspect.getdoc(value), f"{path}.{name}"


@pytest.mark.parametrize("path", documented())
def test_docstrings_name_the_arguments(path: str) -> None:
    item = inspect.unwrap(documented()[path])
    names = [name for name in inspect.signature(item).parameters if name != "self"]
    described = section(item.__doc__, "Args")
    if item is not inspect.unwrap(GradMagics.grad):  # whose line is a language of its own
        assert described == names or (described is None and not names)


@pytest.mark.parametrize("path", CLASSES)
def test_docstrings_of_classes_name_the_attributes(path: str) -> None:
    item = CLASSES[path]
    described = section(item.__doc__, "Attributes") or []
    names: Any = getattr(item, "_fields", None)  # of a named tuple
    fields = [each.name for each in dataclasses.fields(item)] if dataclasses.is_dataclass(item) else names and [*names]
    if fields is not None:
        assert described == fields
    arguments = section(item.__doc__, "Args")
    if arguments is not None:
        assert arguments == [name for name in inspect.signature(item.__init__).parameters if name != "self"]
    source = "".join(inspect.getsource(each) for each in own(item))
    for name in [] if fields is not None else described:
        assert re.search(rf"\b{name}\b[^\n]* = |\"{name}\"", source), f"{path} has no {name}"


@pytest.mark.parametrize("path", PATHS)
def test_the_map_leads_to_every_name(path: str) -> None:
    assert re.search(rf"\]\[{re.escape(path)}\]", TEXTS["index.md"])


def test_the_map_leads_to_what_a_context_is_asked() -> None:
    assert all(f"[tensorad.grad.Grad.{name}]" in TEXTS["index.md"] for name in members(ts.Grad))


def test_the_options_of_the_magics_are_in_the_table() -> None:
    shell = InteractiveShell()
    tensorad_ipython.load_ipython_extension(shell)
    try:
        options = [option for action in parser_of(shell)._actions for option in action.option_strings]
    finally:
        tensorad_ipython.unload_ipython_extension(shell)
    assert len(options) > 10
    table = set(re.findall(r"(?<=[`])(-[-\w]+)", TEXTS["notebook.md"]))
    assert set(options) == table
