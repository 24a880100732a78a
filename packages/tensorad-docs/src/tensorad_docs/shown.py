"""What pages of the site show of their own programs.

A page runs block by block. Where `<!-- shown: EXPRESSION -->` stands between two blocks, the value of the expression is
written to the file that the next line of the page includes, as something to click on or as a picture.
"""

import re
from pathlib import Path
from typing import Any

from tensorad.looking.explain import Explanation
from tensorad.looking.graph import Graph
from tensorad.looking.steps import Steps
from tensorad_docs.blocks import blocks, run
from tensorad_ipython.explained import html_of
from tensorad_ipython.page import embed

_SHOWN = re.compile(r'<!-- shown: (.*?) -->\n--8<-- "(.*?)"')


def fragments(page: Path) -> dict[str, str]:
    """The files that a page includes, by their names, and the HTML in each."""
    names: dict[str, Any] = {"print": lambda *_: None}
    found: dict[str, str] = {}
    number = 0
    before, *parts = _SHOWN.split(page.read_text(encoding="utf-8"))
    for expression, file, after in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        for block in blocks(before):
            run(block, number := number + 1, page, names)
        found[file] = fragment(eval(expression, names))
        before = after
    return found


def fragment(value: Any) -> str:
    """A graph, steps, an explanation, or a picture, as a piece of a page."""
    if isinstance(value, Graph | Steps):
        return embed(value.trace())
    if isinstance(value, Explanation):
        return html_of(value)
    return f"<figure>{inline(value._repr_mimebundle_()['image/svg+xml'])}</figure>"


def inline(svg: str) -> str:
    """A picture without the head that it has as a file of its own."""
    return svg[svg.index("<svg") :]


def written_for(docs: Path) -> dict[str, str]:
    """What all pages below `docs` include, by the names of the files."""
    pages = [page for page in sorted(docs.glob("*.md")) if "<!-- shown: " in page.read_text(encoding="utf-8")]
    return {name: text for page in pages for name, text in fragments(page).items()}
