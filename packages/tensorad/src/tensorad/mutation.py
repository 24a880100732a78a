"""Noticing that a saved value was changed in place since: its derivative would be wrong."""

import ast
import contextlib
import inspect
import linecache
import math
import sys
from collections.abc import Iterator, Sequence
from types import CodeType, FrameType
from typing import Any

import optree
import torch

from tensorad.errors import MutationError
from tensorad.node import Node
from tensorad.operands import INERT
from tensorad.site import Site, line_in, line_number, line_of, name_of, parsed

_TorchTensor = torch.Tensor  # a global is found faster than an attribute, and `version` runs at every op


def version(saved: Sequence[Any]) -> int:
    """The sum of torch's version counters over the saved tensors: it grows when one of them is changed in place."""
    total = 0
    try:
        for value in saved:
            kind = type(value)
            if kind is _TorchTensor:
                total += value._version
            elif kind not in INERT:
                if isinstance(value, (tuple, list)):
                    total += version(value)
                else:
                    total += sum(getattr(each, "_version", 0) for each in optree.tree_leaves(value))
    except RuntimeError:  # a tensor made under torch.inference_mode() has no counter: nothing can be told
        return -1
    return total


def mutated(node: Node) -> MutationError:
    """The error for a node whose saved values are not what they were."""
    changes = [line_in(file, number) for file, number in _changes_after(node.site)] if node.site else []
    where = f", as it seems {' or '.join(changes)}" if changes else ""
    return MutationError(
        f"a value that {name_of(node)} saved {line_of(node)} was changed in place since{where}. So its derivative "
        "would be wrong. Change a copy (t.clone()), or ask for the gradient before the change"
    )


def _changes_after(site: Site) -> list[tuple[str, int]]:
    """The lines between the one that saved a value and the one that asks now that look like a change in place.

    torch counts such changes, but does not say where they were made. So the function is read that saved the value:
    calls of methods that end in an underscore, optimizers' steps, `out=`, assignments to a part of something or to its
    `.data`.
    """
    code, file, saved = site[0], site[0].co_filename, line_number(*site)
    if (program := parsed(linecache.getlines(file))) is None:
        return []
    if not code.co_flags & inspect.CO_OPTIMIZED:  # no function: a notebook compiles a cell statement by statement
        with contextlib.suppress(SyntaxError):  # the text may not be what ran
            code = compile(program, file, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    asked = next((frame.f_lineno for frame in _frames() if _is_of(frame.f_code, code)), math.inf)
    lines = {line for _, _, line in code.co_lines()}
    found: dict[bool, set[int]] = {True: set(), False: set()}  # whether it is likely -> the lines
    for each in ast.walk(program):
        if isinstance(each, ast.Call | ast.Assign | ast.AugAssign) and each.lineno in lines:
            likely = _looks_like_a_change(each)
            if likely is not None and saved <= each.lineno <= asked:
                found[likely].add(each.lineno)
    return [(file, number) for number in sorted(found[True] or found[False])[-3:]]


def _is_of(running: CodeType, code: CodeType) -> bool:
    """Whether what runs is `code`, or, of a cell, a statement of it."""
    function = (running.co_flags | code.co_flags) & inspect.CO_OPTIMIZED
    return running is code or (not function and running.co_filename == code.co_filename)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        yield frame
        frame = frame.f_back


def _looks_like_a_change(statement: ast.Call | ast.Assign | ast.AugAssign) -> bool | None:
    """True for what most likely changes a tensor in place, False for what may, None for what does not."""
    if isinstance(statement, ast.Call):
        if not isinstance(statement.func, ast.Attribute) or isinstance(statement.func.value, ast.Call):
            return None  # of something new, as torch.ones(3).mul_(2)
        name = statement.func.attr
        in_place = (name.endswith("_") and not name.endswith("__")) or name in ("step", "load_state_dict")
        return True if in_place or any(each.arg == "out" for each in statement.keywords) else None
    for each in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
        if isinstance(each, ast.Subscript) and not (
            isinstance(each.slice, ast.Constant) and isinstance(each.slice.value, str)
        ):
            return True
        if isinstance(statement, ast.AugAssign):
            return isinstance(each, ast.Attribute) and each.attr == "data"
    return None
