"""Loading, unloading and reloading, under both names, and what is said where something is missing."""

import importlib
import sys
from typing import Any

import pytest
from IPython.core.error import UsageError

import tensorad as ts
from tensorad import notebook as way_in
from tensorad import site

Notebook = Any  # conftest.Notebook


@pytest.mark.parametrize("name", ["tensorad", "tensorad_ipython"])
def test_load_reload_unload(notebook: Notebook, name: str) -> None:
    notebook.run("%unload_ext tensorad")
    before = state(notebook)
    for command in (f"%load_ext {name}", f"%load_ext {name}", f"%reload_ext {name}"):
        notebook.run(command)
        notebook.run("%grad x ** 2 wrt x")
        assert notebook.names["dx"].item() == 12.0
    notebook.run(f"%unload_ext {name}")
    assert isinstance(notebook.fails("%%grad\n1"), UsageError)
    assert "`%%grad` not found" in notebook.printed
    assert state(notebook) == before
    notebook.run("%load_ext tensorad")


def state(notebook: Notebook) -> list[object]:
    shell = notebook.shell
    formatters = shell.display_formatter.formatters.values()
    return [
        list(shell.input_transformers_post),
        [dict(each.type_printers) for each in formatters],
        {key: len(list(chain)) for key, chain in shell.strdispatchers["complete_command"].strs.items()},
        site.place,
    ]


def test_both_names_at_once(notebook: Notebook) -> None:
    notebook.run("%load_ext tensorad_ipython")
    assert len(list(notebook.shell.strdispatchers["complete_command"].s_matches("%%grad"))) == 1
    notebook.run("%unload_ext tensorad_ipython")
    notebook.run("%unload_ext tensorad")


def test_a_missing_package_is_named_in_one_line(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook.run("%unload_ext tensorad")
    monkeypatch.setitem(sys.modules, "tensorad_ipython", None)
    assert isinstance(notebook.fails("%load_ext tensorad"), UsageError)
    assert len(notebook.printed.splitlines()) == 1
    with pytest.raises(UsageError, match="pip install tensorad-ipython"):
        ts.load_ipython_extension(notebook.shell)


def test_a_broken_package_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ModuleNotFoundError("No module named 'pygments'", name="pygments")

    monkeypatch.setattr(way_in, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="pygments"):
        ts.load_ipython_extension(None)


def test_messages_call_cells_what_the_notebook_calls_them(notebook: Notebook) -> None:
    notebook.run("with ts.Grad() as g:\n    y = ts.tensor((x * x).item()) * 1")
    assert "item() at Cell In[2], line 2 ('y = ts.tensor((x * x).item()) * 1')" in notebook.run("g.why(y, x)")
    notebook.run("%unload_ext tensorad")
    assert "Cell In" not in notebook.run("g.why(y, x)")


def test_the_package_is_documented() -> None:
    package = importlib.import_module("tensorad_ipython")
    for name in ("load_ipython_extension", "unload_ipython_extension"):
        assert getattr(package, name).__doc__
