"""`g.graph(target)`: what a context recorded on the way to a target, as plain data."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tensorad.backward import between
from tensorad.looking.folding import Group, contexts_of, folded
from tensorad.looking.formats import dot, mermaid, printed, trace
from tensorad.looking.program import argument_names, assigned, constants, spaces, text_of, user_frame, variables
from tensorad.looking.saved import Saved
from tensorad.looking.seen import Seen
from tensorad.looking.svg import svg
from tensorad.looking.values import printable, shown
from tensorad.node import Node
from tensorad.rule import formulas_of
from tensorad.several import Shapes
from tensorad.site import line_of, name_of, name_of_context
from tensorad.walk import ancestors

if TYPE_CHECKING:
    from tensorad.grad import Grad


class GraphNode(NamedTuple):
    """A node of a graph, as text and numbers.

    Attributes:
        number: its place in the graph, from 1.
        op: the op's name; None for a leaf: a value that the context did not record.
        name: the one that the value was given, or what the program calls it; None if it has neither.
        shape: a tuple; of an op with several outputs, a tuple of these.
        dtype: that of the value.
        value: its value in a line; None where nobody has kept it.
        line: the user's line, in words.
        inputs: the operands' names, and the numbers of the nodes that these are.
        contexts: the names of the contexts that recorded it, the outermost first.
        code: the expression of the program that it was computed by.
        formulas: operand -> its cotangent, as a formula of the cotangent `g` of this node.
        symbol: what formulas call it: its name, numbered if others have it too; `v7` without one.
    """

    number: int
    op: str | None
    name: str | None
    shape: Any
    dtype: Any
    value: str | None
    line: str
    inputs: list[tuple[str, int]]
    contexts: tuple[str, ...] = ()
    code: str = ""
    formulas: dict[str, str] = {}  # noqa: RUF012
    symbol: str = ""

    @property
    def short_op(self) -> str | None:
        """The op's name without the module that it comes from: `linear`."""
        return self.op and self.op.rpartition(".")[2]

    def __str__(self) -> str:
        operands = ", ".join(f"{operand}=#{number}" for operand, number in self.inputs)
        what = f"{self.op}({operands})" if self.op else "leaf"
        label = f"{self.name} = " * (self.name is not None)
        return f"#{self.number}  {label}{what}, shape {self.shape}  {self.line}".rstrip()


@dataclass(eq=False, repr=False)
class Graph(Saved):
    """The nodes, in the order in which they were made, and how they are grouped: print it, save it, go through it.

    Attributes:
        title: what it is the graph of.
        nodes: a GraphNode each; node number n is `nodes[n - 1]`.
        groups: the whole as a Group, of which the parts are numbers of nodes, and Groups in turn.
        target: the number of the target.
        sources: what the sources are called, and their numbers.
    """

    title: str
    nodes: list[GraphNode]
    groups: Group
    target: int
    sources: list[tuple[str, int]]

    def __repr__(self) -> str:
        return "\n".join(printed(Seen(self, whole=False)))

    def to_dot(self, *, whole: bool = False) -> str:
        """The graph in Graphviz's language.

        Args:
            whole: whether nothing is folded; by default it is folded as it is printed.
        """
        return dot(Seen(self, whole))

    def to_mermaid(self, *, whole: bool = False) -> str:
        """The graph in Mermaid's language.

        Args:
            whole: whether nothing is folded; by default it is folded as it is printed.
        """
        return mermaid(Seen(self, whole))

    def to_svg(self, *, whole: bool = False) -> str:
        """The graph as a picture: the text of an SVG file, light or dark as its reader likes it.

        Args:
            whole: whether nothing is folded; by default it is folded as it is printed.

        Raises:
            MissingPackageError: without the package that lays graphs out: `pip install 'tensorad[pictures]'`.
        """
        return svg(Seen(self, whole))

    def trace(self) -> dict[str, Any]:
        """The graph as plain data, for a page: lists, dicts, numbers and text, as JSON has them."""
        return trace(self)

    def _forms(self) -> dict[str, Callable[[], str | bytes]]:
        return super()._forms() | {".svg": self.to_svg, ".dot": self.to_dot, ".mmd": self.to_mermaid}


