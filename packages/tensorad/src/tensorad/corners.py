"""Which conventions a gradient relied on: `Grad(check="corners")`, and what `g.corners()` then lists.

As an op is recorded, the rows of conventions.py that are about it say which of its entries sit on a corner or in a tie.
As a gradient goes back through those, with a cotangent that makes them count, it has relied on the row's value.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from tensorad.conventions import CONVENTIONS, Convention, Entries, any_cotangent
from tensorad.errors import ConventionWarning
from tensorad.node import Node, recording
from tensorad.op import find
from tensorad.operands import keywords, plain
from tensorad.several import Outputs, Parts
from tensorad.site import levels, line_of, name_of, name_of_context
from tensorad.tensor import Tensor
from tensorad.watching import Pull, Watcher

if TYPE_CHECKING:
    from tensorad.grad import Grad

functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue] # what torch.vmap batches
_FIRST = 5  # how many entries are printed, and
_MOST = 20  # how many ops


@dataclass(frozen=True, eq=False, repr=False)
class Corner:
    """An op with entries at which a gradient relied on a convention: `print` it, or take its parts.

    Attributes:
        op: the op's name.
        line: the user's line, in words.
        row: what the gradient is there, to tensorad, to torch and to JAX.
        of: whose entries they are: `"the output"`, or an operand's name.
        mask: which entries: a torch tensor of bools, of the shape of what they are of.
        values: what stands at them, in their order, by the names of the operands, or of what they are of.
    """

    op: str
    line: str
    row: Convention
    of: str
    mask: torch.Tensor
    values: dict[str, torch.Tensor]

    @property
    def count(self) -> int:
        """How many entries."""
        return int(self.mask.sum())

    @property
    def indices(self) -> list[tuple[int, ...]]:
        """The indices of the entries."""
        return [tuple(index) for index in self.mask.nonzero().tolist()]

    def __repr__(self) -> str:
        row = f"{self.row.where}: {self.row.ours} (torch: {self.row.torch}; JAX: {self.row.jax})"
        return f"{self.head()}\n    {row.replace('`', '').replace('**', '')}"

    def head(self) -> str:
        """The op, the line and the entries, in words: what is printed, but for the convention."""
        count, more = self.count, ", ..." * (self.count > _FIRST)
        what = f"{count} entr{'y' if count == 1 else 'ies'} of {self.of}" if self.mask.ndim else self.of
        places = ", ".join(str(list(index)) for index in self.indices[:_FIRST]) + more if self.mask.ndim else ""
        numbers = "; ".join(f"{name} = {_numbers(value)}" for name, value in self.values.items())
        return f"{self.op} {self.line}: {what}{' at ' * bool(places)}{places}, where {numbers}"


def _numbers(values: torch.Tensor) -> str:
    """The first few, or the one that all of them are."""
    some = values[:1] if bool((values == values[0]).all()) else values[:_FIRST]
    return ", ".join(f"{number:.6g}" for number in some.tolist()) + ", ..." * (_FIRST == len(some) < len(values))


class Corners(tuple[Corner, ...]):
    """What the gradients relied on: a tuple with a Corner for each op, in the order in which the ops ran.

    Attributes:
        unseen: whether there were ops whose values could not be looked at, inside of torch.vmap for one.
    """

    unseen = False

    def __repr__(self) -> str:
        lines = [repr(each) for each in self[:_MOST]] or ["no gradient relied on a convention"]
        if len(self) > _MOST:
            lines.append(f"... and {len(self) - _MOST} more")
        if self.unseen:
            lines.append("not looked at: values inside of torch.vmap, and others that are no tensors of plain numbers")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class _Sitting:
    """Entries of an op that sit on a corner, before anybody knows whether a gradient relies on it."""

    row: Convention
    entries: Entries
    values: dict[str, torch.Tensor]  # at the entries of the mask, in their order


class CornerWatcher(Watcher):
    """It notes the corners as the ops are recorded, and the ones that were relied on as gradients go back."""

    def __init__(self) -> None:
        self.sitting: WeakKeyDictionary[Node, list[_Sitting]] = WeakKeyDictionary()
        # By the number of the node, and that of the place in its list: of all passes, and of the one that is running.
        self.found: dict[tuple[int, int], Corner] = {}
        self.fresh: dict[tuple[int, int], Corner] = {}
        self.unseen = False

    def report(self) -> Corners:
        """What the gradients so far relied on."""
        report = Corners([self.found[key] for key in sorted(self.found)])
        report.unseen = self.unseen
        return report

    def made(self, tensor: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep which entries sit on a corner, if any do."""
        node: Any = tensor.node
        if rows := _ROWS.get(node.op.name):
            given = _given(node.op, tensor.data, args, kwargs)
            rows = [row for row in rows if row.needs <= given.keys()]
            if not all(map(_legible, given.values())):
                self.unseen |= bool(rows)
            elif found := [each for row in rows for each in _sitting(row, given, node.op.operands)]:
                self.sitting[node] = found

    def around(self, node: Node, pulls: Sequence[Pull], order: int) -> Sequence[Pull]:
        """Pulls that look at the cotangent, where entries of the node sit on a corner."""
        places = self.sitting.get(node)
        if places is None:
            return pulls
        return [self._looking(node, places, *each) for each in zip(node.op.operands, pulls, strict=True)]

    def _looking(self, node: Node, places: list[_Sitting], operand: str, pull: Pull) -> Pull:
        concerned = [
            (place, each) for place, each in enumerate(places) if not each.row.by or operand in each.row.by.split()
        ]

        def looked_at(g: Any, saved: Any) -> Any:
            for place, each in concerned:
                if (node.number, place) not in self.fresh and (mask := _relied(each.entries, g)) is not None:
                    self._note(node, place, each, mask)
            return pull(g, saved)

        return looked_at

    def _note(self, node: Node, place: int, sitting: _Sitting, mask: torch.Tensor) -> None:
        key = node.number, place
        corner = _corner(node, sitting, mask)
        self.fresh[key] = corner
        before = self.found.get(key)
        self.found[key] = corner if before is None else _corner(node, sitting, mask | before.mask)

    def passed(self, owner: "Grad", failed: bool) -> None:
        """One warning for the pass, from one of the contexts that looked at it."""
        fresh = [self.fresh[key] for key in sorted(self.fresh)]
        if not fresh or failed:
            self.fresh = {}
            return
        contexts = [owner, *recording.get()]
        for watcher in [watcher for each in contexts for watcher in each.watchers]:
            if isinstance(watcher, CornerWatcher):
                watcher.fresh = {}
        name = next(name_of_context(each) for each in contexts if self in each.watchers)
        what = "a convention" if len(fresh) == 1 else f"conventions in {len(fresh)} places, the first of them"
        warnings.warn(
            f"this gradient relied on {what}: {fresh[0].head()}. {name}.corners() lists what it relied on",
            ConventionWarning,
            stacklevel=levels(),
        )


