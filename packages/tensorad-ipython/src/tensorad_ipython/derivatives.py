"""The derivatives that a line asks for: contexts around a cell, each order worked out as its context closes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from IPython.core.error import UsageError

import tensorad as ts
from tensorad_ipython.cell import Place
from tensorad_ipython.request import Request

MOST_ENTRIES = 10_000_000  # of a Jacobian or a Hessian


@dataclass(frozen=True)
class Source:
    """One of the sources: its expression, the tensors in it by what they are called, and its structure."""

    label: str
    name: str | None
    tensors: dict[str, Any]
    structure: Any

    def arranged(self, by_label: dict[str, Any]) -> Any:
        """What `by_label` has for the tensors of this source, in the source's own structure."""
        return ts.tree.unflatten(self.structure, [by_label[label] for label in self.tensors])


@dataclass(frozen=True)
class Derivative:
    """One derivative by one tensor: of the target, or (`of`) of the derivative before it by some tensor.

    A matrix has the derivative of each entry of that by each entry of the tensor; else it is the derivative of the sum.
    """

    order: int
    of: str | None
    by: str
    value: Any
    matrix: bool = False


@dataclass(frozen=True)
class Level:
    """All derivatives of one order: what a name of theirs begins with, and their values by the tensors' labels.

    In a Hessian, the value at a label is again a dict by labels.
    """

    prefix: str
    order: int
    values: dict[str, Any]
    matrix: bool = False

    @property
    def derivatives(self) -> list[Derivative]:
        """One by one."""
        if self.matrix and self.order == 2:
            return [Derivative(2, of, by, value, True) for of, row in self.values.items() for by, value in row.items()]
        of = lambda by: by if self.order > 1 else None  # noqa: E731
        return [Derivative(self.order, of(by), by, value, self.matrix) for by, value in self.values.items()]


@dataclass
class Run:
    """What one run gave."""

    value: Any = None  # of the cell's last expression
    target: Any = None
    cotangent: Any = None
    sources: list[Source] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)

    @property
    def tensors(self) -> dict[str, Any]:
        """All tensors among the sources, by label."""
        return {label: tensor for source in self.sources for label, tensor in source.tensors.items()}

    @property
    def derivatives(self) -> list[Derivative]:
        """All that was found, in the order in which it is shown."""
        return [each for level in self.levels for each in level.derivatives]

    @property
    def values(self) -> tuple[Any, ...]:
        """The target and what was found, order by order, each in the structure of the sources."""
        return (self.target, *(self._arranged(self._rows(level)) for level in self.levels))

    def names(self, into: str | None) -> dict[str, Any]:
        """The names that the derivatives get: `dx`, `d2x`, `Jx` or `Hx` for a source `x`, and those after `into`."""
        names = {
            f"{level.prefix}{source.name}": source.arranged(self._rows(level))
            for source in self.sources
            if source.name
            for level in self.levels
        }
        return names | (dict(zip(numbered(into, len(self.levels)), self.values[1:], strict=True)) if into else {})

    def _rows(self, level: Level) -> dict[str, Any]:
        rows = level.values.items()
        return {label: self._arranged(row) if isinstance(row, dict) else row for label, row in rows}

    def _arranged(self, by_label: dict[str, Any]) -> Any:
        """What `by_label` has, in the structure of the only source, or as a tuple of those of all sources."""
        arranged = tuple(source.arranged(by_label) for source in self.sources)
        return arranged[0] if len(arranged) == 1 else arranged

    def below(self, derivative: Derivative) -> Any:
        """What `derivative` is the derivative of."""
        return self.target if derivative.of is None else self.levels[derivative.order - 2].values[derivative.of]


def prefixes(request: Request, order: int) -> list[str]:
    """What the names of the derivatives of each order begin with."""
    return ["J"] if request.options.jacobian else ["d", "H"] if request.options.hessian else numbered("d", order)


def numbered(name: str, count: int) -> list[str]:
    """`d`, `d2`, `d3`: the names for `count` orders."""
    return [f"{name}{order if order > 1 else ''}" for order in range(1, count + 1)]


async def run(request: Request, contexts: list[ts.Grad], place: Place, body: Callable[[], Awaitable[Any]]) -> Run:
    """Run `body` inside `contexts`, of which the first is the innermost, and work out what `request` asks for.

    A context is asked after it has closed: its gradient is recorded by the ones around it, which differentiate it in
    turn, and by nobody else.
    """
    found = Run()
    opened: list[ts.Grad] = []
    try:
        for context in reversed(contexts):
            place.call(context.__enter__)  # from the user's line, which its messages quote
            opened.append(context)
        found.value = await body()
        if request.target is not None:
            _evaluate(request, place, found)
        while opened:
            context = opened.pop()
            context.__exit__()
            if request.target is not None:
                found.levels.append(_level(request, context, place, found))
        return found
    finally:
        while opened:
            opened.pop().__exit__()


def _evaluate(request: Request, place: Place, found: Run) -> None:
    assert request.target is not None
    found.target = place.evaluate(request.target.text)
    for each in request.sources:
        nest = place.evaluate(each.text)
        values, structure = ts.tree.flatten(nest)
        labels = [each.text + path for path in ts.tree.paths(nest)]
        found.sources.append(Source(each.text, each.name, dict(zip(labels, values, strict=True)), structure))
    if request.options.cotangent:
        found.cotangent = place.evaluate(request.options.cotangent)


def _level(request: Request, context: ts.Grad, place: Place, found: Run) -> Level:
    """The next order: each tensor's last derivative, differentiated by that tensor; or in a Hessian by all of them."""
    tensors, order = found.tensors, len(found.levels) + 1
    prefix = prefixes(request, order)[order - 1]
    if order == 1:
        # Also before a Jacobian: it refuses what cannot be differentiated.
        first = place.call(context.gradient, found.target, tensors, cotangent=found.cotangent)
        if request.options.jacobian:
            return Level(prefix, 1, _jacobian(context, place, found.target, tensors), matrix=True)
        return Level(prefix, 1, first)
    below = found.levels[-1].values
    if request.options.hessian:
        rows = {label: _jacobian(context, place, first, tensors) for label, first in below.items()}
        return Level(prefix, 2, rows, matrix=True)
    values = {label: place.call(context.gradient, last, tensors[label]) for label, last in below.items()}
    return Level(prefix, order, values)


def _jacobian(context: ts.Grad, place: Place, target: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    """The derivative of each entry of `target` by each entry of each tensor, in the target's shape and the tensor's."""
    if any(each.data.is_complex() for each in (target, *tensors.values())):
        raise UsageError("--jacobian and --hessian are for real values; complex ones have gradients only")
    entries = target.data.numel() * sum(tensor.data.numel() for tensor in tensors.values())
    if entries > MOST_ENTRIES:
        raise UsageError(
            f"the matrix would have {entries:,} entries: --cotangent EXPR asks for one combination of its rows instead"
        )
    return place.call(context.jacobian, target, tensors)
