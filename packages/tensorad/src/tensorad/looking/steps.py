"""`g.steps(target, sources)`: the backward pass step by step, looked at, changed on the way, and shown."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from operator import index
from typing import TYPE_CHECKING, Any

from tensorad.arguments import fitting
from tensorad.errors import ArgumentError, ContextError
from tensorad.looking.formula import Formula, formula_of
from tensorad.looking.graph import Graph, GraphNode, operands_of
from tensorad.looking.saved import Saved
from tensorad.looking.values import FEW, factor, shape_of, shown, written
from tensorad.looking.walk import Contribution, Walk, presented
from tensorad.node import Node
from tensorad.rule import formulas_of
from tensorad.tensor import Tensor

if TYPE_CHECKING:
    from tensorad.grad import Grad

_FIRST, _LAST = 30, 10  # of more steps than these together, the others are left out where they are printed


@dataclass(eq=False)
class Received:
    """What one operand receives from a step.

    Attributes:
        operand: its name in the rule.
        node: what it is in the graph.
        formula: the rule, in the names of the op.
        returned: what the rule returned.
        value: that in the operand's own shape and dtype: broadcasting and promotion undone.
        before: what the operand had received until then, from other steps; None if nothing.
        total: the sum.
        written: what works out `ran`, when that is asked for.
    """

    operand: str
    node: GraphNode
    formula: str
    returned: Any
    value: Any
    before: Any
    total: Any
    written: Callable[[], Formula]

    @cached_property
    def ran(self) -> Formula:
        """The rule as it ran: with the branches that it took, helpers written out, and what its names stand for."""
        return self.written()

    @property
    def symbols(self) -> str:
        """The rule as it ran, in the names of the program."""
        return self.ran.in_symbols()

    @property
    def numbers(self) -> str | None:
        """The same with the values of this run; None if they are too large."""
        return self.ran.in_numbers()

    @property
    def unbroadcast(self) -> bool:
        """Whether the rule returned another shape or dtype than the operand has."""
        return self.returned.shape != self.value.shape or self.returned.dtype != self.value.dtype

    @property
    def fitted(self) -> str:
        """How broadcasting and promotion were undone, in words; empty if there was none."""
        words: list[str] = []
        shape = self.ran.shape or shape_of(self.returned)  # a kernel may have summed by itself
        if shape != shape_of(self.value):
            words.append(f"summed from {shape} to {shape_of(self.value)}")
        if self.returned.dtype != self.value.dtype:
            dtypes = [str(each.dtype).removeprefix("torch.") for each in (self.returned, self.value)]
            words.append(f"turned from {dtypes[0]} into {dtypes[1]}")
        return ", ".join(words)

    def __str__(self) -> str:
        numbers = self.numbers
        value = shown(self.value)
        told = numbers not in (None, value, factor(value))
        text = f"{self.node.symbol} receives {self.symbols}" + f" = {numbers}" * told
        met = f", and {shown(self.before)} from before: {shown(self.total)}" if self.before is not None else ""
        return f"{text} = {value}" + f", {self.fitted}" * bool(self.fitted) + met

    def trace(self) -> dict[str, Any]:
        """The same as plain data, for a page."""
        return {
            "operand": self.operand, "node": self.node.number, "formula": self.formula, "symbols": self.symbols,
            "numbers": self.numbers, "value": _data_of(self.value),
            "before": _data_of(self.returned) if self.unbroadcast else None, "fitted": self.fitted,
            "sum": None if self.before is None else _data_of(self.total),
        }  # fmt: skip


@dataclass(eq=False)
class _Record:
    """What is known of a step: it does not know the Steps, so that both are freed together."""

    node: Node
    described: GraphNode
    cotangent: Any
    changed: bool = False  # whether it was set
    received: list[Received] | None = None  # None: it has not run yet
    gradients: dict[str, Any] = field(default_factory=dict)


class Step:
    """One step: the turn of one node, whose cotangent is complete.

    The pass stands still before a step until its `received` or `gradients` are asked for, or the next step: until then,
    `cotangent` can be set, and the pass goes on with that.

    Attributes:
        number: 0 for the first, which is the target.
        node: what it is in the graph.
        rule: the op's rules as formulas, operand -> its cotangent.
    """

    __slots__ = ("_record", "_steps", "node", "number", "rule")

    def __init__(self, steps: "Steps", number: int, record: _Record) -> None:
        self.number, self.node, self.rule = number, record.described, formulas_of(record.node.op)
        self._steps, self._record = steps, record

    @property
    def cotangent(self) -> Any:
        """The gradient of the target by this node; None if nothing flows here. It can be set until the step runs."""
        return presented(self._record.cotangent)

    @cotangent.setter
    def cotangent(self, value: Any) -> None:
        self._steps.change(self.number, value)

    @property
    def received(self) -> list[Received]:
        """What each operand that leads to a source receives."""
        return self._steps.run(self.number).received or []

    @property
    def gradients(self) -> dict[str, Any]:
        """What the sources have received after this step, by their names; None where nothing has arrived yet."""
        return self._steps.run(self.number).gradients

    def trace(self) -> dict[str, Any]:
        """The same as plain data, for a page."""
        rule = "; ".join(f"{operand}: {formula}" for operand, formula in self.rule.items())
        return {
            "node": self.node.number,
            "cotangent": None if self.cotangent is None else _data_of(self.cotangent, plain=True),
            "rule": f"{self.node.short_op}  {rule}",
            "received": [each.trace() for each in self.received],
        }  # fmt: skip

    def __repr__(self) -> str:
        what = f"{self.number}  {self.node.symbol} = {self.node.op}"
        if self.cotangent is None:
            return f"{what}: nothing flows here"
        lines = [f"{what}, cotangent {shown(self.cotangent)}  {self.node.line}"]
        return "\n".join([*lines, *(f"     {each}" for each in self.received)])


class Steps(Saved):
    """A backward pass, step by step: go through it, index it, print it, or see it in a notebook.

    Nothing has run at first. Going through it runs the pass, step by step; each is kept, to be gone through again.

    Args:
        context: the Grad that is asked: its `steps` makes one of these.
        target: as for `Grad.steps`.
        sources: as for `Grad.steps`.
        cotangent: as for `Grad.steps`.
        earlier: an earlier walk of the same pass, whose contexts and graph are taken over.

    Attributes:
        graph: what is walked through.
    """

    def __init__(
        self, context: "Grad", target: Any, sources: Any, cotangent: Any = None, earlier: Walk | None = None
    ) -> None:
        self._asked = context, target, sources, cotangent
        self._walk = Walk(context, target, sources, cotangent, earlier)
        self.graph: Graph = self._walk.recorded.graph(list(self._walk.labels.values()))
        self._records: list[_Record] = []
        self._failed = ""  # the error that the pass ended with

    def __len__(self) -> int:
        return self._walk.length

    def __iter__(self) -> Iterator[Step]:
        return (self[place] for place in range(len(self)))

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        number = index(number)
        if not -len(self) <= number < len(self):
            raise IndexError(f"there are {len(self)} steps, from 0 on, and not {number}")
        number %= len(self)
        while len(self._records) <= number:
            if self._records:
                self.run(len(self._records) - 1)
            else:
                self._go_on()
        return Step(self, number, self._records[number])

    @property
    def gradients(self) -> Any:
        """The gradients at the end: what `g.gradient` returns, unless a cotangent was changed on the way."""
        if len(self):
            self.run(len(self) - 1)
        return self._walk.gradients()

    def run(self, number: int) -> _Record:
        """Run the pass up to the end of one step, as asking for what that step did runs it.

        Args:
            number: that of the step, from 0.

        Returns:
            What is known of it: its `received` and `gradients` are those of the `Step`.
        """
        record = self[number]._record
        if record.received is None:
            before = self._records[-2].gradients if number else dict.fromkeys(self._walk.labels)
            self._go_on()
            wanted = {each.place for each in self._walk.contributions}
            record.received = [self._received(record, each, wanted) for each in self._walk.contributions]
            arrived = {each.parent: each.total for each in self._walk.contributions}
            # A source that is the target, or whose cotangent has just been set, has it without having received it.
            arrived |= {record.node: record.cotangent}
            record.gradients = {label: presented(arrived[node]) if node in arrived else before[label]
                                for label, node in self._walk.labels.items()}  # fmt: skip
        return record

    def change(self, number: int, cotangent: Any) -> None:
        """Let the pass go on from a step with another cotangent; as `steps[number].cotangent = ...`.

        Args:
            number: that of the step, from 0.
            cotangent: the other one, of the shape of the first: a Tensor, or something to make one of.

        Raises:
            ArgumentError: if the step has run already, or has no cotangent that could be changed.
            ShapeError: for a cotangent of another shape.
        """
        step = self[number]
        if step._record.received is not None:
            raise ArgumentError(
                f"step {number} has run already: set the cotangent before its `received` or the next step is asked "
                f"for, or start again with steps.changed({number}, value)"
            )
        if not isinstance(step.cotangent, Tensor):
            raise ArgumentError(
                f"nothing flows to {step.node.op}, or it has several outputs: change the cotangent of one of these"
            )
        found = fitting("cotangent", cotangent, step.cotangent, self._walk.contexts)
        record = step._record
        record.cotangent = found.conj_physical() if found.dtype.is_complex else found
        self._walk.cotangents[record.node], record.changed = record.cotangent, True

    def changed(self, number: int, cotangent: Any) -> "Steps":
        """The same pass from the start, with another cotangent at one step, and what was changed before that one.

        Args:
            number: that of the step, from 0.
            cotangent: the other one, of the shape of the first: a Tensor, or something to make one of.

        Returns:
            The Steps of the other pass; these stay as they are.

        Raises:
            ArgumentError: if the step has no cotangent that could be changed.
            ShapeError: for a cotangent of another shape.

        Examples:
            >>> import tensorad as ts
            >>> x = ts.tensor(2.0)
            >>> with ts.Grad() as g:
            ...     y = (x * x) * 3
            >>> steps = g.steps(y, x)
            >>> steps.gradients, steps.changed(1, 1.0).gradients
            (Tensor(12.), Tensor(4.))
        """
        number, again = self[number].number, Steps(*self._asked, earlier=self._walk)
        for place, record in enumerate(self._records[:number]):
            if record.changed:
                again.change(place, presented(record.cotangent))
        again.change(number, cotangent)
        return again

    def trace(self) -> dict[str, Any]:
        """The graph and all steps as plain data, for a page. This runs the pass to its end."""
        numbers = self._walk.recorded.numbers
        sources = [{"label": label, "node": numbers.get(node)} for label, node in self._walk.labels.items()]
        title = f"gradient of {self.graph.title} by {_some([*self._walk.labels])}"
        steps = [step.trace() for step in self]
        return self.graph.trace() | {"title": title, "sources": sources, "steps": steps, "editable": True}

    def __repr__(self) -> str:
        if not len(self):
            return (
                "no steps: the target is the source itself, or does not depend on it (g.why(target, source) says why)"
            )
        left_out = range(_FIRST, len(self) - _LAST)
        lines: list[str] = []
        for step in self:
            if step.number not in left_out:
                lines.append(repr(step))
            elif step.number == _FIRST:
                lines.append(f"... and {len(left_out):,} more: steps[{_FIRST}] to steps[{left_out[-1]}]")
        for label, gradient in self[-1].gradients.items():
            lines.append(f"gradient by {label}: {'nothing arrived' if gradient is None else shown(gradient)}")
        return "\n".join(lines)

    def _go_on(self) -> None:
        """Let the loop run up to its next stop, and note what it stands before."""
        if self._failed:
            raise ContextError(f"the pass ended at step {len(self._records) - 1} with {self._failed}; ask for it again")
        try:
            node: Any = self._walk.on()
        except BaseException as error:
            self._failed = f"{type(error).__name__}: {error}"
            raise
        if node:
            self._records.append(_Record(node, self._described(node), self._walk.cotangents.get(node)))

    def _described(self, node: Node) -> GraphNode:
        return self.graph.nodes[self._walk.recorded.numbers[node] - 1]

    def _received(self, record: _Record, each: Contribution, wanted: set[int]) -> Received:
        operand, rules = operands_of(record.node)[each.place][0], formulas_of(record.node.op)
        of_all = next(iter(rules.values()))  # for an op with a list of operands
        formula = next((text for names, text in rules.items() if operand in names.split(", ")), of_all)
        returned, value, before, total = map(presented, (each.returned, each.value, each.before, each.total))
        written = partial(formula_of, self._walk.recorded, record.node, each.place, record.cotangent, wanted)
        return Received(operand, self._described(each.parent), formula, returned, value, before, total, written)


def _some(labels: list[str]) -> str:
    return ", ".join(labels if len(labels) <= FEW else [*labels[: FEW - 2], f"and {len(labels) - FEW + 2} more"])


def _data_of(value: Any, plain: bool = False) -> dict[str, Any]:
    found = {"text": shown(value), "shape": shape_of(value)}
    if plain and isinstance(value, Tensor) and value.data.numel() <= FEW:
        found["plain"] = written(value.data)
    return found