def _corner(node: Node, sitting: _Sitting, mask: torch.Tensor) -> Corner:
    those = mask[sitting.entries.mask]
    values = {name: value[those] for name, value in sitting.values.items()}
    return Corner(_shown(name_of(node), sitting.row), line_of(node), sitting.row, sitting.entries.of, mask, values)


def _shown(name: str, row: Convention) -> str:
    """The name as users type it; of an op that only tensorad's functions are made of, the one that its row is about."""
    if find(name) and not name.startswith("_"):
        return name
    public = [each for each in row.ops.split() if find(each) and not each.startswith("_")]
    return public[0] if len(public) == 1 else name.removeprefix("_C._nn.")


class _Row:
    """A row that can tell its corners, with what its predicate needs, and what it takes."""

    def __init__(self, row: Convention) -> None:
        self.row: Any = row
        code, defaults = self.row.corner.__code__, self.row.corner.__defaults__ or ()
        self.takes = code.co_varnames[: code.co_argcount]
        self.needs = {*self.takes[: len(self.takes) - len(defaults)]}


def _rows() -> dict[str, list[_Row]]:
    found: dict[str, list[_Row]] = {}
    for row in CONVENTIONS:
        for name in row.ops.split() if row.corner else ():
            found.setdefault(name, []).append(_Row(row))
    return found


