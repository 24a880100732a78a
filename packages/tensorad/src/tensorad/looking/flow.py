"""`g.flow(target, sources)`: how large cotangents are on their way back: whether they vanish, explode, die or break."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tensorad.errors import ArgumentError, MissingPackageError
from tensorad.looking.graph import GraphNode
from tensorad.looking.saved import Saved
from tensorad.looking.values import shortened
from tensorad.looking.walk import Walk
from tensorad.notebook import needed
from tensorad.several import Parts
from tensorad.tensor import Tensor

if TYPE_CHECKING:
    from tensorad.grad import Grad

SMALL, LARGE = 1e-6, 1e3  # of the target's own norm: below one a cotangent vanishes, above the other it explodes
_SHOWN = 20  # lines of each part of the text
_BARS = 40  # sources that have their names in the picture
_COLOURS = {"": "#3b6ea5", "vanishing": "#b3701c", "exploding": "#a3322f", "dead": "#7a7f87", "not finite": "#c2185b"}


class Size(NamedTuple):
    """How large a cotangent is.

    Attributes:
        label: what it is the cotangent of: a node's symbol and op, or the name of a source.
        node: what that is in the graph.
        norm: the square root of the sum of the squares of its finite entries; 0 where nothing arrived.
        zeros: which share of its entries is exactly zero.
        strange: how many entries are NaN or infinite.
        state: "" for a healthy one, else "vanishing", "exploding", "dead" (all zero, or nothing arrived), "not finite".
    """

    label: str
    node: GraphNode
    norm: float
    zeros: float
    strange: int
    state: str

    def __str__(self) -> str:
        zeros = f", {self.zeros:.0%} zeros" if 0.005 <= self.zeros < 1 else ""
        strange = f", {self.strange} entries not finite" if self.strange else ""
        return f"{self.label}: norm {self.norm:.3g}{zeros}{strange}" + f"  ({self.state})" * bool(self.state)


@dataclass(eq=False, repr=False)
class Flow(Saved):
    """The sizes of the cotangents of a backward pass: print it, draw it, save it.

    Attributes:
        title: what was differentiated.
        nodes: a Size for each node that the pass went through, from the target on.
        sources: a Size for each source: that of its gradient.
    """

    title: str
    nodes: list[Size]
    sources: list[Size]

    def __repr__(self) -> str:
        ill = [size for size in self.nodes if size.state]
        lines = [f"gradients of {self.title}:", *_some(self.sources)]
        healthy = f"on the way, at {len(self.nodes)} nodes, nothing vanishing, exploding, dead or not finite"
        lines.append(f"{len(ill)} of {len(self.nodes)} nodes on the way are not healthy:" if ill else healthy)
        return "\n".join([*lines, *_some(ill)])

    def figure(self) -> Any:
        """A matplotlib Figure: above, the norms along the pass; below, those of the gradients.

        Raises:
            MissingPackageError: without matplotlib: `pip install 'tensorad[pictures]'`.
        """
        figure = needed("matplotlib.figure", "tensorad[pictures]", "a picture of the flow").Figure
        rows = min(len(self.sources), _BARS)
        drawn = figure(figsize=(8, 3.2 + 0.28 * rows), layout="constrained")
        above, below = drawn.subplots(2, 1, height_ratios=[2.6, 0.6 + 0.28 * rows])
        _along(above, self.nodes, self.title)
        _by_source(below, self.sources, self.title)
        return drawn

    def trace(self) -> dict[str, Any]:
        """The sizes as plain data: lists, dicts, numbers and text, as JSON has them."""

        def rows(sizes: Sequence[Size]) -> list[dict[str, Any]]:
            return [size._asdict() | {"node": size.node.number} for size in sizes]

        return {"title": self.title, "nodes": rows(self.nodes), "sources": rows(self.sources)}

    def _forms(self) -> dict[str, Any]:
        pictures = {f".{form}": partial(self._picture, form) for form in ("png", "svg", "pdf")}
        return {ending: form for ending, form in super()._forms().items() if ending != ".html"} | pictures

    def _picture(self, form: str) -> bytes:
        file = io.BytesIO()
        self.figure().savefig(file, format=form, dpi=150)
        return file.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> Any:
        try:
            return {"image/svg+xml": self._picture("svg").decode(), "text/plain": repr(self)}
        except MissingPackageError:
            return {"text/plain": repr(self)}


def flow(context: "Grad", target: Any, sources: Any, cotangent: Any = None) -> Flow:
    """Run a backward pass and measure the cotangents on its way; none is kept."""
    walk = Walk(context, target, sources, cotangent)
    described = walk.recorded.described
    if target.data.is_meta:
        raise ArgumentError("a meta tensor has no values, and so its gradient has no size")
    reference = _measured(next(iter(walk.cotangents.values())))[0] or 1.0
    nodes: list[Size] = []
    while node := walk.on():
        about = described(node)
        nodes.append(_size(f"{about.symbol} ({about.short_op})", about, walk.cotangents.get(node), reference))
    found = [_size(label, described(node), walk.cotangents.get(node), reference) for label, node in walk.labels.items()]
    found.sort(key=lambda size: size.node.number)  # in the order of the graph
    return Flow(walk.recorded.symbols[walk.recorded.target], nodes, found)


def _size(label: str, node: GraphNode, g: Any, reference: float) -> Size:
    norm, entries, zeros, strange = _measured(g)
    state = "not finite" if strange else "dead" if zeros == entries and (entries or g is None) else ""
    if not state and entries:
        state = "vanishing" if norm < SMALL * reference else "exploding" if norm > LARGE * reference else ""
    return Size(label, node, norm, zeros / entries if entries else float(g is None), strange, state)


def _measured(g: Any) -> tuple[float, int, int, int]:
    """The norm of the finite entries, and how many entries there are, are zero, and are not finite."""
    parts: Sequence[Any] = list(g.by_place.values()) if isinstance(g, Parts) else g if isinstance(g, list) else [g]
    tensors: list[torch.Tensor] = [
        each.data if isinstance(each, Tensor) else each for each in parts if each is not None
    ]
    norm, entries, zeros, strange = 0.0, 0, 0, 0
    for each in tensors:
        finite = each.isfinite()
        norm = math.hypot(norm, _norm(each.where(finite, 0).abs().double()))
        entries += each.numel()
        zeros += each.numel() - int(each.count_nonzero())
        strange += each.numel() - int(finite.sum())
    return norm, entries, zeros, strange


def _norm(sizes: torch.Tensor) -> float:
    """The square root of the sum of the squares, of which none overflows."""
    largest = sizes.max().item() if sizes.numel() else 0.0
    return largest * torch.linalg.vector_norm(sizes / largest).item() if largest else 0.0


def _some(sizes: Sequence[Size]) -> list[str]:
    left = len(sizes) - _SHOWN
    return [f"  {size}" for size in sizes[:_SHOWN]] + [f"  and {left} more"] * (left > 0)


def _along(axes: Any, sizes: Sequence[Size], title: str) -> None:
    """The norms from the target to the sources, those of zero at the bottom."""
    floor = _floor(sizes)
    heights = [max(size.norm, floor) for size in sizes]
    axes.plot(range(len(sizes)), heights, color=_COLOURS[""], linewidth=1.2, zorder=1)
    for state, colour in _COLOURS.items():
        places = [place for place, size in enumerate(sizes) if size.state == state]
        if places:
            marker = "x" if state in ("dead", "not finite") else "o"
            axes.scatter(places, [heights[place] for place in places], color=colour, marker=marker, s=18, zorder=2,
                         label=state or "_nolegend_")  # fmt: skip
    if any(size.state for size in sizes):
        axes.legend(fontsize=8)
    axes.set_yscale("log")
    axes.set_title(f"size of the cotangents, back from {_plain(title)}", fontsize=10)
    axes.set_ylabel("norm", fontsize=9)
    axes.tick_params(labelsize=8)
    if len(sizes) <= _BARS:
        axes.set_xticks(range(len(sizes)), [_plain(size.label) for size in sizes], rotation=60, ha="right")
    else:
        axes.set_xlabel("nodes, in the order of the pass", fontsize=9)


def _by_source(axes: Any, sizes: Sequence[Size], title: str) -> None:
    floor = _floor(sizes)
    colours = [_COLOURS[size.state] for size in sizes]
    axes.barh(range(len(sizes)), [max(size.norm - floor, 0) for size in sizes], left=floor, color=colours)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel(f"norm of the gradient of {_plain(title)}", fontsize=9)
    axes.tick_params(labelsize=8)
    labels = [_plain(size.label) + f" ({size.state})" * bool(size.state) for size in sizes]
    if len(sizes) <= _BARS:
        axes.set_yticks(range(len(sizes)), labels)


def _floor(sizes: Sequence[Size]) -> float:
    """Where a logarithmic axis begins: below all that is to be seen on it."""
    return min((size.norm for size in sizes if size.norm > 0), default=1.0) / 10


def _plain(text: str) -> str:
    r"""Text as it is: matplotlib takes what stands between dollar signs for a formula."""
    return shortened(text, 30, 14).replace("$", r"\$")
