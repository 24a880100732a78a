"""Contexts: `Grad`, a span of recording that is asked for gradients, and `stop_gradient`, a span without recording.

Why contexts nest: each Grad differentiates what *it* recorded and takes everything made before it opened as a constant.
So in

    with Grad() as outer:
        y = x * x
        with Grad() as inner:
            z = x * y
            dz = inner.gradient(z, x)      # y: for `inner`, y is a leaf
        d2z = outer.gradient(dz, x)        # 2 x: for `outer`, y depends on x

`inner` must not follow y back to x although `outer` can. One shared graph with no owners gets dz = 3 x**2 instead.
"""

import warnings
from types import TracebackType
from typing import Any, Literal, overload

import torch

from tensorad import tree
from tensorad.arguments import check, seed_of, unalias
from tensorad.backward import backward
from tensorad.call import Op
from tensorad.conversions import taken_out
from tensorad.errors import (
    ArgumentError,
    ContextError,
    RuleError,
    UnconnectedError,
    UnconnectedWarning,
)
from tensorad.node import Contexts, Node, leaf, next_number, recording
from tensorad.site import Site, caller
from tensorad.tensor import Tensor, unrecorded
from tensorad.why import cut_path, not_recorded, why

Unconnected = Literal["zero", "none", "raise"] | None

_gradient = Op("gradient(input)", {"input": lambda g: g}, lambda data: data, elementwise=True).call


def _arrange(entries: tuple[object, ...]) -> None:
    """Let `entries` be what is open, in this thread and task: the Grads in the innermost stop_gradient record."""
    stops = [place for place, entry in enumerate(entries) if isinstance(entry, Stopped)]
    grads = [entry for entry in entries[stops[-1] + 1 if stops else 0 :] if isinstance(entry, Grad)]
    recording.set(Contexts.of(grads, entries, recording.get().site))


def _close(entry: object) -> None:
    # By name, not by position: a generator that is closed late may leave its context after the ones opened inside it.
    _arrange(tuple(other for other in recording.get().entries if other is not entry))


