"""Noticing that a saved value was changed in place since: its derivative would be wrong."""

import ast
import linecache
import math
from collections.abc import Sequence
from typing import Any

import optree
import torch

from tensorad.errors import MutationError
from tensorad.node import Node
from tensorad.operands import INERT
from tensorad.site import Site, caller, line_in, line_number, line_of, name_of

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
    asking = caller()
    asked = line_number(*asking) if asking[0] is code else math.inf
    lines = {line for _, _, line in code.co_lines()}
    try:
        program = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:  # a cell with magics in it, say
        return []
    found = {each.lineno for each in ast.walk(program) if isinstance(each, ast.Call | ast.Assign | ast.AugAssign)
             and each.lineno in lines and saved <= each.lineno <= asked and _looks_like_a_change(each)}  # fmt: skip
    return [(file, number) for number in sorted(found)[-3:]]


def _looks_like_a_change(statement: ast.Call | ast.Assign | ast.AugAssign) -> bool:
    if isinstance(statement, ast.Call):
        name = statement.func.attr if isinstance(statement.func, ast.Attribute) else ""
        in_place = name.endswith("_") and not name.endswith("__")
        return in_place or name == "step" or any(each.arg == "out" for each in statement.keywords)
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return any(isinstance(each, ast.Subscript) or (isinstance(each, ast.Attribute) and each.attr == "data" and
               isinstance(statement, ast.AugAssign)) for each in targets)  # fmt: skip
