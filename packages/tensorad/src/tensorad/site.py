"""Where in the user's program something happened: a code object and an instruction, put into words on demand."""

import linecache
import re
from types import CodeType

from tensorad.node import Node, Site


def line_number(code: CodeType, instruction: int) -> int:
    """The line of the instruction at byte `instruction` of `code`."""
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            return line
    return code.co_firstlineno


def line(site: Site | None) -> str:
    """Such as `at train.py:12 ("y = w * x")`; empty if the place is not known."""
    if site is None:
        return ""
    code, number = site[0], line_number(*site)
    text = linecache.getline(code.co_filename, number).strip()
    name = re.split(r"[/\\]", code.co_filename)[-1]
    return f"at {name}:{number}" + (f" ({text!r})" if text else "")


def line_of(node: Node) -> str:
    """The user's line that made `node`."""
    return line(node.site) or "(made under no context)"


def name_in_with(site: Site | None) -> str:
    """What a context is called in its own `with` line: `g2` of `with ts.Grad() as g2:`; `the Grad` if it has no name."""
    text = linecache.getline(site[0].co_filename, line_number(*site)) if site else ""
    found = re.findall(r"Grad\([^)]*\)\s+as\s+(\w+)", text)
    return found[0] if len(found) == 1 else "the Grad"
