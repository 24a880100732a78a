"""`gradcheck`: a function's derivatives compared with finite differences, order by order and entry by entry.

Each order is compared with differences of the one below: the first with the function's values, the second with the
first. So that each is a matter of one number, what is compared is a combination of all entries of all outputs (of all
entries of the gradient, for the second order), weighted at random but always alike.
"""

import functools
import itertools
import operator
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tensorad import tree
from tensorad.differences import Difference, Point, Verdict, difference, judged, largest, steps_for
from tensorad.errors import ArgumentError, PrecisionWarning
from tensorad.grad import Grad
from tensorad.node import Entry, differentiable
from tensorad.operands import plain
from tensorad.tensor import Tensor
from tensorad.why import cuts

Function = Callable[..., Any]
LIMIT = 200  # of the entries of an input, so many are compared
PRECISE = 1e-4  # once a difference is so precise, relative to the derivative, no better one is looked for
COARSE = torch.finfo(torch.float32).eps
_RANK = {"agree": 0, "rough": 1, "disagree": 2}


class Inputs:
    """What a function is called with: a nest of arguments, and which of its values are differentiated by."""

    def __init__(self, arguments: Sequence[Any], floats: bool = False) -> None:
        given = tuple(arguments)
        self.values, self.structure = tree.flatten(given)
        places = [place for place, value in enumerate(self.values) if _has_derivative(value, floats)]
        names = tree.paths(given)
        self.places = places
        self.names = [f"argument {names[place][1:].replace(']', '', 1)}" for place in places]
        self.data: list[torch.Tensor] = [_copy(self.values[place]) for place in places]

    def call(self, function: Function, values: Sequence[Any]) -> Any:
        """What `function` gives for other values of those that are differentiated by."""
        others = dict(zip(self.places, values, strict=True))
        every = [others.get(place, value) for place, value in enumerate(self.values)]
        return function(*tree.unflatten(self.structure, every))

    def doubled(self) -> "Inputs":
        """The same in float64, or complex128."""
        wide = Inputs(tree.unflatten(self.structure, self.values), floats=True)
        wide.data = [each.to(torch.complex128 if each.is_complex() else torch.float64) for each in self.data]
        wide.places, wide.names = self.places, self.names
        return wide

    def tensors(self) -> list[Tensor]:
        """The data as Tensors that nobody else has."""
        return [Tensor(data.clone()) for data in self.data]


def _has_derivative(value: Any, floats: bool) -> bool:
    if isinstance(value, Tensor | torch.Tensor):
        return differentiable(value.dtype)
    return floats and isinstance(value, float | complex)


def _copy(value: Any) -> torch.Tensor:
    if isinstance(value, float | complex):
        return torch.tensor(value, dtype=torch.complex128 if isinstance(value, complex) else torch.float64)
    return plain(value).detach().clone()


@dataclass
class Level:
    """One order: the outputs of the function, or the gradients by its inputs, of the combination of the level below."""

    parts: list[Any]  # Tensors; None for a gradient by an input that the level below does not depend on
    total: Tensor  # their combination
    context: Grad | None  # what recorded the level below


def levels(function: Function, inputs: Inputs, tensors: Sequence[Tensor], order: int) -> list[Level]:
    """The function and its derivatives up to `order`, of which the last is not recorded."""
    if not order:
        parts = outputs_of(inputs.call(function, tensors))
        return [Level(parts, combined(parts), None)]
    with Grad(f"order {order}") as g:
        found = levels(function, inputs, tensors, order - 1)
    gradients = g.gradient(found[-1].total, dict(enumerate(tensors)), unconnected="none")
    parts = list(gradients.values())
    return [*found, Level(parts, combined(parts), g)]


def outputs_of(result: Any) -> list[Any]:
    """The Tensors that a function returned, those with a derivative; or the error for what else it returned."""
    values, _ = tree.flatten(result)
    for index, value in enumerate(values):
        if isinstance(value, float | complex) or (isinstance(value, torch.Tensor) and differentiable(value.dtype)):
            kind = "torch.Tensor" if isinstance(value, torch.Tensor) else type(value).__name__
            raise ArgumentError(
                f"what the function returned{tree.path(result, index)} is no tensorad.Tensor but a {kind}, so nothing "
                "was recorded for it: compute it from the arguments, and return only that"
            )
    outputs = [value for value in values if isinstance(value, Tensor) and differentiable(value.dtype)]
    if not outputs:
        raise ArgumentError("the function returned no Tensor of floating point or complex values: nothing to compare")
    return outputs


