"""Noticing that a saved value was changed in place since: its derivative would be wrong."""

from collections.abc import Sequence
from typing import Any

import optree
import torch

from tensorad.errors import MutationError
from tensorad.node import Node
from tensorad.operands import INERT
from tensorad.site import line_of, name_of

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
    return MutationError(
        f"a value that {name_of(node)} saved {line_of(node)} was changed in place since, so its derivative would be "
        "wrong. Change a copy (t.clone()), or ask for the gradient before the change"
    )
