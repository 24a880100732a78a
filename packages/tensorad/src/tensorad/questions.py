"""What a Grad can be asked besides a gradient: Jacobians, reasons, the graph, memory."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from tensorad.arguments import check, checked, sources_of
from tensorad.errors import ArgumentError, ContextError
from tensorad.jacobians import batch_jacobian, jacobian
from tensorad.memory import Memory, memory
from tensorad.site import Site, name_of_context
from tensorad.tensor import Tensor
from tensorad.watching import Watcher
from tensorad.why import not_recorded, why

if TYPE_CHECKING:
    from tensorad.corners import Corners
    from tensorad.looking.explain import Explanation
    from tensorad.looking.flow import Flow
    from tensorad.looking.graph import Graph
    from tensorad.looking.steps import Steps


def _looking(module: str) -> Any:
    """A module for looking inside: none is imported before it is asked for."""
    return import_module(f"tensorad.looking.{module}")


class Questions:
    """The half of Grad that only asks what the other half has recorded."""

    if TYPE_CHECKING:
        name: str | None
        opened: int | None
        closed: int | None
        site: Site | None
        cuts: dict[Site, str]
        watchers: tuple[Watcher, ...]

    def jacobian(self: Any, target: Any, sources: Any, *, chunk_size: int | None = None) -> Any:
        """The derivative of each entry of `target` by each entry of `sources`.

        All rows are worked out in one backward pass, batched by torch.vmap, or in passes of `chunk_size` rows, which
        take less memory.

        Args:
            target: a Tensor that this context recorded, of any shape and a floating point dtype.
            sources: a Tensor, or any nest of lists, tuples, named tuples, dicts and dataclasses of Tensors: leaves,
                intermediate values, or the target itself; parameters of a torch.nn module too.
            chunk_size: how many rows at a time; by default, all.

        Returns:
            For each source, a Tensor of the target's shape followed by the source's, of the source's dtype and device,
            in the structure of `sources`; the bare one if `sources` is a list or tuple of one Tensor. A source that the
            target does not depend on gets zeros, as by `gradient`.

        Raises:
            NotRecordedError: if this context did not record the target.
            NotDifferentiableError: if the target or a source has an integer or boolean dtype.
            MutationError: if a value that the gradient needs was changed in place since.
            NonFiniteError: under `Grad(check="nan")`, if a rule makes a NaN or an infinity.
            ContextError: if this context was never entered.
            ArgumentError: if the target or a source is no Tensor; for complex values, which have gradients only.

        Examples:
            >>> import tensorad as ts
            >>> x = ts.tensor([1.0, 2.0])
            >>> with ts.Grad() as g:
            ...     y = x**2 * 3
            >>> g.jacobian(y, x)
            Tensor([[ 6.,  0.],
                    [ 0., 12.]])
        """
        return jacobian(self, target, sources, chunk_size)

    def batch_jacobian(self: Any, target: Any, sources: Any, *, chunk_size: int | None = None) -> Any:
        """The Jacobian of each sample on its own, where a sample of `target` depends on the one sample of each source.

        Samples stand along the first dimension. It takes as many rows as one sample of the target has entries, not as
        many as all. Where samples depend on others (batch normalization), the result is of no meaning.

        Args:
            target: a Tensor that this context recorded, of shape (samples, ...) and a floating point dtype.
            sources: as for `jacobian`, each of shape (samples, ...).
            chunk_size: how many rows at a time; by default, all.

        Returns:
            For each source, a Tensor of shape (samples, *shape of a target's sample, *shape of a source's sample), in
            the structure of `sources`; the bare one if `sources` is a list or tuple of one Tensor.

        Raises:
            NotRecordedError: if this context did not record the target.
            NotDifferentiableError: if the target or a source has an integer or boolean dtype.
            MutationError: if a value that the gradient needs was changed in place since.
            NonFiniteError: under `Grad(check="nan")`, if a rule makes a NaN or an infinity.
            ContextError: if this context was never entered.
            ArgumentError: if the target or a source is no Tensor; for complex values.
            ShapeError: if target and sources differ in the number of samples.

        Examples:
            >>> import tensorad as ts
            >>> x = ts.tensor([[1.0, 2.0], [3.0, 4.0]])
            >>> with ts.Grad() as g:
            ...     y = x.prod(1, keepdim=True)
            >>> g.batch_jacobian(y, x)
            Tensor([[[2., 1.]],
            <BLANKLINE>
                    [[4., 3.]]])
        """
        return batch_jacobian(self, target, sources, chunk_size)

    def why(self: Any, target: Any, source: Any) -> str:
        """In words, how `source` reaches `target` in what this context recorded, or where the path breaks.

        Args:
            target: a Tensor, of any shape and a floating point or complex dtype, whoever recorded it.
            source: one Tensor, or parameter of a torch.nn module.

        Returns:
            Lines of text: a shortest path, op by op; or what is known of why there is none.

        Raises:
            NotDifferentiableError: if the target or the source has an integer or boolean dtype.
            ArgumentError: if the target or the source is no Tensor: a nest of sources, say.

        Examples:
            >>> import tensorad as ts
            >>> x = ts.tensor(2.0, name="x")
            >>> with ts.Grad() as g:
            ...     y = ts.stop_gradient(x * x) * 3
            >>> print(g.why(y, x).splitlines()[0])
            the target does not depend on the source in what g recorded. Possible reasons:
        """
        if not isinstance(source, Tensor | torch.Tensor):
            raise ArgumentError(
                f"why is about one source, a Tensor, and not about a {type(source).__name__}: ask for each"
            )
        (source,) = sources_of(target, [source], source)
        return why(self, target, source)

    def graph(self: Any, target: Any, sources: Any = None) -> "Graph":
        """What this context recorded on the way to `target`, node by node.

        Print it, save it as a picture or a page (`.save("graph.svg")`, `.dot`, `.mmd`, `.html`, `.json`), or go through
        its `nodes`. Notebooks show it. The graph of a gradient is a graph too, with a box for each context that
        recorded part of it. Beyond 40 nodes it is folded: what loops and functions did, and parts of what is still too
        long.

        Args:
            target: a Tensor that this context recorded, of any shape and a floating point or complex dtype.
            sources: as for `gradient`: only what lies between them and the target is in the graph; by default, all that
                led to the target.

        Returns:
            A `Graph`. It is a copy, of text and numbers: it keeps nothing alive.

        Raises:
            NotRecordedError: if this context did not record the target.
            NotDifferentiableError: if the target or a source has an integer or boolean dtype.
            ContextError: if this context was never entered.
            ArgumentError: if the target or a source is no Tensor.

        Examples:
            >>> import tensorad as ts
            >>> x = ts.tensor(2.0, name="x")
            >>> with ts.Grad() as g:
            ...     y = x * x.sin()
            >>> [(node.op, node.inputs) for node in g.graph(y).nodes]
            [(None, []), ('sin', [('input', 1)]), ('mul', [('input', 1), ('other', 2)])]
        """
        check(target, [], None)
        _, _, nodes = checked(self, target, [target] if sources is None else sources, None)
        if self not in getattr(target.node, "contexts", ()):
            raise not_recorded(self, target)
        recorded = _looking("graph").Recorded(self, target.node, None if sources is None else nodes)
        return recorded.graph([] if sources is None else nodes)

    def steps(self: Any, target: Any, sources: Any, *, cotangent: Any = None) -> "Steps":
        """The backward pass from `target` to `sources`, step by step: go through it, print it, see it in a notebook.

        It is the very loop of `gradient`, which stops before each node. At a stop its cotangent can be looked at and
        changed, and then the pass goes on with it; afterwards the step knows what each operand received, by which rule,
        and with which numbers. Every step is kept, with its cotangents, for as long as the result is.

        Args:
            target: a Tensor that this context recorded, of any shape and a floating point or complex dtype.
            sources: a Tensor, or any nest of lists, tuples, named tuples, dicts and dataclasses of Tensors: leaves,
                intermediate values, or the target itself; parameters of a torch.nn module too.
            cotangent: what the target is seeded with instead of ones; of the target's shape.

        Returns:
            `Steps`, one `Step` for each node between the sources and the target; none, if nothing leads there.

        Raises:
            NotRecordedError: if this context did not record the target.
            NotDifferentiableError: if the target or a source has an integer or boolean dtype.
            MutationError: by the step of a node, if a value that its rule needs was changed in place since.
            ContextError: if this context was never entered.
            ArgumentError: if the target or a source is no Tensor.
            ShapeError: if the cotangent has another shape than the target.

        Examples:
            >>> import tensorad as ts
            >>> x = ts.tensor(2.0)
            >>> with ts.Grad() as g:
            ...     h = x * x
            ...     y = h * 3
            >>> for step in g.steps(y, x):
            ...     print(step.node.name, step.cotangent, *step.received, sep="; ")
            y; Tensor(1.); h receives ∂y/∂y · 3 = 1 · 3 = 3
            h; Tensor(3.); x receives ∂y/∂h · x = 3 · 2 = 6; x receives ∂y/∂h · x = 3 · 2 = 6, and 6 from before: 12
        """
        return _looking("steps").Steps(self, target, sources, cotangent)

    def explain(self: Any, target: Any, sources: Any, *, cotangent: Any = None) -> "Explanation":
        """The derivation of a gradient: the chain rule of this very run, in symbols, in shapes and in numbers.

        One equation for each value between `target` and `sources`: each is a sum of what the rules of the ops returned
        that have used the value, with the program's own names, and as these rules ran: `sum` of a matrix is
        `expand(g, (5, 2))`. Print it, see it typeset in a notebook, or save that (`.save("derivation.html")`, `.tex`,
        `.txt`, `.json`); its `equations` are all there, where more than 40 are shown in part.

        Args:
            target: a Tensor that this context recorded, of any shape and a floating point or complex dtype.
            sources: a Tensor, or any nest of lists, tuples, named tuples, dicts and dataclasses of Tensors: leaves,
                intermediate values, or the target itself; parameters of a torch.nn module too.
            cotangent: what the target is seeded with instead of ones; of the target's shape.

        Returns:
            An `Explanation`.

        Raises:
            NotRecordedError: if this context did not record the target.
            NotDifferentiableError: if the target or a source has an integer or boolean dtype.
            MutationError: if a value that the gradient needs was changed in place since.
            ContextError: if this context was never entered.
            ArgumentError: if the target or a source is no Tensor.
            ShapeError: if the cotangent has another shape than the target.

        Examples:
            >>> import tensorad as ts
            >>> x = ts.tensor(2.0)
            >>> with ts.Grad() as g:
            ...     h = x * x
            ...     y = h.log()
            >>> for equation in g.explain(y, x).equations:
            ...     print(equation.symbols, "|", equation.shapes, "|", equation.numbers)
            ∂y/∂h = ∂y/∂y / h | () = () / () | 1 / 4 = 0.25
            ∂y/∂x = ∂y/∂h · x + ∂y/∂h · x | () = () · () + () · () | 0.25 · 2 + 0.25 · 2 = 1
        """
        return _looking("explain").explain(self, target, sources, cotangent)

    def flow(self: Any, target: Any, sources: Any, *, cotangent: Any = None) -> "Flow":
        """How large cotangents are on their way from `target` to `sources`: do they vanish, explode, die or break?

        Print it, see it as a picture in a notebook, or save that (`.save("flow.png")`, `.svg`, `.pdf`). A cotangent
        vanishes with a norm below 1e-6 of the target's own, and explodes above 1e3 times that; it is dead if all of it
        is zero, and not finite with a NaN or an infinity in it. None of the cotangents is kept.

        Args:
            target: a Tensor that this context recorded, of any shape and a floating point or complex dtype.
            sources: a Tensor, or any nest of lists, tuples, named tuples, dicts and dataclasses of Tensors: leaves,
                intermediate values, or the target itself; parameters of a torch.nn module too.
            cotangent: what the target is seeded with instead of ones; of the target's shape.

        Returns:
            A `Flow`: the Euclidean norm of each node's cotangent, from the target on, and of each gradient.

        Raises:
            NotRecordedError: if this context did not record the target.
            NotDifferentiableError: if the target or a source has an integer or boolean dtype.
            MutationError: if a value that the gradient needs was changed in place since.
            ContextError: if this context was never entered.
            ArgumentError: if the target or a source is no Tensor; for a target on the meta device.
            ShapeError: if the cotangent has another shape than the target.

        Examples:
            >>> import tensorad as ts
            >>> x = ts.tensor([1.0, -2.0])
            >>> with ts.Grad() as g:
            ...     h = x.relu() * 1e-4
            ...     y = (h * 1e-4).sum()
            >>> g.flow(y, x)
            gradients of y:
              x: norm 1e-08, 50% zeros  (vanishing)
            1 of 4 nodes on the way are not healthy:
              v2 (relu): norm 1.41e-08  (vanishing)
        """
        return _looking("flow").flow(self, target, sources, cotangent)

    def memory(self: Any) -> Memory:
        """What the nodes that this context recorded have saved for the backward pass, the largest first, and in all.

        Only what is still alive is there to be counted: what a target that is still held was computed with. Values that
        would be kept anyway, such as weights, count too; memory that several values share counts once in all.

        Returns:
            A `Memory`, to print or to take apart.

        Examples:
            >>> import tensorad as ts
            >>> x = ts.tensor([1.0, 2.0])
            >>> with ts.Grad() as g:
            ...     y = (x.exp() * 3).sum()
            >>> g.memory().bytes, [row.op for row in g.memory().rows]
            (8, ['exp'])
        """
        return memory(self)

    def corners(self: Any) -> "Corners":
        """The conventions that the gradients so far relied on, with `Grad(check="corners")`.

        Returns:
            `Corners`, a tuple to print: a `Corner` for each op, and row of the table of conventions, with entries that
            sat on a corner or in a tie, and whose cotangent was not zero there.

        Raises:
            ContextError: without that check.

        Examples:
            >>> import warnings
            >>> import tensorad as ts
            >>> warnings.simplefilter("ignore", ts.ConventionWarning)
            >>> x = ts.tensor([-1.0, 0.0, 2.0])
            >>> with ts.Grad(check="corners") as g:
            ...     y = x.relu()
            >>> g.corners()
            no gradient relied on a convention
            >>> g.gradient(y, x)
            Tensor([0., 0., 1.])
            >>> [(corner.op, corner.indices, corner.row.ours) for corner in g.corners()]
            [('relu', [(1,)], '0')]
        """
        for watcher in self.watchers:
            if hasattr(watcher, "report"):
                return watcher.report()
        name = name_of_context(self)
        raise ContextError(
            f'{name} did not look for corners: open it with `Grad(check="corners")`, and ask for the gradient again'
        )
