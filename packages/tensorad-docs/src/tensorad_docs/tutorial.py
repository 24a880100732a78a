"""The tutorials: where they are, what they are called, and the notebook that each of them is for a reader.

A tutorial is a Python file in jupytext's percent format, which is what is edited, checked, run, shown on the site and
copied out. Tags on its cells say what is folded away: `check`, which compares what the text claims with an independent
way to work it out, and `solution`, which answers the exercise before it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext

FOLDER = Path(__file__).with_name("tutorials")
FOLDED = {"check": "Check", "solution": "Solution"}
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<page>[\w./-]+\.md)(?:#[\w.-]+)?\)")
_ABOUT_FOLDS = """

*Cells that are folded, like the next one that says `Check`, hold checks of the numbers, and solutions of the exercises.
Click on one to unfold it.*"""


@dataclass(frozen=True)
class Tutorial:
    """A tutorial, by the file that it stands in.

    Attributes:
        file: such as `02-reverse-mode.py`, which is the second, and whose name is `reverse-mode`.
    """

    file: Path

    @property
    def name(self) -> str:
        """What the commands, the pages and the notebooks call it."""
        return self.file.stem.partition("-")[2]

    @property
    def title(self) -> str:
        """Its heading."""
        return self.read().cells[0].source.partition("\n")[0].removeprefix("# ")

    @property
    def about(self) -> str:
        """What it is about: its first paragraph, in a line."""
        return " ".join(self.read().cells[0].source.split("\n\n")[1].split())

    def read(self) -> Any:
        """The notebook as it stands in the file, without outputs."""
        book = jupytext.read(self.file)
        kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
        book.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
        for number, cell in enumerate(book.cells, 1):
            cell["id"] = f"{self.name}-{number}"  # the same each time, where jupytext draws lots
        return book

    def notebook(self) -> Any:
        """The notebook for a reader: without outputs, solutions and checks folded, links that lead to notebooks."""
        book = self.read()
        names = {each.name for each in tutorials()}
        book.cells[0].source += _ABOUT_FOLDS
        for cell in book.cells:
            kind = kind_of(cell)
            if cell.cell_type == "markdown":
                cell.source = _LINK.sub(lambda link: _linked(link, names), cell.source)
                if kind:
                    cell.source = f"<details><summary>{FOLDED[kind]}</summary>\n\n{cell.source}\n\n</details>"
            elif kind:
                cell.source = f"# {FOLDED[kind]}\n{cell.source}"  # what is seen of a folded cell
                cell.metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": kind == "solution"}
        return book


def tutorials() -> list[Tutorial]:
    """All tutorials, in the order in which they are read."""
    return [Tutorial(file) for file in sorted(FOLDER.glob("*.py"))]


def kind_of(cell: Any) -> str | None:
    """What is folded away in a cell, `check` or `solution`; None of a cell in plain sight."""
    return next((tag for tag in cell.metadata.get("tags", ()) if tag in FOLDED), None)


def _linked(link: re.Match[str], names: set[str]) -> str:
    """A link as a notebook has it: to the notebook of another tutorial; of what leads to other pages, the words."""
    name = link["page"].removesuffix(".md")
    return f"[{link['text']}]({name}.ipynb)" if name in names else f"{link['text']} (a page of the site)"
