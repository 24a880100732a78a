"""`g.explain(target, sources)`: the chain rule of one run, in symbols, in shapes and in numbers."""

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from tensorad.call import Op
from tensorad.looking.formula import Formula, Symbol, derivative
from tensorad.looking.graph import GraphNode
from tensorad.looking.ran import plain
from tensorad.looking.saved import Saved
from tensorad.looking.steps import Steps
from tensorad.looking.values import shown
from tensorad.node import Node
from tensorad.notebook import needed
from tensorad.rule import RuleCard, card_of, expression_of

if TYPE_CHECKING:
    from tensorad.grad import Grad

_FIRST, _LAST = 30, 10  # of more equations than these together, the others are left out where they are shown
_FACTORS, _PATHS = 8, 4  # more than that, and the chain rule as a whole is said in words
_TERMS = 8  # of a sum of more than that, the others are left out where it is shown


@dataclass(eq=False)
class Term:
    """What one operand of one node adds to a derivative: a rule, as it ran.

    Attributes:
        node: whose rule it is.
        operand: its name in the rule.
        formula: the rule, in the names of the op.
        ran: the rule, as it ran.
        value: what it came to, in the shape and dtype of the operand.
        fitted: how broadcasting and promotion were undone, in words; empty if there was none.
        made: the expression of the program that made the node.
        rule: its place in the rules of the Explanation.
    """

    node: GraphNode
    operand: str
    formula: str
    ran: Formula
    value: Any
    fitted: str
    made: str
    rule: int

    @property
    def is_sum(self) -> bool:
        """Whether it needs brackets as a part of a sum."""
        return isinstance(self.ran.expression, ast.IfExp) or bool(self.fitted)


@dataclass(eq=False)
class Equation:
    """The derivative of the target by one value of the run: the sum of what came from all that was computed of it.

    Attributes:
        node: that value.
        symbol: the derivative, such as `∂y/∂h`.
        terms: a Term for each time that an op has used the value; none if nothing has arrived.
        value: what they come to.
    """

    node: GraphNode
    symbol: Symbol
    terms: list[Term]
    value: Any

    @property
    def symbols(self) -> str:
        """The equation in the names of the program."""
        if not self.terms:
            return f"{self.symbol.text} = 0, nothing arrives here"
        return (
            f"{self.symbol.text} = {self._sum([(each.ran.in_symbols(), each.fitted) for each in self.shown_terms()])}"
        )

    @property
    def shapes(self) -> str:
        """The equation with a shape for each factor."""
        fitted = f"summed to {self.symbol.shape}"
        parts = [(each.ran.in_shapes(), fitted * each.fitted.startswith("summed")) for each in self.shown_terms()]
        return f"{self.symbol.shape} = {self._sum(parts)}" if self.terms else ""

    @property
    def numbers(self) -> str:
        """The value, and before it the terms in numbers, where they are few."""
        if not self.terms:
            return "0"
        value = shown(self.value).removeprefix(f"{self.symbol.shape}, ")
        parts = [(each.ran.in_numbers(), "summed" * each.fitted.startswith("summed")) for each in self.shown_terms()]
        if any(numbers is None for numbers, _ in parts):
            return value
        text = self._sum([(str(numbers), words) for numbers, words in parts])
        return value if text.strip("()") == value else f"{text} = {value}"

    def shown_terms(self) -> list[Term]:
        """The terms that are shown: all, or the first of them, where a value has been used very often."""
        return self.terms if len(self.terms) <= _TERMS else self.terms[: _TERMS - 1]

    @property
    def more(self) -> str:
        """In words, how many terms are not shown."""
        left_out = len(self.terms) - len(self.shown_terms())
        return f"… {left_out:,} more terms" * bool(left_out)

    def _sum(self, parts: list[tuple[str, str]]) -> str:
        """Terms, each with a few words after it, and the signs between them."""
        text = ""
        for (part, words), term in zip(parts, self.shown_terms(), strict=True):
            part = f"{part}, {words}" if words else part
            part = f"({part})" if len(parts) > 1 and term.is_sum else part
            minus = part.startswith("-") and not isinstance(getattr(term.ran.expression, "op", None), ast.Add | ast.Sub)
            text += part if not text else f" - {part[1:]}" if minus else f" + {part}"
        return f"{text} + {self.more}" if self.more else text

    def __str__(self) -> str:
        lines = [self.symbols, *filter(None, [self.shapes]), f" = {self.numbers}" * bool(self.terms)]
        width = max(line.index(" = ") for line in lines if line)
        aligned = [" " * (width - line.index(" = ")) + line for line in lines if line]
        about = dict.fromkeys(line for term in self.shown_terms() for line in (f"by {origin(term)}", *term.ran.notes))
        return "\n".join([*aligned, *(" " * (width + 3) + line for line in about)])


