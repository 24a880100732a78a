"""A backward pass that is walked through: the loop itself, run from stop to stop, with somebody who looks on."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tensorad import tree
from tensorad.arguments import arranged, checked, result_for, seed_of
from tensorad.backward import between, fit, stepwise
from tensorad.looking.graph import Recorded
from tensorad.node import Contexts, Node, recording
from tensorad.site import caller
from tensorad.tensor import Tensor

if TYPE_CHECKING:
    from tensorad.grad import Grad


@dataclass(eq=False)
class Contribution:
    """What a rule sent to one operand: `returned` by the rule, and that in the operand's own shape and dtype.

    `before` is what the operand had received from elsewhere until then, None if nothing, and `total` the sum.
    """

    place: int  # of the operand, among those of the op
    parent: Node
    returned: Any
    value: Any
    before: Any
    total: Any = None


class Walk:
    """The backward pass from a target to sources, not yet begun.

    All of it belongs to the line that asked for it, and is recorded by the contexts that were open there; one that is
    walked through again belongs to where the earlier one did.

    Attributes:
        recorded: what the context recorded on the way to the target.
        cotangents: those that are known by now, by node.
        contributions: what the rule of the last node sent to its operands.
        length: how many stops there are.
        labels: what the sources are called -> their nodes.
    """

    def __init__(
        self, context: "Grad", target: Any, sources: Any, cotangent: Any, earlier: "Walk | None" = None
    ) -> None:
        self.wanted, self.structure, nodes = checked(context, target, sources, None)
        self.context, self.target, self.sources, self.seed = context, target, sources, cotangent
        contexts = earlier.contexts if earlier else recording.get()
        self.contexts = contexts if earlier or not contexts else Contexts(contexts.entries, caller())
        node: Any = target.node or target.leaf()
        self.recorded = earlier.recorded if earlier else Recorded(context, node, None)
        self.cotangents: dict[Node, Any] = {node: seed_of(target, cotangent, contexts)}
        way = between(context, node, nodes)
        self.length = len(way[0])
        self.contributions: list[Contribution] = []
        self._loop = stepwise(way, self.cotangents, nodes, _looking_on(self.cotangents, self.contributions))
        self.labels: dict[str, Any] = {}
        for path, each in zip(tree.paths(sources), self.wanted, strict=True):
            known = self.recorded.symbols.get(each.node) or self.recorded.names.get(each.node) or "source"
            self.labels[f"{known} (source{path})" if known in self.labels or known == "source" else known] = each.node

    @contextmanager
    def _where_asked(self) -> Generator[None]:
        """A span under the contexts that were open where the pass was asked for."""
        token = recording.set(self.contexts)
        try:
            yield
        finally:
            recording.reset(token)

    def on(self) -> Node | None:
        """Go on to the next stop: the node whose turn it is; None at the end."""
        self.contributions.clear()
        with self._where_asked(), torch._C._AutoDispatchBelowAutograd():
            node = next(self._loop, None)
        _settle(self.contributions, self.cotangents)
        return node

    def gradients(self) -> Any:
        """What `g.gradient` returns, once the end is reached."""
        with self._where_asked():
            results = [result_for(self.context, self.target, each, self.cotangents.get(each.node), None, self.contexts)
                       for each in self.wanted]  # fmt: skip
            return arranged(results, self.structure, self.sources, self.seed)


def _looking_on(cotangents: dict[Node, Any], contributions: list[Contribution]) -> Any:
    """What stands around the pulls of a node, to note what they return; it knows no Walk, which would be a cycle."""

    def watched(node: Node, place: int, parent: Node, pull: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def pulled(g: Any, saved: Any) -> Any:
            found = pull(g, saved)
            if found is None:
                return None
            _settle(contributions, cotangents)
            fitted = fit(found, parent, node)  # the loop has nothing left to undo then
            contributions.append(Contribution(place, parent, found, fitted, kept(cotangents.get(parent))))
            return fitted

        return pulled

    def wrap(node: Node, pulls: Sequence[Callable[[Any, Any], Any]]) -> list[Callable[[Any, Any], Any]]:
        pairs: Any = zip(node.parents, pulls, strict=True)
        return [watched(node, place, parent, pull) if parent else pull for place, (parent, pull) in enumerate(pairs)]

    return wrap


def _settle(contributions: list[Contribution], cotangents: dict[Node, Any]) -> None:
    """What the operand that was met last has by now."""
    if contributions and contributions[-1].total is None:
        last = contributions[-1]
        last.total = last.value if last.before is None else kept(cotangents.get(last.parent))


def kept(g: Any) -> Any:
    """A cotangent as it is now: the loop adds to sums in place."""
    return g.clone() if isinstance(g, torch.Tensor) else g


def presented(g: Any) -> Any:
    """A cotangent as the user gets it: a Tensor, in torch's convention for complex numbers."""
    if isinstance(g, Tensor | torch.Tensor):
        g = g.conj_physical() if g.dtype.is_complex else g
        return g if isinstance(g, Tensor) else Tensor(g)
    return g