class Grad:
    """A span of recording, and the object that is asked for the gradients of what it recorded.

    Contexts nest to any depth, each is asked inside its block or after it, any number of times, and entering one again
    extends what it recorded. What was made before it opened is a constant to it.

    Example:
        >>> import tensorad as ts
        >>> x = ts.tensor(6.0)
        >>> with ts.Grad() as g2:
        ...     with ts.Grad() as g1:
        ...         y = x**3
        ...         dx = g1.gradient(y, [x])
        ...     d2x = g2.gradient(dx, [x])
        >>> y, dx, d2x
        (Tensor(216.), Tensor(108.), Tensor(36.))
    """

    def __init__(self) -> None:
        self.opened: int | None = None  # the number at which it was first entered
        self.closed: int | None = None  # the number at which it was last left; None while it is open
        self.site: Site | None = None  # the user's `with` line
        self.cuts: dict[Site, str] = {}  # the lines where something without a derivative was done, and what

    def __enter__(self) -> "Grad":
        entries = recording.get().entries
        if self in entries:
            raise ContextError("this Grad is open already; to differentiate again, open another one inside it")
        self.site = caller()
        self.opened, self.closed = self.opened or next_number(), None
        _arrange((*entries, self))
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _close(self)
        self.closed = next_number()

    def gradient(self, target: Any, sources: Any, *, cotangent: Any = None, unconnected: Unconnected = None) -> Any:
        """The gradient of `target` with respect to `sources`.

        A target that is not a scalar is seeded with ones, so the sum of its elements is differentiated. If another
        context is open, the gradient is recorded in turn, and that context can differentiate it.

        Args:
            target: a Tensor that this context recorded, of any shape and a floating point or complex dtype.
            sources: a Tensor, or any nest of lists, tuples, named tuples, dicts and dataclasses of Tensors: leaves,
                intermediate values, or the target itself.
            cotangent: what the target is seeded with instead of ones; of the target's shape.
            unconnected: what a source gets that the target does not depend on: `"zero"`, `"none"` (None) or `"raise"`.
                Left out, it gets zeros, with a warning if a path exists but is cut at the edge of this context.

        Returns:
            A gradient of the shape, dtype and device of each source, in the structure of `sources`; the bare gradient
            if `sources` is a list or tuple of one Tensor.

        Raises:
            NotRecordedError: if this context did not record the target (and `unconnected` is left out).
            UnconnectedError: for `unconnected="raise"`.
            NotDifferentiableError: if the target or a source has an integer or boolean dtype.
            MutationError: if a value that the gradient needs was changed in place since.
            ContextError, ArgumentError, ShapeError: for a context never entered, for something else than Tensors, for
                a cotangent of another shape.
        """
        if self.opened is None:
            raise ContextError("this Grad was never entered, so it has recorded nothing: `with Grad() as g: ...`")
        if unconnected not in (None, "zero", "none", "raise"):
            raise ArgumentError(f"unconnected must be 'zero', 'none' or 'raise', not {unconnected!r}")
        wanted, structure = tree.flatten(sources)
        check(target, wanted, sources)
        contexts = recording.get()
        nodes = {source.node or leaf(source) for source in wanted}
        if target.node in nodes or (target.node and self in target.node.contexts):
            found = self._run(target, cotangent, nodes, contexts)
        elif unconnected is None:
            raise not_recorded(self, target)
        else:
            found = {}
        results = [self._result(target, source, found, unconnected, contexts) for source in wanted]
        unalias(results, cotangent)
        alone = type(sources) in (list, tuple) and len(sources) == 1 and isinstance(sources[0], Tensor)
        return results[0] if alone else tree.unflatten(structure, results)

    def _run(self, target: Tensor, cotangent: Any, nodes: set[Any], contexts: Contexts) -> dict[Node, Any]:
        """The backward pass: recorded, each op at the line that asked; or on torch tensors, below torch's autograd.

        Below it, torch does not even look whether there is something to record, which makes small ops 15% faster.
        """
        seed: Any = seed_of(target, cotangent, contexts)
        start: Any = target.node
        if not contexts:
            with torch._C._AutoDispatchBelowAutograd():
                return backward(self, start, seed, nodes)
        recording.set(Contexts.of(contexts, contexts.entries, caller()))
        try:
            return backward(self, start, seed, nodes)
        finally:
            recording.set(contexts)

    def _result(
        self, target: Tensor, source: Tensor, found: dict[Node, Any], unconnected: Unconnected, contexts: Contexts
    ) -> Tensor | None:
        """What a source gets: its cotangent, in torch's convention, or what stands for no connection."""
        if source.node in found:
            result = found[source.node]
            if result.shape != source.shape:
                raise RuleError(f"a rule made a gradient of shape {tuple(result.shape)} for {tuple(source.shape)}")
            result = result.conj_physical() if result.is_complex() else result
        elif unconnected == "raise":
            raise UnconnectedError(why(self, target, source))
        elif unconnected == "none":
            return None
        else:
            result = torch.zeros_like(source.data)
            if unconnected is None and (cut := cut_path(self, target, source)):
                warnings.warn(cut, UnconnectedWarning, stacklevel=4)
        # A gradient is a value of the contexts around it even where it is a constant (d/dx of 3 x), so that asking them
        # for its derivative gives zeros and not an error.
        result = result if isinstance(result, Tensor) else unrecorded(result)
        return _gradient(result) if contexts else result

    def why(self, target: Any, source: Any) -> str:
        """In words, how `source` reaches `target` in what this context recorded, or where the path breaks.

        >>> import tensorad as ts
        >>> x = ts.tensor(2.0, name="x")
        >>> with ts.Grad() as g:
        ...     y = ts.stop_gradient(x * x) * 3
        >>> print(g.why(y, x).splitlines()[0])
        the target does not depend on the source in what g recorded. Possible reasons:
        """
        return why(self, target, source)


@overload
def stop_gradient() -> "Stopped": ...
@overload
def stop_gradient(value: Any) -> Any: ...
def stop_gradient(value: Any = None) -> Any:
    """As a context, `with stop_gradient():`, a span in which nothing is recorded; as a function, a constant.

    `stop_gradient(t)` is a Tensor of the same values, with no copy of the data, that no context can look behind. Nests
    of Tensors are taken too. A Grad that is opened inside a `stop_gradient()` block records as usual.

    >>> import tensorad as ts
    >>> x = ts.tensor(3.0)
    >>> with ts.Grad() as g:
    ...     y = x * ts.stop_gradient(x)
    >>> g.gradient(y, x)
    Tensor(3.)
    """
    if value is None:
        return Stopped()

    def stopped(each: Any) -> Any:
        return unrecorded(taken_out(each, "stop_gradient()")) if isinstance(each, Tensor) else each

    return tree.map(stopped, value)


class Stopped:
    """The context that `stop_gradient()` makes."""

    def __enter__(self) -> None:
        _arrange((*recording.get().entries, self))

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _close(self)
