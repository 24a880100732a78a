"""Contexts: `Grad`, a span of recording, and the object that is asked for the gradients of what it recorded.

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

from typing import Any

import torch

from tensorad.arguments import Unconnected, arranged, checked, result_for, seed_of
from tensorad.backward import backward
from tensorad.checks import watchers, wrapping
from tensorad.node import Entry, Node, next_number, recording
from tensorad.questions import Questions
from tensorad.site import Asking, caller


class Grad(Questions, Entry):
    """A span of recording, and the object that is asked for the gradients of what it recorded.

    Contexts nest to any depth, each is asked inside its block or after it, any number of times, and entering one again
    extends what it recorded. What was made before it opened is a constant to it.

    Args:
        name: what messages and pictures call it; left out, they call it what its `with` line does.
        check: what trouble to look for while it records and differentiates, at a price: `"nan"` raises NonFiniteError
            at the first op, forward or backward, that makes a NaN or an infinity; `"corners"` notes where a gradient
            relied on a convention, for `corners()`, and warns of it. A tuple asks for both.

    Raises:
        ArgumentError: for an unknown check.
        ContextError: by `with`, if the context is open already.

    Examples:
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

    records = True

    def __init__(self, name: str | None = None, *, check: str | tuple[str, ...] = ()) -> None:
        # `cuts` has the lines where something without a derivative was done, and what.
        self.name, self.watchers, self.cuts = name, watchers(check), {}
        # The numbers at which it was first entered and last left (None while it is open), and the user's `with` line.
        self.opened = self.closed = self.site = None

    def __enter__(self) -> "Grad":
        super().__enter__()
        self.opened, self.closed, self.site = self.opened or next_number(), None, caller()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.closed = next_number()

    def gradient(
        self, target: Any, sources: Any, *, cotangent: Any = None, unconnected: Unconnected = None, masked: bool = False
    ) -> Any:  # fmt: skip
        """The gradient of `target` with respect to `sources`.

        A target that is not a scalar is seeded with ones, so the sum of its elements is differentiated. If another
        context is open, the gradient is recorded in turn, and that context can differentiate it. One pass takes a small
        multiple of the time of computing the target, whatever the number of sources (Baur and Strassen: The Complexity
        of Partial Derivatives, 1983). Of complex values it is torch's gradient, the conjugate of the derivative where
        there is one (Kreutz-Delgado: The Complex Gradient Operator and the CR-Calculus, 2009).

        Args:
            target: a Tensor that this context recorded, of any shape and a floating point or complex dtype.
            sources: a Tensor, or any nest of lists, tuples, named tuples, dicts and dataclasses of Tensors: leaves,
                intermediate values, or the target itself; parameters of a torch.nn module too.
            cotangent: what the target is seeded with instead of ones; of the target's shape.
            unconnected: what a source gets that the target does not depend on: `"zero"`, `"none"` (None) or `"raise"`.
                Left out, it gets zeros, with an UnconnectedWarning if a path exists but is cut at the edge of this
                context, or if the source is newer than the target.
            masked: whether a cotangent that is exactly zero stops there, instead of 0 times infinity being NaN, as in
                the branch that a `where` did not take: entry by entry in what works so, elsewhere if all of it is zero.

        Returns:
            A gradient of the shape, dtype and device of each source, in the structure of `sources`; the bare gradient
            if `sources` is a list or tuple of one Tensor.

        Raises:
            NotRecordedError: if this context did not record the target (and `unconnected` is left out).
            UnconnectedError: for `unconnected="raise"`.
            NotDifferentiableError: if the target or a source has an integer or boolean dtype.
            MutationError: if a value that the gradient needs was changed in place since.
            NonFiniteError: under `Grad(check="nan")`, if a rule makes a NaN or an infinity.
            ContextError: if this context was never entered.
            ArgumentError: if the target or a source is no Tensor.
            ShapeError: if the cotangent has another shape than the target.

        Warns:
            UnconnectedWarning: as is said of `unconnected`.
            ConventionWarning: under `Grad(check="corners")`, if it relied on a convention.

        Examples:
            >>> import tensorad as ts
            >>> w, b = ts.tensor([1.0, 2.0]), ts.tensor(3.0)
            >>> with ts.Grad() as g:
            ...     y = w * b
            >>> g.gradient(y, {"w": w, "b": b})
            {'w': Tensor([3., 3.]), 'b': Tensor(3.)}
            >>> g.gradient(y, [w], cotangent=ts.tensor([1.0, 0.0]))
            Tensor([3., 0.])
        """
        wanted, structure, nodes = checked(self, target, sources, unconnected)
        seed = seed_of(target, cotangent, contexts := recording.get())
        found = self.cotangents(target.node or target.leaf(), seed, nodes, masked)
        results = [result_for(self, target, each, found.get(each.node), unconnected, contexts) for each in wanted]
        return arranged(results, structure, sources, cotangent)

    def cotangents(self, target: Node, seed: Any, nodes: set[Any], masked: bool = False) -> dict[Any, Any]:
        """A backward pass, unconjugated and with nothing checked: what `gradient` and its like are made of.

        Args:
            target: the node to start from.
            seed: its cotangent: a torch tensor, or a Tensor, if the pass is to be recorded.
            nodes: the nodes whose cotangents are wanted.
            masked: as for `gradient`.

        Returns:
            The cotangents of those `nodes` that are reached, by node.
        """
        # Nothing here is for torch's autograd, and below it torch does not even look: small ops get 15% faster.
        with Asking(), wrapping(self, target, masked) as wrap, torch._C._AutoDispatchBelowAutograd():
            return backward(self, target, seed, nodes, wrap)