_ROWS = _rows()  # the name of an op -> the rows that are about it


@cache
def _binding(arguments: str) -> Callable[..., dict[str, Any]]:
    """A function of these arguments that gives them by name."""
    return eval(f"lambda {arguments}, **_: locals()")


def _given(op: Any, data: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an op by name, its output, and its name."""
    out = data.values if isinstance(data, Outputs) else data
    return _binding(op.arguments)(*plain(args), **keywords(kwargs)) | {"out": out, "name": op.name}


def _legible(value: Any) -> bool:
    """Whether a value can be compared with numbers here and now: if a tensor, one that is nothing special."""
    if isinstance(value, tuple | list):
        return all(map(_legible, value))
    if not isinstance(value, torch.Tensor):
        return True
    special = functorch.is_batchedtensor(value) or value.layout is not torch.strided or value.device.type == "meta"
    return type(value) is torch.Tensor and not special


def _sitting(row: _Row, given: dict[str, Any], operands: Sequence[str]) -> list[_Sitting]:
    """What the predicate of a row finds in an op; with the values there."""
    if any(isinstance(value, torch.Tensor) and not value.numel() for value in given.values()):
        return []
    found = row.row.corner(**{name: given[name] for name in row.takes if name in given})
    return [
        _with_values(row.row, each, given, operands)
        for each in (found if isinstance(found, list) else [found])
        if each is not None and bool((each.mask if isinstance(each, Entries) else each).any())
    ]


def _with_values(row: Convention, found: Any, given: dict[str, Any], operands: Sequence[str]) -> _Sitting:
    if isinstance(found, Entries):
        name = "input" if found.of == "input" else "value"
        return _Sitting(row, found, {name: found.values.detach()[found.mask]})
    out = given["out"][0] if isinstance(given["out"], tuple) else given["out"]
    operand = [name for name in operands if isinstance(given[name], torch.Tensor | int | float)]
    tensors = {name: torch.as_tensor(given[name], device=out.device) for name in operand}
    shape = torch.broadcast_shapes(found.shape, *(each.shape for each in tensors.values()))
    mask = found.expand(shape)
    values = {name: each.expand(shape)[mask] for name, each in tensors.items()}
    return _Sitting(row, Entries(mask, "the output" if shape == out.shape else operands[0], out), values)


def _relied(entries: Entries, g: Any) -> torch.Tensor | None:
    """Which of the entries count for a cotangent; None if none does."""
    g = g.by_place.get(entries.output) if isinstance(g, Parts) else g
    if g is None:
        return None
    g = _batch(plain(g))
    if entries.relied is not None:
        counting = entries.relied(g)
    else:
        counting = (g != 0) if g.shape[1:] == entries.mask.shape else any_cotangent(g)
    counting = counting.reshape(*counting.shape, *[1] * (entries.mask.ndim + 1 - counting.ndim))
    mask = (entries.mask & counting).any(0)
    return mask if bool(mask.any()) else None


def _batch(g: torch.Tensor) -> torch.Tensor:
    """A cotangent as a batch of them: of one, or under torch.vmap, of all that it stands for."""
    count, dims = 1, 0
    while functorch.is_batchedtensor(g):
        dim = functorch.maybe_get_bdim(g)
        g = functorch.get_unwrapped(g).movedim(dim, 0)
        count, dims = count * g.shape[0], dims + 1
    return g.reshape(count, *g.shape[dims:])
