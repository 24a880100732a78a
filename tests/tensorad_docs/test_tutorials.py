"""The tutorials as files, notebooks and pages; `nox -s tutorials` and `nox -s docs` are what runs all of them."""

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tensorad_docs import __main__ as command
from tensorad_docs.running import executed, reports
from tensorad_docs.tutorial import Tutorial, kind_of, tutorials
from tensorad_docs.tutorial_pages import files, markdown

ALL = pytest.mark.parametrize("tutorial", tutorials(), ids=lambda each: each.name)

SMALL = """# %% [markdown]
# # A small one
#
# About nothing,
# in two lines.
#
# More, with [another](graphs.md) and [a page](../looking.md#the-graph).

# %%
# %load_ext tensorad
import tensorad as ts
import warnings

# %%
# %%grad y wrt x
x = ts.tensor(3.0)
y = x * x

# %%
for word in ["a", "b"]:
    print(word)

# %% tags=["check"]
assert dx.item() == {expected}

# %%
g1.steps(y, x)

# %% [markdown]
# **1.** A question.

# %% [markdown] tags=["solution"]
# In words, see [another](graphs.md).

# %% tags=["solution"]
print("```")

# %% tags=["raises-exception"]
y.item() / 0
"""


@pytest.fixture
def small(tmp_path: Path) -> Tutorial:
    file = tmp_path / "01-small-one.py"
    file.write_text(SMALL.replace("{expected}", "6.0"))
    return Tutorial(file)


def code(cells: list[Any]) -> list[Any]:
    return [cell for cell in cells if cell.cell_type == "code"]


# what every tutorial has


@ALL
def test_a_tutorial_takes_ten_to_twenty_minutes(tutorial: Tutorial) -> None:
    cells = [cell for cell in tutorial.read().cells if not kind_of(cell)]
    exercises = next(place for place, cell in enumerate(cells) if cell.source.startswith("## Exercises"))
    prose = "\n".join(cell.source for cell in cells[:exercises] if cell.cell_type == "markdown")
    words = [word for word in prose.split() if re.search(r"\w", word)]
    lines = [line for cell in code(cells[:exercises]) for line in cell.source.splitlines() if line.strip()]
    minutes = len(words) / 200 + len(lines) * 5 / 60
    if tutorial.name == "first-gradient":  # "in five minutes"
        assert minutes < 7
    else:
        assert 10 < minutes < 20


@ALL
def test_the_first_gradient_is_on_the_first_screen(tutorial: Tutorial) -> None:
    first, second, *_ = tutorial.read().cells
    assert first.cell_type == "markdown"
    assert len(first.source.splitlines()) < 12
    assert second.cell_type == "code"
    assert re.search(r"\.gradient\(|%%?grad |ts\.grad\(|ts\.jvp\(|\.steps\(", second.source)


@ALL
def test_numbers_are_checked_and_exercises_are_solved(tutorial: Tutorial) -> None:
    cells = tutorial.read().cells
    checks = [cell for cell in cells if kind_of(cell) == "check"]
    assert len(checks) >= 3
    assert all("assert" in cell.source for cell in checks)
    exercises = [place for place, cell in enumerate(cells) if re.match(r"\*\*\d\.\*\*", cell.source)]
    assert len(exercises) >= 3
    for place in exercises:
        assert kind_of(cells[place + 1]) == "solution", cells[place].source


@ALL
def test_the_text_needs_nothing_that_is_folded_away(tutorial: Tutorial) -> None:
    """What a check or a solution makes, or changes, nobody who skips it has."""
    made: set[str] = set()
    for cell in code(tutorial.read().cells):
        used, bound = names_of(cell)
        if kind_of(cell):
            made |= bound
        else:
            assert not used & made - bound, cell.source
            made -= bound


@ALL
def test_checks_look_at_what_the_text_has_made(tutorial: Tutorial) -> None:
    """A check that compares torch with torch says nothing about what is shown."""
    shown: set[str] = set()
    for cell in code(tutorial.read().cells):
        used, bound = names_of(cell)
        if not kind_of(cell):
            shown |= bound | {"In", "dx", "d2x", "d3x", "dv"}  # by the shell, and by %%grad
        elif kind_of(cell) == "check":
            assert used & shown - IMPORTED, cell.source


IMPORTED = {"torch", "ts", "F", "math", "inspect", "plt"}


def names_of(cell: Any) -> tuple[set[str], set[str]]:
    """The names that a cell uses, and those that it binds, by an import, a definition or an assignment."""
    lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
    used, bound = set[str](), set[str]()
    for node in ast.walk(ast.parse("\n".join(lines))):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.alias(name=name, asname=short):
                bound.add(short or name.partition(".")[0])
            case _:
                pass
    return used, bound


@ALL
def test_no_output_is_kept_in_the_file(tutorial: Tutorial) -> None:
    assert all(not cell.outputs for cell in code(tutorial.notebook().cells))


# notebooks


