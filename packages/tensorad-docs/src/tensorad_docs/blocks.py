"""The program of a page: its blocks of Python, which run one after the other with the same names."""

import linecache
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

# Indented where they are folded: in a solution, say.
_BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```(?:\n\n\1```text\n(.*?)^\1```)?", flags=re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of code, and the text that stands below it as what it prints."""

    code: str
    output: str


def blocks(text: str) -> list[Block]:
    """The blocks of Python in a page, or in a part of one."""
    return [Block(textwrap.dedent(code), textwrap.dedent(output)) for _, code, output in _BLOCK.findall(text)]


def run(block: Block, number: int, page: Path, names: dict[str, Any]) -> None:
    """Run a block of a page with `names`, and leave there what it binds."""
    # Under a name of its own, of which the page's is what is shown, so that messages can quote the line.
    name = f"{number}/{page.name}"
    linecache.cache[name] = (len(block.code), None, block.code.splitlines(keepends=True), name)
    exec(compile(block.code, name, "exec"), names)
