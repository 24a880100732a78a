"""The derivatives that a line asks for: contexts around a cell, each order worked out as its context closes."""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
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


@dataclass
class Run:
    """What one run gave."""

    value: Any = None  # of the cell's last expression
    target: Any = None
    cotangent: Any = None
    sources: list[Source] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)  # the first derivatives, the second, ..., by label
    matrices: dict[str | None, dict[str, Any]] = field(default_factory=dict)  # by label, of the target or of the first

    @property
    def tensors(self) -> dict[str, Any]:
        """All tensors among the sources, by label."""
        return {label: tensor for source in self.sources for label, tensor in source.tensors.items()}

    @property
    def derivatives(self) -> list[Derivative]:
        """All that was asked for, in the order in which it is shown."""
        sums = [
            Derivative(order, label if order > 1 else None, label, value)
            for order, by_label in enumerate(self.orders, 1)
            for label, value in by_label.items()
            if None not in self.matrices and (order == 1 or not self.matrices)  # a matrix takes the place of the sum
        ]
        matrices = [
            Derivative(1 if of is None else 2, of, label, value, matrix=True)
            for of, by_label in self.matrices.items()
            for label, value in by_label.items()
        ]
        return sums + matrices

    @property
    def values(self) -> tuple[Any, ...]:
        """The target and what was asked for, order by order, each in the structure of the sources."""
        orders = [] if None in self.matrices else self.orders[:1] if self.matrices else self.orders
        return (self.target, *map(self.arranged, orders), *self._matrix())

    def _matrix(self) -> list[Any]:
        if None in self.matrices:
            return [self.arranged(self.matrices[None])]
        rows = {of: self.arranged(by_label) for of, by_label in self.matrices.items()}
        return [self.arranged(rows)] if rows else []

    def arranged(self, by_label: dict[Any, Any]) -> Any:
        """What `by_label` has, in the structure of the only source, or as a tuple of those of all sources."""
        arranged = tuple(source.arranged(by_label) for source in self.sources)
        return arranged[0] if len(arranged) == 1 else arranged

    def names(self, into: str | None) -> dict[str, Any]:
        """The names that the derivatives get: `dx`, `d2x`, `Jx` or `Hx` for a source `x`, and those after `into`."""
        names: dict[str, Any] = {}
        plain = [source for source in self.sources if source.name]
        for source in plain:
            if None in self.matrices:
                names[f"J{source.name}"] = source.arranged(self.matrices[None])
                continue
            for order, by_label in enumerate(self.orders[:1] if self.matrices else self.orders, 1):
                names[f"d{order if order > 1 else ''}{source.name}"] = source.arranged(by_label)
            if self.matrices:
                rows = {of: self.arranged(self.matrices[of]) for of in source.tensors}
                names[f"H{source.name}"] = source.arranged(rows)
        if into:
            asked = self._matrix() or self.values[1:]
            names |= {f"{into}{order if order > 1 else ''}": each for order, each in enumerate(asked, 1)}
        return names

    def below(self, derivative: Derivative) -> Any:
        """What `derivative` is the derivative of."""
        return self.target if derivative.of is None else self.orders[derivative.order - 2][derivative.of]


async def run(request: Request, contexts: list[ts.Grad], place: Place, body: Callable[[], Awaitable[Any]]) -> Run:
    """Run `body` inside `contexts`, of which the first is the innermost, and work out what `request` asks for.

    A context is asked after it has closed: its gradient is recorded by the ones around it, which differentiate it in
    turn, and by nobody else.
    """
    found = Run()

    async def inside(depth: int) -> None:
        if depth == 0:
            found.value = await body()
            _evaluate(request, place, found)
            return
        context = contexts[depth - 1]
        with _open(context, place):
            await inside(depth - 1)
        if request.target is not None:
            found.orders.append(_differentiated(context, place, found))
            if depth == len(contexts):
                _matrices(request, context, place, found)

    await inside(len(contexts))
    return found


@contextmanager
def _open(context: ts.Grad, place: Place) -> Generator[None]:
    place.call(context.__enter__)  # from the user's line, which its messages quote
    try:
        yield
    finally:
        context.__exit__()


def _evaluate(request: Request, place: Place, found: Run) -> None:
    if request.target is None:
        return
    found.target = place.evaluate(request.target.text)
    for each in request.sources:
        nest = place.evaluate(each.text)
        values, structure = ts.tree.flatten(nest)
        labels = [each.text + ts.tree.path(nest, index) for index in range(len(values))]
        found.sources.append(Source(each.text, each.name, dict(zip(labels, values, strict=True)), structure))
    if request.options.cotangent:
        found.cotangent = place.evaluate(request.options.cotangent)


def _differentiated(context: ts.Grad, place: Place, found: Run) -> dict[str, Any]:
    """The next order: each tensor's last derivative, differentiated by that tensor."""
    tensors = found.tensors
    if not found.orders:
        return place.call(context.gradient, found.target, tensors, cotangent=found.cotangent)
    return {label: place.call(context.gradient, last, tensors[label]) for label, last in found.orders[-1].items()}


def _matrices(request: Request, context: ts.Grad, place: Place, found: Run) -> None:
    tensors = found.tensors
    if request.options.jacobian:
        found.matrices[None] = _jacobian(context, place, found.target, tensors)
    elif request.options.hessian:
        for label, first in found.orders[0].items():
            found.matrices[label] = _jacobian(context, place, first, tensors)


def _jacobian(context: ts.Grad, place: Place, target: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    """The derivative of each entry of `target` by each entry of each tensor, in the target's shape and the tensor's."""
    count = target.data.numel()
    entries = count * sum(tensor.data.numel() for tensor in tensors.values())
    if entries > MOST_ENTRIES:
        raise UsageError(
            f"the matrix would have {entries:,} entries: --cotangent EXPR gives one combination of its rows instead"
        )
    matrices = {label: tensor.data.new_zeros((count, *tensor.shape)) for label, tensor in tensors.items()}
    for row in range(count):
        seed = torch.zeros(count, dtype=target.dtype, device=target.device)
        seed[row] = 1
        gradients = place.call(context.gradient, target, tensors, cotangent=seed.reshape(target.shape))
        for label, gradient in gradients.items():
            matrices[label][row] = gradient.data
    return {label: ts.Tensor(each.reshape(*target.shape, *each.shape[1:])) for label, each in matrices.items()}