class Recorded:
    """What a context recorded on the way to a target: the nodes, in order, their numbers, and what is known of each."""

    def __init__(self, context: "Grad", target: Node, sources: Sequence[Node] | None) -> None:
        reached = ancestors([target], lambda node: context in node.contexts)
        if sources is not None:
            reached = list(between(context, target, set(sources))[1].intersection(reached))
        self.context, self.target = context, target
        self.nodes = self._in_order(reached)
        self.numbers = {node: place for place, node in enumerate(self.nodes, 1)}
        around = spaces(user_frame())
        known, self.constants = variables(around), constants(around)
        self.values: dict[Node, Any] = {node: value for node, (_, value) in known.items()}
        self.values |= {node: value for each in self.nodes if each.op for node, value in _kept(each)}
        self.names: dict[Node, str] = {node: name for node, (name, _) in known.items()}
        made = [node for node in self.nodes if self.made(node)]
        in_text = {node: name for each in made for node, name in argument_names(each) if not self.made(node)}
        self.names = in_text | self.names | assigned(made)
        self.names |= {node: node.name for node in self.nodes if node.name}
        self.names = {node: printable(str(name)) for node, name in self.names.items()}
        self.groups = folded(self)
        order = self.groups.numbers  # as it is read: a leaf stands just before the group that uses it first
        self.groups.renumber({before: number for number, before in enumerate(order, 1)})
        self.nodes = [self.nodes[number - 1] for number in order]
        self.numbers = {node: number for number, node in enumerate(self.nodes, 1)}
        self.symbols = _symbols(self.nodes, self.names)

    def _in_order(self, reached: Sequence[Node]) -> list[Node]:
        """In the order of making, and each leaf just before what uses it first."""
        everything = {*reached}
        order: dict[Node, None] = {}
        for node in sorted(filter(self.made, reached), key=lambda node: node.number):
            order |= dict.fromkeys(each for each in node.parents if each in everything and not self.made(each))
            order[node] = None
        return [*order] or [self.target]

    def made(self, node: Node) -> bool:
        """Whether the context recorded it."""
        return self.context in node.contexts

    def graph(self, sources: Sequence[Node]) -> Graph:
        """All of it as plain data."""
        target = self.names.get(self.target) or f"the result of {name_of(self.target)}"
        nodes = [self.described(node) for node in self.nodes]
        found = [(self.names.get(node) or f"#{self.numbers[node]}", self.numbers[node])
                 for node in sources if node in self.numbers]  # fmt: skip
        return Graph(target, nodes, self.groups, self.numbers[self.target], found)

    def described(self, node: Node) -> GraphNode:
        number, name, value = self.numbers.get(node, 0), self.names.get(node), self.values.get(node)
        shape = tuple(map(tuple, node.shape)) if isinstance(node.shape, Shapes) else tuple(node.shape)
        text = None if value is None else shown(value)
        if not self.made(node):
            return GraphNode(number, None, name, shape, node.dtype, text, "", [], symbol=self.symbols.get(node, ""))
        inputs = [(operand, self.numbers[parent]) for operand, parent in operands_of(node) if parent in self.numbers]
        contexts = tuple([printable(name_of_context(each)) for each in contexts_of(node)])
        return GraphNode(number, name_of(node), name, shape, node.dtype, text, line_of(node), inputs, contexts,
                         text_of(node.site), formulas_of(node.op), self.symbols[node])  # fmt: skip


def operands_of(node: Node) -> list[tuple[str, Any]]:
    """The operands' names and their nodes, None for constants; a list of operands has them by their places."""
    names = node.op.operands if node.op.operands != ["tensors"] else map(str, range(len(node.parents)))
    return list(zip(names, node.parents, strict=True))


def _symbols(nodes: list[Node], names: dict[Node, str]) -> dict[Node, str]:
    """A name for each node that no other has: its own, with a number if there are several, `v7` if it has none."""
    counts = Counter(names[node] for node in nodes if node in names)
    found: dict[Node, str] = {}
    used: Counter[str] = Counter()
    for place, node in enumerate(nodes, 1):
        name = names.get(node)
        if name is None:
            found[node] = f"v{place}"
        else:
            used[name] += 1
            found[node] = name if counts[name] == 1 else f"{name}{str(used[name]).translate(_LOWERED)}"
    return found


_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _kept(node: Node) -> Iterator[tuple[Node, Any]]:
    """The values that a node has saved of what it was computed from, and its own."""
    owners = (*node.parents, node, None)
    for name, value, place in zip(node.op.saves, node.saved, node.op.places, strict=True):
        owner = owners[place]
        if owner is not None and not name.endswith("_shape") and isinstance(value, torch.Tensor | tuple):
            yield owner, value