def combined(parts: Sequence[Any]) -> Tensor:
    """One real number of all entries of `parts`."""
    terms = [(part * weights(part.data, place)).sum() for place, part in enumerate(parts) if part is not None]
    real = [term.real if term.dtype.is_complex else term for term in terms]
    return functools.reduce(operator.add, real) if real else Tensor(torch.zeros(()))


def weights(data: torch.Tensor, seed: int) -> torch.Tensor:
    """Random numbers like `data`, none of them near zero, always the same. A number alone stands for itself."""
    if data.ndim == 0 and seed == 0 and not data.is_complex():
        return torch.ones_like(data)
    generator = torch.Generator().manual_seed(seed)

    def draw() -> torch.Tensor:
        size, sign = torch.rand((2, *data.shape), generator=generator, dtype=torch.float64)
        return (size + 0.5) * torch.where(sign > 0.5, 1.0, -1.0)

    return (torch.complex(draw(), draw()) if data.is_complex() else draw()).to(data)


def _measured(level: Level) -> tuple[float, float]:
    """The combination, in as many digits as there are; and the sum of the sizes of its terms."""
    total = size = 0.0
    for place, part in enumerate(level.parts):
        if part is not None:
            wide = torch.complex128 if part.dtype.is_complex else torch.float64
            terms = part.data.to(wide) * weights(part.data, place).to(wide)
            total, size = total + terms.sum().real.item(), size + terms.abs().sum().item()
    return total, size


@dataclass
class Finding:
    """What finite differences say of one entry of one derivative."""

    input: int
    where: str  # such as `argument 0['w'], entry [1, 2]`
    difference: Difference
    verdict: Verdict

    def __str__(self) -> str:
        claimed, numeric = self.difference.claimed.item() + 0.0, self.difference.numeric.item() + 0.0  # -0.0 is 0.0
        return (
            f"{self.where}: analytic {claimed:.7g}, numeric {numeric:.7g} ± {self.difference.error:.1g} "
            f"(step {self.difference.step:.2g})"
        )

    @property
    def badness(self) -> tuple[int, float]:
        """By what the worst is chosen: its verdict, then how far apart the two are."""
        found = self.difference
        apart, size = float((found.claimed - found.numeric).abs()), found.size + found.error
        return _RANK[self.verdict], apart / size if apart == apart and size else float("inf") * (apart != 0)


@dataclass
class Comparison:
    """All that was found: the derivatives that are claimed, and for each order a finding per entry."""

    levels: list[Level]
    tensors: list[Tensor]
    findings: list[list[Finding]]
    sampled: list[str]  # inputs of which not all entries were compared, in words

    def worst(self, order: int) -> Finding | None:
        """The worst entry of an order; None if there are no entries at all."""
        return max(self.findings[order - 1], key=lambda each: each.badness, default=None)

    def count(self, order: int, verdict: Verdict) -> int:
        """How many entries of an order have this verdict."""
        return sum(each.verdict == verdict for each in self.findings[order - 1])

    def wrong(self, order: int) -> list[Finding]:
        """The entries of an order that disagree."""
        return [each for each in self.findings[order - 1] if each.verdict == "disagree"]

    def cuts(self, order: int) -> list[str]:
        """The lines that made constants of values in what this order recorded and no lower one did."""
        context, below = self.levels[order].context, self.levels[order - 1].context
        if context is None:
            return []
        lines = zip(context.cuts, cuts(context), strict=True)
        return [line for site, line in lines if below is None or site not in below.cuts]

    def why(self, order: int, finding: Finding) -> list[str]:
        """Why a derivative may be too small, as far as the recording can say."""
        context = self.levels[order].context
        if context is None or self.levels[order].parts[finding.input] is not None:
            return self.cuts(order)
        lines = context.why(self.levels[order - 1].total, self.tensors[finding.input]).splitlines()
        return list(dict.fromkeys(lines))


