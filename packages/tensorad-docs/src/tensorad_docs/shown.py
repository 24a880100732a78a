"""What pages of the site show of their own programs: `python -m tensorad_docs.shown docs` writes it beside them.

A page runs block by block. Where `<!-- shown: EXPRESSION -->` stands between two blocks, the value of the expression is
written to the file that the next line of the page includes, as something to click on or as a picture.
"""

import linecache
import re
import sys
from pathlib import Path
from typing import Any

from tensorad.looking.explain import Explanation
from tensorad.looking.graph import Graph
from tensorad.looking.steps import Steps
from tensorad_ipython.explained import html_of
from tensorad_ipython.page import embed, host

_PARTS = re.compile(r'```python\n(?P<code>.*?)```|<!-- shown: (?P<shown>.*?) -->\n--8<-- "(?P<file>.*?)"', re.DOTALL)
SCRIPT = "assets/view.js"


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


def write(docs: Path) -> None:
    """Write what all pages below `docs` include, and the script that draws it."""
    made = {SCRIPT: host()}
    for page in sorted(docs.glob("*.md")):
        if "<!-- shown: " in page.read_text(encoding="utf-8"):
            made |= fragments(page)
    for name, text in made.items():
        (docs / name).parent.mkdir(exist_ok=True)
        (docs / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
