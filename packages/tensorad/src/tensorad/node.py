"""The graph: nodes, the edges between them, and the switch that says who is recording.

A `Node` is one recorded application of an op. Its edges are its `parents`: the nodes of the operands. Nodes take the
next number of one counter as they are made, so sorting by number is a topological order, and no walk needs recursion.
"""

import itertools
from contextvars import ContextVar
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch

from tensorad.errors import ContextError

next_number = itertools.count(1).__next__
_DTYPES = {each for each in vars(torch).values() if isinstance(each, torch.dtype)}
# Whether values of a dtype have derivatives: floating point and complex numbers do.
differentiable = {each for each in _DTYPES if each.is_floating_point or each.is_complex}.__contains__


class Contexts(frozenset[Any]):
    """The Grads that record now, out of `entries`: all that is open, outermost first, `stop_gradient` blocks among it.

    A node keeps the Contexts it was recorded under, so asking whether a Grad owns a node is one membership test however
    deep the nesting. The numbers alone could not tell: another thread, or another task, takes numbers in between.
    While a gradient is recorded, `site` is the line that asked for it, and all that is recorded then belongs there.
    Where all were entered with torch's grad mode on, `follows` says that a `torch.no_grad()` block stops the recording.
    `watchers` are shown each op as it is recorded, with its arguments (see watching.py), those of the outermost first.
    Where they look, `order` is that of the backward pass that records under these Contexts.
    """

    __slots__ = ("entries", "follows", "order", "site", "watchers")

    def __new__(cls, entries: tuple[Any, ...], site: Any = None) -> "Contexts":
        self = super().__new__(cls, itertools.takewhile(attrgetter("records"), reversed(entries)))
        self.entries, self.site, self.follows, self.order = entries, site, all(each.grad_mode for each in self), 0
        self.watchers = tuple([watcher for entry in entries if entry in self for watcher in entry.watchers])
        return self


# Threads start with nothing open, and each asyncio task has its own value: that is what a context variable is for.
recording: ContextVar[Contexts] = ContextVar("recording", default=Contexts(()))  # noqa: B039 - it is immutable


class Entry:
    """Something that is open between `with` and the end of its block, in one thread and task."""

    records = False  # whether it records; what it stands inside of does not
    watchers: tuple[Any, ...] = ()  # what is shown each op as it is recorded

    def __enter__(self) -> Any:
        self.grad_mode = torch.is_grad_enabled()
        if self in recording.get().entries:
            raise ContextError("this context is open already: open another one inside it")
        recording.set(Contexts((*recording.get().entries, self)))

    def __exit__(self, *error: object) -> None:
        # By identity, not by position: a generator that is closed late may leave its context after ones opened inside.
        recording.set(Contexts(tuple([entry for entry in recording.get().entries if entry is not self])))


@dataclass(slots=True, weakref_slot=True, eq=False, repr=False)
class Node:
    """One recorded application of an op, or a leaf (no op, no parents): a value that no open context recorded.

    Where only a forward mode records, it makes a leaf of a node as soon as it has the tangent: no graph is kept.

    Attributes:
        number: its place in the order of making.
        op: an Op, or None for a leaf.
        contexts: the Grads that recorded it.
        parents: the nodes of the operands, one per operand that the op can be differentiated by; None for a constant.
        saved: the values that the rules name, as torch tensors, in the order of `op.saves`.
        version: torch's count of changes in place to these, when it was made.
        shape: that of the output; of a tuple of outputs, the tuple of them.
        dtype: that of the output.
        site: the user's line, turned into words only when somebody asks.
        name: what pictures and messages call the value.
    """

    number: int
    op: Any
    contexts: frozenset[Any]
    parents: "tuple[Node | None, ...]"
    saved: tuple[Any, ...]
    version: int
    shape: Any
    dtype: Any
    site: Any = None
    name: str | None = None

    def __repr__(self) -> str:
        return f"<Node {self.number}: {self.op.name if self.op else 'leaf'}>"