def compare(function: Function, inputs: Inputs, order: int) -> Comparison:
    """Compare the derivatives of `function` up to `order` with finite differences.

    Raises:
        ArgumentError: if it returns no Tensors, is random, or returns something of another shape nearby.
    """
    tensors = inputs.tensors()
    claims, middle = levels(function, inputs, tensors, order), levels(function, inputs, inputs.tensors(), order - 1)
    for one, other in zip(claims[0].parts, middle[0].parts, strict=True):
        if one.shape != other.shape or not torch.allclose(one.data, other.data, equal_nan=True):
            raise ArgumentError(
                "the function gives something else when it is called again: it is random, or changes what it uses. "
                "Let it draw its random numbers beforehand"
            )
    dtypes = {each.dtype for each in (*inputs.data, *(part.data for part in claims[0].parts))}
    search = _Search(function, inputs, claims, middle, max(torch.finfo(dtype).eps for dtype in dtypes))
    findings: list[list[Finding]] = [[] for _ in range(order)]
    sampled: list[str] = []
    for place, data in enumerate(inputs.data):
        chosen = _entries(data)
        if len(chosen) < data.numel():
            sampled.append(f"{inputs.names[place]}: {len(chosen)} of its {data.numel()} entries are compared")
        for entry in chosen:
            for direction in (1, 1j) if data.is_complex() else (1,):
                for found, all_found in zip(search.entry(place, entry, direction), findings, strict=True):
                    all_found.append(found)
    return Comparison(claims, tensors, findings, sampled)


def _entries(data: torch.Tensor) -> list[tuple[int, ...]]:
    """Where the entries stand that are compared: all, or a sample that is always the same."""
    if data.numel() <= LIMIT:
        return list(itertools.product(*map(range, data.shape)))
    drawn = sorted(random.Random(0).sample(range(data.numel()), LIMIT))
    return [tuple(int(each) for each in torch.unravel_index(torch.tensor(place), data.shape)) for place in drawn]


@dataclass
class _Search:
    """What the findings of all entries have in common."""

    function: Function
    inputs: Inputs
    claims: list[Level]
    middle: list[Level]  # the same at one order less, so that it is comparable with what is found nearby
    epsilon: float

    def entry(self, place: int, entry: tuple[int, ...], direction: complex) -> Iterator[Finding]:
        """A finding for each order, of one entry that is moved in one direction of the complex plane."""
        orders = range(1, len(self.claims))
        claimed = [self._claimed(order, place, entry, direction) for order in orders]
        expected = [torch.nan_to_num(each, nan=0.0, posinf=0.0, neginf=0.0) for each in claimed]
        middle = [_measured(level) for level in self.middle]
        value = self.inputs.data[place][entry].item()
        part = _number(value.imag if direction == 1j else value.real)

        # Of a derivative that is so large, the function may do more between two points than any step above shows.
        slopes = [(each.abs().item(), size) for each, (_, size) in zip(expected, middle, strict=True)]
        steep = [self.epsilon**0.2 * size / slope for slope, size in slopes if slope > 1000 * size]

        def judge(epsilon: float) -> list[tuple[Difference, Verdict]]:
            tried: list[list[Difference]] = [[] for _ in orders]
            for step in (*steps_for(part, epsilon), *steep):
                around: list[list[Point]] = [[] for _ in orders]
                for length in (step, -step, step / 2, -step / 2):
                    displacement, values = self._moved(place, entry, length * direction)
                    for points, there, slope in zip(around, values, expected, strict=True):
                        points.append(Point(displacement, there, slope * displacement))
                for index, differences in enumerate(tried):
                    here, size = middle[index]
                    known = claimed[index], expected[index], _number(here), around[index]
                    differences.append(difference(*known, step, epsilon, size))
                if all(_settled(differences[-1]) for differences in tried):
                    break
            return [judged(differences) for differences in tried]

        found = judge(self.epsilon)
        if self.epsilon < COARSE and any(verdict == "rough" for _, verdict in found):
            # It may be that the function rounds to float32 somewhere within.
            found = [one if one[1] != "rough" else other for one, other in zip(found, judge(COARSE), strict=True)]
        where = self.inputs.names[place] + (f", entry {list(entry)}" if entry else "")
        if self.inputs.data[place].is_complex():
            where += ", imaginary part" if direction == 1j else ", real part"
        for order, (best, verdict) in zip(orders, found, strict=True):
            if verdict == "disagree" and (best.claimed - best.numeric).abs() <= self._rounding(order, place):
                verdict = "agree"
            yield Finding(place, where, best, verdict)

    def _rounding(self, order: int, place: int) -> float:
        """How far what is claimed may be off where the function is ill-conditioned, which no difference can know."""
        part = self.claims[order].parts[place]
        return self.epsilon**0.5 * largest(part.data) if part is not None else 0.0

    def _claimed(self, order: int, place: int, entry: tuple[int, ...], direction: complex) -> torch.Tensor:
        part = self.claims[order].parts[place]
        value = 0.0 if part is None else part.data[entry].item()
        return _number(value.imag if direction == 1j else value.real)

    def _moved(self, place: int, entry: tuple[int, ...], by: complex) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """How far an input has moved, rounded; and the combinations there, of all orders but the last."""
        tensors = self.inputs.tensors()
        data = tensors[place].data
        before = data[entry].item()
        data[entry] += by
        moved = data[entry].item() - before
        displacement = _number(moved.imag if isinstance(by, complex) else moved.real)
        try:
            found = levels(self.function, self.inputs, tensors, len(self.middle) - 1)
        except torch.linalg.LinAlgError:  # pyright: ignore[reportPrivateImportUsage] - not defined there
            return displacement, [_number(float("nan")) for _ in self.middle]
        for one, other in zip(found[0].parts, self.middle[0].parts, strict=True):
            if one.shape != other.shape:
                raise ArgumentError("the function returns another shape where an input is moved a little")
        return displacement, [_number(_measured(level)[0]) for level in found]


