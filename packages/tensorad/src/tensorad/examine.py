"""`check_rule`: everything that can be wrong with a rule, looked for on examples.

First the rules of all that the function records are called by themselves, on torch tensors, as the backward pass calls
them: that is where a wrong count, shape or dtype shows, and a rule that is not linear or changes what it is given.
Then the gradient as a whole is compared with itself, recorded and not, and with finite differences to the second order.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch

from tensorad import tree
from tensorad.call import Op
from tensorad.compare import (
    Comparison,
    Finding,
    Inputs,
    combined,
    compare,
    has_few_digits,
    levels,
    outputs_of,
    warn_of_few_digits,
    weights,
)
from tensorad.errors import ArgumentError, RuleError
from tensorad.forward import push
from tensorad.grad import Grad
from tensorad.node import Entry, Node, differentiable
from tensorad.operands import plain
from tensorad.several import Parts, Shapes
from tensorad.site import miscounted, misfit, name_of
from tensorad.tensor import Tensor
from tensorad.walk import ancestors


def check_rule(function: Callable[..., Any] | Op, *examples: Any) -> None:
    """Check the rule of an own op on examples, and raise an error that says what is wrong with it.

    It checks that the function gives the same on torch tensors and on Tensors; that the rule returns a cotangent per
    argument, of the right shape and dtype, is linear in `g` and changes nothing in place; that the first and the second
    order agree with finite differences; and that the first is the same where it is recorded. So it finds what a rule
    uses but computes off the graph, of which the second order knows nothing.

    Args:
        function: a `ts.primitive`, the op that `ts.defrule` returned, or any function of Tensors, whose ops are all
            checked.
        examples: the arguments of one call; or, if all of them are tuples, the arguments of a call in each. Tensors
            and torch tensors of floating point or complex dtypes are differentiated by; other values are handed on.
            Choose some at which the function is smooth, and several shapes, if it broadcasts.

    Raises:
        RuleError: if something is wrong.
        ArgumentError: if the examples are such that nothing can be told, or the function is random.

    Examples:
        >>> import tensorad as ts
        >>> square = ts.primitive(lambda x: x**2)
        >>> _ = square.defvjp(lambda x: (x**2, x), lambda g, x: (3 * g * x,))
        >>> try:
        ...     ts.check_rule(square, ts.tensor(2.0, dtype=ts.float64))
        ... except ts.RuleError as error:
        ...     print(str(error).partition(",")[0])
        check_rule of <lambda>: a wrong derivative: 1 of 1 entries are wrong
    """
    call: Any = function.call if isinstance(function, Op) else function
    owner = getattr(function, "__self__", None)
    name = getattr(owner if isinstance(owner, type) else function, "__name__", getattr(function, "name", "f"))
    several = bool(examples) and all(type(example) is tuple for example in examples)
    for number, arguments in enumerate(examples if several else [examples]):
        where = f"check_rule of {name}" + f", example {number}" * (several and len(examples) > 1)
        inputs = Inputs(arguments)
        if not inputs.data:
            raise ArgumentError(
                f"{where}: no argument has a derivative: give a Tensor or a torch tensor of floating point or complex "
                "values, such as ts.tensor(2.0, dtype=ts.float64)"
            )
        try:
            with Entry(), torch.random.fork_rng(devices=[]):
                _check_values(call, inputs)
                _check_rules(call, inputs)
                _check_gradients(call, inputs)
                _check_differences(call, inputs)
        except RuleError as error:
            raise RuleError(f"{where}: {error}") from error.__cause__
        except ArgumentError as error:
            raise ArgumentError(f"{where}: {error}") from None


@contextmanager
def _doing(what: str) -> Generator[None]:
    """Says of whatever is raised inside what it was that raised it."""
    try:
        yield
    except (RuleError, ArgumentError):
        raise
    except Exception as error:
        raise RuleError(f"{what} raised {type(error).__name__}: {error}") from error


def _check_values(call: Any, inputs: Inputs) -> None:
    """That the function gives the same on torch tensors, on Tensors and where it is recorded, and changes nothing."""
    given = [data.clone() for data in inputs.data]
    with _doing("calling it on torch tensors"):
        expected = _values(inputs.call(call, given))
        again = _values(inputs.call(call, [data.clone() for data in inputs.data]))
    if not all(map(_same, expected, again)):
        raise ArgumentError("it gives something else when it is called again: it is random, or changes what it uses")
    _check_unchanged(inputs.data, given, "calling it")
    with _doing("calling it on Tensors"):
        tensors = inputs.tensors()
        outside = _values(inputs.call(call, tensors))
        with Grad():
            inside = _values(inputs.call(call, tensors))
    _check_unchanged(inputs.data, [tensor.data for tensor in tensors], "calling it on Tensors")
    for found, how in ((outside, "on Tensors"), (inside, "on Tensors that are recorded (fwd, for a primitive)")):
        kinds = [[(each.shape, each.dtype) for each in values] for values in (expected, found)]
        if kinds[0] != kinds[1]:
            raise RuleError(f"it gives {_described(expected)} on torch tensors, but {_described(found)} {how}")
        for one, other in zip(expected, found, strict=True):
            if not _close(one, other, one):
                raise RuleError(
                    f"it gives something else {how} than on torch tensors: they differ by {_apart(one, other):.3g}"
                )


def _values(result: Any) -> list[torch.Tensor]:
    values = [plain(value) for value in tree.flatten(result)[0]]
    return [value for value in values if isinstance(value, torch.Tensor)]


def _described(values: Sequence[torch.Tensor]) -> str:
    words = [f"{str(each.dtype).removeprefix('torch.')} of shape {tuple(each.shape)}" for each in values]
    return ", ".join(words) or "no tensors"


def _check_unchanged(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor], what: str) -> None:
    for one, other in zip(before, after, strict=True):
        if not _same(one, other):
            raise RuleError(f"{what} changes in place what it is given: work on a copy, t.clone()")


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def _close(one: torch.Tensor, other: torch.Tensor, scale: torch.Tensor) -> bool:
    """Whether two results of the same computation are alike, but for rounding; where `scale` is finite."""
    if not differentiable(one.dtype):
        return torch.equal(one, other)
    finite = scale.isfinite()
    tolerance = torch.finfo(one.dtype).eps ** 0.5
    size = float(scale[finite].abs().max()) if finite.any() else 0.0
    return torch.allclose(one[finite], other[finite], rtol=tolerance, atol=tolerance * size)


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return (
        float((one.double() - other.double()).abs().max()) if not one.is_complex() else float((one - other).abs().max())
    )


def _check_rules(call: Any, inputs: Inputs) -> None:
    """That each rule returns what it should, is linear, and changes nothing."""
    with _doing("calling it on Tensors"), Grad() as g:
        outputs = inputs.call(call, inputs.tensors())
    outputs = [value for value in tree.flatten(outputs)[0] if isinstance(value, Tensor)]
    nodes = _recorded(g, outputs)
    for node in nodes:
        if not (node.parents[0] and isinstance(node.parents[0].shape, Shapes)):  # a part of a whole has no own rule
            seeds = _seeds(node, nodes, inputs.data[0].device)
            _check_rule_of(node, seeds)
            if node.op.pushes:
                _check_forward_rule(node, seeds[0])


def _recorded(g: Grad, outputs: Sequence[Tensor]) -> list[Node]:
    """The applications of ops that `outputs` were computed by, in `g`."""
    inside = lambda node: g in node.contexts  # noqa: E731
    reached = filter(inside, ancestors([output.node for output in outputs], inside))
    return sorted(reached, key=lambda node: node.number, reverse=True)


def _check_rule_of(node: Node, seeds: dict[int, torch.Tensor]) -> None:
    others = [weights(seed, 100 + place) for place, seed in enumerate(seeds.values())]
    saved = [value for value in tree.flatten(list(node.saved))[0] if isinstance(value, torch.Tensor)]
    before = [value.clone() for value in saved]
    named = f"the rule of {name_of(node)}"
    given = [seed.clone() for seed in seeds.values()]
    first = _pulled(node, seeds, given)
    _check_unchanged(list(seeds.values()), given, f"{named}, called on a cotangent g,")
    _check_unchanged(before, saved, f"{named}, called on what was saved,")
    dtypes = {*(seed.dtype for seed in given), *(parent.dtype for parent in node.parents if parent)}
    for place, (parent, cotangent) in enumerate(zip(node.parents, first, strict=True)):
        if parent is not None and cotangent is not None:
            _check_form(cotangent, parent, node, f"{named}, for {_operand(node, place)},", dtypes)
    tried = (
        ("gives something else when it is called again: it changes what it uses, or is random", given, 1.0),
        ("is not linear in g: of 2 g it does not give twice of what it gives of g", [2 * each for each in given], 2.0),
        ("is not linear in g: of g = 0 it does not give 0", [0 * each for each in given], 0.0),
    )
    for fault, cotangents, factor in tried:
        found = _pulled(node, seeds, cotangents)
        _check_alike(node, found, [each if each is None else factor * each for each in first], first, fault)
    one, both = _pulled(node, seeds, others), [a + b for a, b in zip(given, others, strict=True)]
    sums = [a if b is None else b if a is None else a + b for a, b in zip(first, one, strict=True)]
    fault = "is not linear in g: of g + h it does not give the sum of what it gives of g and of h"
    _check_alike(node, _pulled(node, seeds, both), sums, first, fault)


def _check_forward_rule(node: Node, seed: torch.Tensor) -> None:
    """That a rule of forward mode is the transpose of the one of reverse mode: they agree on any two directions."""
    tangents = [
        weights(torch.empty(parent.shape, dtype=parent.dtype, device=seed.device), 200 + place) if parent else None
        for place, parent in enumerate(node.parents)
    ]
    pulled = _pulled(node, {0: seed}, [seed])
    with _doing(f"the forward rule of {name_of(node)}"):
        pushed = push(node, node.saved, tangents)
    pairs = [(a, b) for a, b in zip(pulled, tangents, strict=True) if a is not None and b is not None]
    backwards = sum(((a.sum_to_size(b.shape) * b).sum() for a, b in pairs), seed.new_zeros(()))
    forwards = seed.new_zeros(()) if pushed is None else (pushed * seed).sum()
    if not _close(backwards, forwards, backwards.abs() + forwards.abs()):
        raise RuleError(
            f"the forward rule of {name_of(node)} is not the transpose of its rule: on random directions, one gives "
            f"{forwards.item():.6g} and the other {backwards.item():.6g}"
        )


def _seeds(node: Node, nodes: Sequence[Node], device: torch.device) -> dict[int, torch.Tensor]:
    """Random cotangents for the outputs of a node, by their place."""
    whole = isinstance(node.shape, Shapes)
    outputs = {each.saved[1]: each for each in nodes if each.parents[0] is node} if whole else {0: node}
    return {
        place: weights(torch.empty(each.shape, dtype=each.dtype, device=device), place + 1)
        for place, each in outputs.items()
    }


def _pulled(node: Node, seeds: dict[int, torch.Tensor], cotangents: Sequence[torch.Tensor]) -> list[Any]:
    """What the rule of a node gives, as the backward pass calls it: for each parent a cotangent, or None."""
    g: Any = cotangents[0]
    if isinstance(node.shape, Shapes):
        g = Parts(node.shape, dict(zip(seeds, cotangents, strict=True)))
    with _doing(f"the rule of {name_of(node)}, on torch tensors,"):
        wanted = {parent for parent in node.parents if parent}
        pulls = node.op.separate(g, node.saved, node, wanted) if node.op.joint else node.op.pulls
        if len(pulls) != len(node.parents):
            raise miscounted(len(pulls), node)
        return [pull(g, node.saved) if parent else None for parent, pull in zip(node.parents, pulls, strict=True)]


def _operand(node: Node, place: int) -> str:
    operands = node.op.operands
    return f"argument {place}" if operands == ["tensors"] else operands[place]


def _check_form(cotangent: Any, parent: Node, node: Node, named: str, dtypes: set[torch.dtype]) -> None:
    if not isinstance(cotangent, torch.Tensor):
        raise misfit(cotangent, parent, node)
    try:
        fits = torch.broadcast_shapes(cotangent.shape, parent.shape) == cotangent.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise RuleError(
            f"{named} returns a cotangent of shape {tuple(cotangent.shape)} where the operand has shape "
            f"{tuple(parent.shape)}: it needs the operand's shape, or that which the operand was broadcast to"
        )
    if len(dtypes) == 1 and cotangent.dtype not in dtypes:
        raise RuleError(
            f"{named} returns a cotangent of dtype {cotangent.dtype} where the operand, and g, are {parent.dtype}: "
            "make constants of g's dtype and device, as g.new_tensor(...) does"
        )


def _check_alike(node: Node, found: list[Any], expected: list[Any], scale: list[Any], fault: str) -> None:
    for place, (one, other, size) in enumerate(zip(found, expected, scale, strict=True)):
        if one is None or other is None or size is None:
            continue
        if one.shape != other.shape or not _close(one, other, size):
            raise RuleError(f"the rule of {name_of(node)}, for {_operand(node, place)}, {fault}")


def _check_gradients(call: Any, inputs: Inputs) -> None:
    """That the gradient is the same where it is recorded, and where the function was called again in between."""
    with _doing("its gradient"):
        plainly = _gradients(levels(call, inputs, inputs.tensors(), 1)[1].parts, inputs)
    with _doing("its gradient, while another context records it (rules, and fwd of a primitive, run on Tensors),"):
        recorded = _gradients(levels(call, inputs, inputs.tensors(), 2)[1].parts, inputs)
    tensors = inputs.tensors()
    with Grad() as g:
        total = combined(outputs_of(inputs.call(call, tensors)))
        with suppress(Exception):  # other values may be none that the function takes
            inputs.call(call, [Tensor(0.875 * data) for data in inputs.data])
    between = g.gradient(total, dict(enumerate(tensors)), unconnected="none")
    faults = {
        "the first order is another one where it is recorded, for the second, than where it is not": recorded,
        (
            "the gradient of a call is another one once the function was called again: its rule uses what a call "
            "leaves in an attribute or a closure. Return it from fwd, in the residuals"
        ): _gradients(list(between.values()), inputs),
    }
    for fault, found in faults.items():
        for name, one, other in zip(inputs.names, plainly, found, strict=True):
            if not _close(one, other, one):
                raise RuleError(f"{fault} ({name}: they differ by {_apart(one, other):.3g})")


def _gradients(parts: Sequence[Any], inputs: Inputs) -> list[torch.Tensor]:
    return [
        torch.zeros_like(data) if part is None else part.data for part, data in zip(parts, inputs.data, strict=True)
    ]


def _check_differences(call: Any, inputs: Inputs) -> None:
    """That finite differences agree, to the second order: also where the cotangent `g` depends on the arguments."""
    inputs = _precise(call, inputs)

    def with_squares(*args: Any) -> Any:
        outputs = outputs_of(call(*args))
        return outputs, [output * output for output in outputs]

    with _doing("its gradient, differentiated again,"):
        found = compare(call, inputs, 2)
        first = found.worst(1)
        if first is None:  # there are no entries
            return
        if wrong := found.wrong(1):
            raise RuleError("\n".join([f"a wrong derivative: {_told(wrong, found, 1)}", *found.cuts(1)]))
        if not found.count(1, "agree"):
            raise ArgumentError(
                f"nothing can be told of these examples: {first}. Choose some where the function is smooth, in float64"
            )
        if not (wrong := found.wrong(2)):
            found = compare(with_squares, inputs, 2)
            wrong = found.wrong(2)
    if wrong:
        cause = (
            "Something that the rule uses, a residual perhaps, was computed off the graph, so that it is a constant to "
            "the second order: by numpy, .item(), .data or .detach(), or kept in an attribute or a closure."
        )
        remedy = (
            "Compute it in torch functions of the arguments: in fwd, for a primitive, and return it in the residuals; "
            "in the rule, for defrule. (If that is so already, an op that the rule is written in has a wrong rule.)"
        )
        fault = f"right at the first order and wrong at the second: {_told(wrong, found, 2)}"
        raise RuleError("\n".join([fault, cause, *found.cuts(2), *_constant_residuals(call, inputs), remedy]))


def _precise(call: Any, inputs: Inputs) -> Inputs:
    """The inputs in as many digits as the function takes."""
    coarse = has_few_digits(inputs)
    if not coarse:
        return inputs
    wide = inputs.doubled()
    try:
        levels(call, wide, wide.tensors(), 1)
    except Exception:  # it may use values of its own, which do not mix with others
        warn_of_few_digits(inputs, stacklevel=5)
        return inputs
    return wide


def _told(wrong: Sequence[Finding], found: Comparison, order: int) -> str:
    """How many entries are wrong, the worst of them, and what they have in common."""
    worst = max(wrong, key=lambda each: each.badness)
    pairs = [(each.difference.claimed.item(), each.difference.numeric.item()) for each in wrong]
    ratios = [claimed / numeric for claimed, numeric in pairs if numeric]
    shared = ""
    if not any(claimed for claimed, _ in pairs):
        shared = ": nothing reaches this argument"
    elif all(abs(ratio + 1) < 1e-3 for ratio in ratios):
        shared = ": the sign is the wrong one"
    elif len(ratios) > 1 and max(ratios) - min(ratios) < 1e-3 * abs(max(ratios)):
        shared = f": {max(ratios):.4g} times what it should be"
    return f"{len(wrong)} of {len(found.findings[order - 1])} entries are wrong, the worst is {worst}{shared}"


def _constant_residuals(call: Any, inputs: Inputs) -> list[str]:
    """The ops of defrule whose function returns residuals, in words."""
    with Grad() as g:
        outputs = outputs_of(inputs.call(call, inputs.tensors()))
    ops = {node.op.name: node.op for node in _recorded(g, outputs)}
    ours = ("tensorad.rules.", "tensorad.primitive")
    return [
        f"  the residuals of {name}, which its function returns, are constants at the second order"
        for name, op in ops.items()
        if "residuals" in op.saves and not any(rule.__module__.startswith(ours) for rule in op.rules.values())
    ]
