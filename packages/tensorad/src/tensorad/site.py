"""Where in the user's program something happened: a code object and an instruction, put into words on demand."""

import ast
import contextlib
import functools
import linecache
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import optree.ops
import torch

from tensorad.errors import RuleError
from tensorad.node import Contexts, Node, recording

if TYPE_CHECKING:
    from tensorad.grad import Grad

Site = tuple[CodeType, int]
_MAGIC = ("%", "!")  # what lines of a notebook's cell begin with that are no Python
WRITTEN = "<written by tensorad>"  # the file name, so to speak, of the calls that call.py writes


def _files(package: str) -> Iterator[str]:
    return (str(path) for path in Path(package).parent.rglob("*.py"))


# The files that stand between the user's line and an op: tensorad's own, and those parts of torch that are Python.
_IN_BETWEEN = (
    contextlib,  # calls what makes a span, such as `asking`
    torch.functional,
    torch.overrides,
    sys.modules[torch.Tensor.__module__],
    torch.nn.functional,
    sys.modules["torch.utils.dlpack"],
    sys.modules["torch._jit_internal"],  # which chooses between two functions, as in max_pool2d
    optree.ops,
)
_TORCH = str(Path(torch.__file__).parent)
INSIDE = {
    WRITTEN,
    *_files(__file__),
    *_files(torch.nn.modules.__file__),
    *(module.__file__ or "" for module in _IN_BETWEEN),
}


def user_site(frame: FrameType) -> Site:
    """The user's own place in the program: that of the nearest frame, from `frame` up, outside tensorad and torch."""
    code = frame.f_code
    while code.co_filename in INSIDE and frame.f_back is not None:
        frame = frame.f_back
        code = frame.f_code
    return code, frame.f_lasti


def caller() -> Site:
    """`user_site` of whoever called tensorad."""
    return user_site(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]


def levels() -> int:
    """How many calls up the user's line is, for a warning by the caller."""
    frame, level = sys._getframe(1), 1  # pyright: ignore[reportPrivateUsage]
    while frame.f_back and (frame.f_code.co_filename in INSIDE or frame.f_code.co_filename.startswith(_TORCH)):
        frame, level = frame.f_back, level + 1
    return level


class Asking:
    """A span in which all that is recorded belongs to the user's line that is running now: it asks for a derivative."""

    def __enter__(self) -> None:
        contexts = recording.get()
        self.token = recording.set(Contexts(contexts.entries, caller()) if contexts else contexts)

    def __exit__(self, *error: object) -> None:
        recording.reset(self.token)


@functools.lru_cache(maxsize=100_000)
def line_number(code: CodeType, instruction: int) -> int:
    """The line of the instruction at byte `instruction` of `code`."""
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            return line
    return code.co_firstlineno


def place(file_name: str, number: int) -> str:
    """Such as `train.py:12`. A program whose files have other names for people, such as a notebook, replaces this."""
    name = re.split(r"[/\\]", file_name)[-1]
    return f"{name}:{number}"


def line(site: Site | None) -> str:
    """Such as `at train.py:12 ("y = w * x")`; empty if the place is not known."""
    if site is None:
        return ""
    return line_in(site[0].co_filename, line_number(*site))


def line_in(file_name: str, number: int) -> str:
    """The same, for a line of a file."""
    text = linecache.getline(file_name, number).strip()
    return f"at {place(file_name, number)}" + (f" ({text!r})" if text else "")


def parsed(lines: Sequence[str]) -> ast.Module | None:
    """The lines of a file, or of a notebook's cell without its magics, as syntax; None where they are no Python."""
    for text in (lines, ["\n" if each.startswith(_MAGIC) else each for each in lines]):
        with contextlib.suppress(SyntaxError, ValueError):
            return ast.parse("".join(text))
    return None


def line_of(node: Node) -> str:
    """The user's line that made `node`."""
    return line(node.site) or "(made under no context)"


def name_of_context(context: "Grad") -> str:
    """Its name, or what its own `with` line calls it, such as `g2`; `the Grad` where that cannot be told."""
    site = context.site
    text = linecache.getline(site[0].co_filename, line_number(*site)) if site else ""
    found = re.findall(r"Grad\(.*?\)\s+as\s+(\w+)", text)
    return context.name or (found[0] if len(found) == 1 else "the Grad")


def name_of(node: Node) -> str:
    """The name of the op that made `node`."""
    return node.op.name if node.op else "a leaf"


def misfit(g: Any, parent: Node, node: Node) -> RuleError:
    """The error for what a rule returned in the place of its operand's cotangent."""
    kind = f"cotangent of shape {tuple(g.shape)}" if hasattr(g, "shape") else f"{type(g).__name__}"
    return RuleError(f"the rule of {name_of(node)} returned a {kind} for an operand of shape {tuple(parent.shape)}")


def miscounted(count: int, node: Node) -> RuleError:
    """The error for a rule that returned more or fewer cotangents than its op has operands."""
    return RuleError(f"the rule of {name_of(node)} returned {count} cotangents for {len(node.parents)} operands")