def _settled(found: Difference) -> bool:
    """Whether another step need not be tried."""
    return found.verdict == "agree" and (found.error <= PRECISE * found.size or not found.claimed.any())


def _number(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


_WORDS: dict[Verdict, str] = {"agree": "agree", "rough": "cannot be told", "disagree": "DISAGREE"}


def gradcheck(function: Function, *inputs: Any, order: int = 2) -> bool:
    """Whether the derivatives of `function` by `inputs` agree with finite differences, up to `order`.

    Prints a line per order that names the worst entry: where it stands, what the derivative is said to be, what finite
    differences make of it and with what error, and their step. A difference is worth no more than its error, so where
    that is large (at a corner, at a pole, with too few digits) an entry cannot be told, which alone is no failure.

    Args:
        function: takes `inputs`, returns a Tensor or a nest of them. It must compute the same each time.
        inputs: Tensors, torch tensors, Python numbers with a point, and nests of these. Those of a floating point or
            complex dtype are differentiated by, as Tensors, and are not changed; others are handed on. float64 can
            tell most. Of an input with more than 200 entries, 200 are compared.
        order: up to which order, 1 or more.

    Returns:
        True if no entry disagrees and, at each order, some agree.

    Raises:
        ArgumentError: if there is nothing to compare, or `function` is random.

    Warns:
        PrecisionWarning: for inputs of float32, or of fewer digits.

    Examples:
        >>> import tensorad as ts
        >>> ts.gradcheck(lambda x: x**3, 2.0)
        order 1: 1 agree; worst: argument 0: analytic 12, numeric 12 ± 4e-07 (step 0.00074)
        order 2: 1 agree; worst: argument 0: analytic 12, numeric 12 ± 3e-11 (step 0.00074)
        True
    """
    if order not in range(1, 100):
        raise ArgumentError(f"order is 1, 2, ..., not {order!r}")
    given = Inputs(inputs, floats=True)
    if not given.data:
        raise ArgumentError(
            "no input has a derivative: give a Tensor, a torch tensor or a Python number of floating point or complex "
            "values, such as ts.tensor(2.0, dtype=ts.float64)"
        )
    warn_of_few_digits(given, stacklevel=3)
    with Entry(), torch.random.fork_rng(devices=[]):
        found = compare(function, given, order)
    for line in found.sampled:
        print(line)
    orders = range(1, order + 1)
    for each in orders:
        for line in _told(found, each):
            print(line)
    return all(found.count(each, "agree") and not found.count(each, "disagree") for each in orders)


def has_few_digits(inputs: Inputs) -> list[str]:
    """The dtypes among them in which finite differences tell little."""
    dtypes = {data.dtype for data in inputs.data if torch.finfo(data.dtype).eps >= COARSE}
    return sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)


def warn_of_few_digits(inputs: Inputs, stacklevel: int) -> None:
    """Warn of inputs that have too few digits for finite differences to tell much."""
    if coarse := has_few_digits(inputs):
        warnings.warn(
            f"finite differences in {', '.join(coarse)} tell little: give float64 inputs, such as x.double()",
            PrecisionWarning,
            stacklevel=stacklevel,
        )


def _told(found: Comparison, order: int) -> Iterator[str]:
    worst = found.worst(order)
    if worst is None:
        yield f"order {order}: there are no entries to compare"
        return
    counts = [f"{count} {words}" for verdict, words in _WORDS.items() if (count := found.count(order, verdict))]
    yield f"order {order}: {', '.join(counts)}; worst: {worst}"
    if not found.count(order, "agree") and worst.verdict == "rough":
        yield "  nothing could be told: a corner, a pole, or too few digits"
    if worst.verdict == "disagree":
        yield from (line if line.startswith("  ") else f"  {line}" for line in found.why(order, worst))
