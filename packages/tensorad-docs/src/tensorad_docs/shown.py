"""What pages of the site show of their own programs.

A page runs block by block. Where `<!-- shown: EXPRESSION -->` stands between two blocks, the value of the expression is
written to the file that the next line of the page includes, as something to click on or as a picture.
"""

import linecache
import re
from pathlib import Path
from typing import Any

from tensorad.looking.explain import Explanation
from tensorad.looking.graph import Graph
from tensorad.looking.steps import Steps
from tensorad_ipython.explained import html_of
from tensorad_ipython.page import embed

_PARTS = re.compile(r'```python\n(?P<code>.*?)```|<!-- shown: (?P<shown>.*?) -->\n--8<-- "(?P<file>.*?)"', re.DOTALL)


def fragments(page: Path) -> dict[str, str]:
    """The files that a page includes, by their names, and the HTML in each."""
    scope: dict[str, Any] = {"print": lambda *_: None}
    found: dict[str, str] = {}
    for number, part in enumerate(_PARTS.finditer(page.read_text(encoding="utf-8"))):
        if part["code"]:
            # Under a name of its own, of which the page's is what is shown, so that lines can be quoted.
            name = f"{number}/{page.name}"
            linecache.cache[name] = (0, None, part["code"].splitlines(keepends=True), name)
            exec(compile(part["code"], name, "exec"), scope)
        else:
            found[part["file"]] = fragment(eval(part["shown"], scope))
    return found


def fragment(value: Any) -> str:
    """A graph, steps, an explanation, or a picture, as a piece of a page."""
    if isinstance(value, Graph | Steps):
        return embed(value.trace())
    if isinstance(value, Explanation):
        return html_of(value)
    svg = value._repr_mimebundle_()["image/svg+xml"]
    return f"<figure>{svg[svg.index('<svg') :]}</figure>"


def written_for(docs: Path) -> dict[str, str]:
    """What all pages below `docs` include, by the names of the files."""
    pages = [page for page in sorted(docs.glob("*.md")) if "<!-- shown: " in page.read_text(encoding="utf-8")]
    return {name: text for page in pages for name, text in fragments(page).items()}
