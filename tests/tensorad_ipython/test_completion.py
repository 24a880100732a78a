"""Tab in the magics' lines."""

from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter

Notebook = Any  # conftest.Notebook


def offered(notebook: Notebook, line: str) -> list[str]:
    with provisionalcompleter():
        return [each.text for each in notebook.shell.Completer.completions(line, len(line))]


@pytest.mark.parametrize("magic", ["%grad", "%%grad"])
def test_options_and_names(notebook: Notebook, magic: str) -> None:
    notebook.run("weights = ts.tensor(1.0)\nwrong = 2")
    assert offered(notebook, f"{magic} y wrt x --or") == ["--order"]
    assert offered(notebook, f"{magic} --co") == ["--cotangent"]
    assert {"--jacobian", "--hessian", "--check", "--into", "--quiet", "--help"} <= set(
        offered(notebook, f"{magic} --")
    )
    assert offered(notebook, f"{magic} --check to") == ["torch"]
    assert offered(notebook, f"{magic} y wrt weig") == ["weights"]
    assert offered(notebook, f"{magic} y wr") == ["wrong", "wrt"]
    assert offered(notebook, f"{magic} y wrt wr") == ["wrong"]


def test_attributes_are_left_to_ipython(notebook: Notebook) -> None:
    assert ".requires_grad" not in offered(notebook, "%%grad x.sq")
    assert any(each.endswith("sin") for each in offered(notebook, "%grad torch.si"))


def test_other_lines_are_left_to_ipython(notebook: Notebook) -> None:
    assert "--order" not in offered(notebook, "%%gradient --or")
    notebook.run("%unload_ext tensorad")
    assert offered(notebook, "%%grad --or") == []
