"""The guides: what stands in their tables runs, and says the same on both sides; their diffs fit the engine."""

import contextlib
import importlib.util
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tensorad as ts
from tensorad_docs.blocks import blocks

DOCS = Path(__file__).parents[2] / "docs"
_THEIRS = re.compile(r"```py\n(.*?)```", flags=re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
ENGINE = Path(ts.__file__).parent
_DIFF = re.compile(r"```diff\n--- (\S+)\n(.*?)```", flags=re.DOTALL)
PAGES = {"pytorch": "torch", "jax": "jax", "tensorflow": "tensorflow", "micrograd": "micrograd"}


def rows(page: str) -> list[tuple[str, str, str]]:
    """The rows of a page's first table, without its head: what it is about, their cell, ours."""
    text = (DOCS / f"from-{page}.md").read_text()
    lines = text[text.index("\n|---|---|---|\n") :].partition("\n\n")[0].splitlines()[2:]
    found = [line.strip("|").split("|") for line in lines]
    return [(about.strip(), theirs.strip(), ours.strip()) for about, theirs, ours in found]


def value(cell: str, scope: dict[str, Any]) -> Any:
    """Run the code of a cell, a line for each span; what the last one is, if it is an expression."""
    result = None
    with contextlib.redirect_stdout(io.StringIO()):
        for code in _CODE.findall(cell):
            try:
                compiled = compile(code, "cell", "eval")
            except SyntaxError:
                exec(compile(code, "cell", "exec"), scope)
                result = None
            else:
                result = eval(compiled, scope)
    return result


def numbers(result: Any) -> list[Any] | None:
    """The numbers in a value, one after the other; None where it is no value, such as a graph."""
    if isinstance(result, ts.Tensor | torch.Tensor):
        return result.detach().flatten().tolist()
    if isinstance(result, bool | int | float | complex):
        return [result]
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple):
        parts = [numbers(each) for each in result]
        return None if None in parts else [each for part in parts for each in part or []]
    array = np.asarray(result)  # of another library's
    return array.flatten().tolist() if array.dtype.kind in "fciub" else None


def run(blocks: list[str], scope: dict[str, Any]) -> str:
    """Run blocks one after the other; what they print."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for code in blocks:
            exec(compile(code, "block", "exec"), scope)
    return printed.getvalue()


def sides(page: str) -> tuple[list[str], list[str]]:
    """Their blocks, and ours; the first of each has the names of the table."""
    text = (DOCS / f"from-{page}.md").read_text()
    return _THEIRS.findall(text), [block.code for block in blocks(text)]


def cells(page: str, column: int) -> list[Any]:
    """What each row of a column gives, in names of its own: those of the first block, and of the first row."""
    found = []
    table = rows(page)
    assert len(table) >= 12
    for place, row in enumerate(table):
        scope: dict[str, Any] = {}
        result: Any = None
        run(sides(page)[column - 1][:1], scope)
        for each in dict.fromkeys((0, place)):
            result = value(table[each][column], scope)
        found.append(numbers(result))
        assert _CODE.search(row[2]), row
    return found


@pytest.mark.parametrize("page", PAGES)
def test_our_side_of_the_table_runs(page: str) -> None:
    assert sum(each is not None for each in cells(page, 2)) >= 8


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PAGES)
def test_their_side_says_the_same(page: str) -> None:
    if importlib.util.find_spec(PAGES[page]) is None:
        pytest.skip(f"{PAGES[page]} is not installed")
    compared = 0
    for row, theirs, ours in zip(rows(page), cells(page, 1), cells(page, 2), strict=True):
        if theirs is not None and ours is not None:
            assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6), row
            compared += 1
    assert compared >= 8
    theirs, ours = sides(page)
    assert run(theirs, {}) == run(ours, {})


def test_the_diffs_fit_the_code_as_it_stands() -> None:
    diffs = _DIFF.findall((DOCS / "changing.md").read_text())
    assert len(diffs) >= 8
    for file, text in diffs:
        code = (ENGINE / file).read_text()
        for hunk in text.split("@@\n"):
            before = [line[1:] for line in hunk.splitlines(keepends=True) if line[0] in " -"]
            assert code.count("".join(before)) == 1, (file, hunk)