def origin(term: Term) -> str:
    """Whose rule it is, and where that was computed: `sin: v3 = h.sin() at train.py:3`."""
    return f"{term.node.op}: {term.made} {term.node.line.partition(' (')[0]}".rstrip()


@dataclass(frozen=True)
class Chain:
    """The chain rule as a whole, from the target to one source.

    Attributes:
        source: the derivative by it.
        count: how many paths lead there.
        longest: how many factors the longest has.
        paths: each as its factors, derivatives; empty where these are too many, or too long.
    """

    source: Symbol
    count: int
    longest: int
    paths: list[list[Symbol]]

    def __str__(self) -> str:
        if self.paths:
            products = [" · ".join(each.text for each in path) for path in self.paths]
            return f"{self.source.text} = {' + '.join(products)}"
        if self.count == 1:
            return f"{self.source.text}: one path, a product of {self.longest:,} factors"
        return f"{self.source.text}: the sum over {self.count:,} paths, products of up to {self.longest:,} factors"


@dataclass(frozen=True)
class UsedRule:
    """A rule that was used.

    Attributes:
        card: what is known of it.
        expressions: operand -> its formula, as syntax.
    """

    card: RuleCard
    expressions: dict[str, ast.expr]


@dataclass(eq=False, repr=False)
class Explanation(Saved):
    """A derivation: print it, save it, see it in a notebook, or go through its equations.

    Attributes:
        title: what it is the derivation of.
        chains: the chain rule as a whole, for each source.
        start: what the derivation starts from: the derivative of the target by itself, its value, and a few words.
        equations: one for each value on the way, in the order in which the pass has completed them.
        rules: those that were used.
    """

    title: str
    chains: list[Chain]
    start: tuple[Symbol, str, str]
    equations: list[Equation]
    rules: list[UsedRule] = field(default_factory=list[UsedRule])

    def shown(self) -> Iterator[Equation | str]:
        """The equations that are shown, and in words how many are not."""
        left_out = range(_FIRST, len(self.equations) - _LAST)
        for place, equation in enumerate(self.equations):
            if place not in left_out:
                yield equation
            elif place == _FIRST:
                yield f"and {len(left_out):,} more: equations[{_FIRST}] to equations[{left_out[-1]}]"

    def __repr__(self) -> str:
        symbol, value, words = self.start
        parts = [
            "\n".join([self.title, *(f"  {chain}" for chain in self.chains)]),
            f"{symbol.text} = {value}" + f", {words}" * bool(words),
            *(each if isinstance(each, str) else str(each) for each in self.shown()),
            "\n".join(["rules:", *(f"  {line}" for rule in self.rules for line in _rule_lines(rule.card))]),
        ]
        return "\n\n".join(parts if self.rules else parts[:-1])

    def trace(self) -> dict[str, Any]:
        """The derivation as plain data: lists, dicts and text, as JSON has them."""
        return {
            "title": self.title,
            "chains": [{"source": each.source.text, "paths": each.count, "longest": each.longest, "text": str(each)}
                       for each in self.chains],
            "start": {"symbol": self.start[0].text, "value": self.start[1], "words": self.start[2]},
            "equations": [_equation_data(each) for each in self.equations],
            "rules": [{"name": each.card.name, "formulas": each.card.formulas, "source": each.card.source,
                       "file": each.card.file} for each in self.rules],
        }  # fmt: skip

    def _forms(self) -> dict[str, Callable[[], Any]]:
        typeset = lambda: needed("tensorad_ipython.explained", "tensorad[ipython]", "a derivation, typeset,")  # noqa: E731
        drawn = {".html": lambda: typeset().page_of(self), ".tex": lambda: typeset().latex_of(self)}
        return super()._forms() | drawn


