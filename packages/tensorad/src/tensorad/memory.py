"""`g.memory()`: what the nodes of a recording have saved, and how much that is."""

import gc
from typing import TYPE_CHECKING, NamedTuple

import optree
import torch

from tensorad.node import Node
from tensorad.site import line_of, name_of

if TYPE_CHECKING:
    from tensorad.grad import Grad

_SHOWN = 20  # rows of a report


class Saved(NamedTuple):
    """What one node has saved.

    Attributes:
        bytes: the size of the memory behind it.
        op: the op's name.
        line: the user's line, in words.
        values: the shapes of what was saved, by the names that the rule gives to it.
    """

    bytes: int
    op: str
    line: str
    values: dict[str, list[tuple[int, ...]]]

    def __str__(self) -> str:
        shapes = ", ".join(f"{name} {' '.join(map(str, found))}" for name, found in self.values.items())
        return f"{_readable(self.bytes):>10}  {self.op} {self.line}: {shapes}"


class Memory(NamedTuple):
    """What a recording has saved: print it, or take its parts.

    Attributes:
        bytes: the size of all of it, memory that several values share counted once.
        nodes: how many nodes are alive.
        rows: a Saved for each node that has saved something, the largest first.
    """

    bytes: int
    nodes: int
    rows: list[Saved]

    def __repr__(self) -> str:
        shared = sum(row.bytes for row in self.rows) - self.bytes
        note = f" ({_readable(shared)} of the sizes below are memory that several of them share)" * (shared > 0)
        lines = [f"{_readable(self.bytes)} saved by {len(self.rows)} of {self.nodes} nodes{note}"]
        lines += map(str, self.rows[:_SHOWN])
        left = self.rows[_SHOWN:]
        if left:
            lines.append(f"{_readable(sum(row.bytes for row in left)):>10}  {len(left)} more")
        return "\n".join(lines)


def memory(context: "Grad") -> Memory:
    """What the nodes have saved that `context` recorded, and that are still alive."""
    # Nobody keeps a list of nodes: they live as long as what was computed with them. The garbage collector knows them.
    nodes = [each for each in gc.get_objects() if type(each) is Node and context in each.contexts]
    everything: dict[int, int] = {}
    rows: list[Saved] = []
    for node in nodes:
        storages: dict[int, int] = {}
        values: dict[str, list[tuple[int, ...]]] = {}
        for name, value in zip(node.op.saves, node.saved, strict=True):
            tensors = [each for each in optree.tree_leaves(value) if isinstance(each, torch.Tensor)]
            if tensors:
                values[name] = [tuple(each.shape) for each in tensors]
            storages |= {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}
        everything |= storages
        if values:
            rows.append(Saved(sum(storages.values()), name_of(node), line_of(node), values))
    return Memory(sum(everything.values()), len(nodes), sorted(rows, key=lambda row: row.bytes, reverse=True))


def _readable(count: int) -> str:
    power = min(max(count, 1).bit_length() // 10, 3)
    return f"{count / 1024**power:.4g} {('bytes', 'KiB', 'MiB', 'GiB')[power]}"