def test_title_and_subject(small: Tutorial) -> None:
    assert (small.name, small.title, small.about) == ("small-one", "A small one", "About nothing, in two lines.")


def test_a_readers_notebook(small: Tutorial) -> None:
    book = small.notebook()
    nbformat.validate(book)
    assert "[another](graphs.ipynb) and a page (a page of the site)" in book.cells[0].source
    assert [cell.source.startswith("# Check\n") for cell in book.cells].count(True) == 1
    assert book.cells[2].source.startswith("%%grad y wrt x\n")
    hidden = [cell.metadata.get("jupyter", {}).get("source_hidden", False) for cell in code(book.cells)]
    assert hidden == [False, False, False, True, False, True, False]
    answer = next(cell.source for cell in book.cells if "In words" in cell.source)
    assert answer.startswith("<details><summary>Solution</summary>\n\nIn words, see [another](graphs.ipynb).")
    assert nbformat.writes(book) == nbformat.writes(small.notebook())


# running, and pages


def test_a_page(small: Tutorial, tmp_path: Path) -> None:
    page = markdown(small, executed(small, tmp_path / "cache"))
    assert page.startswith("# A small one\n\n[Download as a notebook](small-one.ipynb)")
    assert "[a page](../looking.md#the-graph)" in page
    assert '``` { .python .cell data-cell="2" }\n%%grad y wrt x\n' in page
    assert '<div class="output">\n<div' in page
    assert "``` { .text .output }\na\nb\n```" in page
    assert '<details class="check" markdown="1">' in page
    assert page.count('<details class="solution"') == 1, "one fold for the whole of a solution"
    assert '<div class="tensorad-view"><script type="application/json">' in page
    assert "```` { .python .cell" in page, "a fence that the text does not end"
    assert "ZeroDivisionError" in page
    assert "\x1b" not in page


def test_pages_of_a_folder(small: Tutorial, tmp_path: Path) -> None:
    found = files([small], tmp_path / "cache")
    assert set(found) == {"index.md", "small-one.md", "small-one.ipynb"}
    assert "1. **[A small one](small-one.md)** About nothing, in two lines." in found["index.md"]
    kept = list((tmp_path / "cache").iterdir())
    assert files([small], tmp_path / "cache") == found
    assert list((tmp_path / "cache").iterdir()) == kept
    small.file.write_text(small.file.read_text().replace("About nothing", "About little"))
    assert "About little" in files([small], tmp_path / "cache")["small-one.md"]
    assert len(list((tmp_path / "cache").iterdir())) == 1, "what is stale goes"


def test_a_number_that_is_wrong_fails(small: Tutorial, tmp_path: Path) -> None:
    small.file.write_text(SMALL.replace("{expected}", "7.0"))
    with pytest.raises(CellExecutionError, match="AssertionError"):
        files([small], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    ((good, text),) = reports([small])
    assert not good
    assert text.startswith("small-one: FAILED\n")
    assert "assert dx.item() == 7.0" in text


def test_a_kernel_that_dies_is_reported(small: Tutorial) -> None:
    small.file.write_text(small.file.read_text() + "\n# %%\nimport os\n\nos._exit(1)\n")
    ((good, text),) = reports([small])
    assert not good
    assert text.startswith("small-one: FAILED\n")


# commands


def test_listing(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    listed = capsys.readouterr().out
    assert all(f"{each.name}: {each.title}\n" in listed for each in tutorials())
    assert command.main(["list"]) == 0
    assert capsys.readouterr().out == listed


def test_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[Any] = []

    class Done:
        returncode = 3

    monkeypatch.setattr(command.subprocess, "run", lambda *words, **options: calls.append((words, options)) or Done)
    (tmp_path / "graphs.ipynb").write_text("mine")
    assert command.main(["open", "graphs", "--to", str(tmp_path)]) == 3
    (((words,), options),) = calls
    assert words[1:] == ["-m", "jupyterlab", "graphs.ipynb"]
    assert options == {"cwd": tmp_path}
    assert {file.stem for file in tmp_path.iterdir()} == {each.name for each in tutorials()}
    assert (tmp_path / "graphs.ipynb").read_text() == "mine", "what a reader has worked in is not written over"
    assert "graphs.ipynb is there already, and stays as it is" in capsys.readouterr().out
    assert command.main(["open", "--to", str(tmp_path), "--no-lab"]) == 0
    assert len(calls) == 1


@pytest.mark.parametrize("words", [["open", "nothing"], ["run", "nothing"], ["close"]])
def test_wrong_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(words)
    assert "first-gradient" in capsys.readouterr().err or words == ["close"]


def test_running(small: Tutorial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "tutorials", lambda: [small])
    assert command.main(["run"]) == 0
    assert re.fullmatch(r"small-one: 7 cells ran in \d+ s\n", capsys.readouterr().out)
    small.file.write_text(SMALL.replace("{expected}", "7.0"))
    assert command.main(["run", "small-one"]) == 1