def _equation_data(equation: Equation) -> dict[str, Any]:
    terms = [
        {
            "operand": each.operand, "node": each.node.number, "formula": each.formula,
            "symbols": each.ran.in_symbols(), "shapes": each.ran.in_shapes(), "numbers": each.ran.in_numbers(),
            "fitted": each.fitted, "made": each.made, "line": each.node.line,
            "notes": each.ran.notes, "rule": each.rule,
        }
        for each in equation.terms
    ]  # fmt: skip
    return {
        "node": equation.node.number, "symbol": equation.symbol.text, "symbols": equation.symbols,
        "shapes": equation.shapes, "numbers": equation.numbers, "terms": terms,
    }  # fmt: skip


def _rule_lines(card: RuleCard) -> Iterator[str]:
    yield card.name + f"  in {card.file}"
    yield from (f"  {operand}: {formula}" for operand, formula in card.formulas.items())


def explain(context: "Grad", target: Any, sources: Any, cotangent: Any = None) -> Explanation:
    """What `Grad.explain` returns."""
    return _Derivation(Steps(context, target, sources, cotangent), cotangent is not None).explanation()


class _Derivation:
    """What the steps of a pass have to say, put in the order of what is received."""

    def __init__(self, steps: Steps, given: bool) -> None:
        self.steps, self.walk, self.given = steps, steps._walk, given
        self.graph, self.recorded = steps.graph, steps._walk.recorded
        self.target = self.graph.nodes[self.graph.target - 1]
        self.several_made = _made_by_several(self.recorded.nodes)
        self.rules: dict[Op, int] = {}
        self.terms: dict[int, list[Term]] = {}
        self.totals: dict[int, Any] = {}

    def explanation(self) -> Explanation:
        seed = self.walk.cotangents.get(self.recorded.target)
        start = self.derivative(self.target, seed), shown(plain(seed)), self.seeded()
        for place in range(len(self.steps)):
            self.take(place)
        sources = [self.source(label, node) for label, node in self.walk.labels.items()]
        equations = [self.equation(self.graph.nodes[number - 1], terms) for number, terms in self.terms.items()]
        equations += [Equation(node, self.derivative(node, torch.zeros(node.shape, device="meta")), [], None)
                      for node in sources if node.number not in self.terms and node is not self.target]  # fmt: skip
        if any(not each.terms for each in equations):
            _ = self.steps.gradients  # which warns of a path that is cut
        rules = [UsedRule(card_of(op), {", ".join(names.split()): expression_of(inspect.unwrap(rule))
                                        for names, rule in op.rules.items()}) for op in self.rules]  # fmt: skip
        title = f"{', '.join(self.name(node.symbol) for node in sources)} by the chain rule"
        return Explanation(title, self.chains(sources), start, equations, rules)

    def source(self, label: str, node: Node) -> GraphNode:
        """What a source is in the graph; a leaf of its own, if nothing leads there."""
        if node in self.recorded.numbers:
            return self.graph.nodes[self.recorded.numbers[node] - 1]
        return GraphNode(0, None, label, tuple(node.shape), node.dtype, None, "", [], symbol=label)

    def name(self, by: str) -> str:
        return f"∂{self.target.symbol}/∂{by}"

    def seeded(self) -> str:
        if self.given:
            return "the cotangent that was given"
        ones = len(self.target.shape) > 0 and not isinstance(self.target.shape[0], tuple)
        return f"ones: it is the sum of all elements of {self.target.symbol} that is differentiated" * ones

    def derivative(self, node: GraphNode, g: Any) -> Symbol:
        if node.number:
            return derivative(self.recorded, self.recorded.nodes[node.number - 1], g)
        return Symbol(self.name(node.symbol), str(node.shape), None, self.target.symbol, node.symbol)

    def take(self, place: int) -> None:
        """Note what the operands of one node have received, those whose sum is complete last."""
        record = self.steps.run(place)
        rule = self.rules.setdefault(record.node.op, len(self.rules))
        for each in record.received or []:
            known = self.terms.pop(each.node.number, [])
            made = self.made(record.node, record.described)
            known.append(
                Term(record.described, each.operand, each.formula, each.ran, each.value, each.fitted, made, rule)
            )
            self.terms[each.node.number] = known  # at the end: it may be complete now
            self.totals[each.node.number] = each.total

    def made(self, node: Node, described: GraphNode) -> str:
        """The expression of the program that made a node, or that it is a part of."""
        if not described.code:
            return described.symbol
        if described.name is not None or node.site not in self.several_made:
            return f"{described.symbol} = {described.code}"
        operands = ", ".join(self.graph.nodes[number - 1].symbol for _, number in described.inputs)
        return f"{described.symbol} = {described.op}({operands}), in {described.code}"

    def equation(self, node: GraphNode, terms: list[Term]) -> Equation:
        value = self.totals[node.number]
        return Equation(node, self.derivative(node, value), terms, value)

    def chains(self, sources: list[GraphNode]) -> list[Chain]:
        """The chain rule as a whole: paths are counted on the way, and gone through where they are few."""
        ways, longest = {self.target.number: 1}, {self.target.number: 0}
        users: dict[int, dict[int, None]] = {}  # a value's number -> those of the nodes that were computed of it
        for place in range(len(self.steps)):
            record = self.steps.run(place)
            user = record.described.number
            for used in {each.node.number: None for each in record.received or []}:
                users.setdefault(used, {})[user] = None
                ways[used] = ways.get(used, 0) + ways[user]
                longest[used] = max(longest.get(used, 0), longest[user] + 1)
        chains: list[Chain] = []
        for source in sources:
            count, length = ways.get(source.number, 0), longest.get(source.number, 0)
            if length > 1:
                few = count <= _PATHS and length <= _FACTORS
                found = list(_paths(source.number, users)) if few else []
                # A factor of the target by a value that also reaches it otherwise would have the name of the sum.
                clear = all(of != self.target.number or ways[by] == 1 for path in found for of, by in path)
                paths = [[self.factor(*ends) for ends in path] for path in found] if clear else []
                chains.append(Chain(self.derivative(source, torch.zeros(())), count, length, paths))
        return chains

    def factor(self, of: int, by: int) -> Symbol:
        above, below = (self.graph.nodes[number - 1].symbol for number in (of, by))
        return Symbol(f"∂{above}/∂{below}", "", None, above, below)


def _paths(number: int, users: dict[int, dict[int, None]]) -> Iterator[list[tuple[int, int]]]:
    """All paths from the target to a node, as pairs of what was computed and of what."""
    if number not in users:
        yield []
    for user in users.get(number, ()):
        for path in _paths(user, users):
            yield [*path, (user, number)]


def _made_by_several(nodes: list[Node]) -> set[Any]:
    """The places in the program where one expression was computed by several different ops."""
    ops: dict[Any, set[str]] = {}
    for node in nodes:
        if node.op:
            ops.setdefault(node.site, set()).add(node.op.name)
    return {site for site, names in ops.items() if len(names) > 1}
