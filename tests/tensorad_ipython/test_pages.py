"""The blocks of docs/notebook.md, and of the README those for a notebook, run and show what stands below them."""

import re
from pathlib import Path
from typing import Any

import pytest

Notebook = Any  # conftest.Notebook
ROOT = Path(__file__).parents[2]
_BLOCKS = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", flags=re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    return _BLOCKS.findall((ROOT / page).read_text())


@pytest.mark.parametrize("page", ["docs/notebook.md", "README.md"])
def test_blocks(notebook: Notebook, page: str) -> None:
    notebook.run("%unload_ext tensorad")
    found = blocks(page)
    if page == "README.md":
        found = [(code, shown) for code, shown in found if code.startswith("%")]
        assert found
        notebook.run("%load_ext tensorad")
    notebook.shell.execution_count = 1
    for code, shown in found:
        notebook.run(code)
        measured = re.compile(r"(?<=by finite differences )\S+ ± \S+")  # whose last digits differ between machines
        printed = re.sub(r"^Out\[\d+\]: \n?", "", notebook.printed, flags=re.MULTILINE).rstrip() + "\n"
        assert not shown or measured.sub("...", printed) == measured.sub("...", shown)


def test_every_option_is_on_the_page(notebook: Notebook) -> None:
    parser = notebook.shell.magics_manager.magics["line"]["grad"].parser
    page = (ROOT / "docs/notebook.md").read_text()
    for action in parser._actions:
        assert any(option in page for option in action.option_strings), action
