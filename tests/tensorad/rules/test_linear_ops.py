"""The ops that say they are linear are, and all that are say so."""

import gc
import inspect
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any

import pytest
import torch
from oracle import differentiable, listed
from torch.testing._internal.common_methods_invocations import op_db

import tensorad as ts
from tensorad.call import Op

# Their rules need no value of an operand, and still they are not linear.
STEPS = {"ceil", "floor", "frac", "round", "sign", "trunc", "div_rounded"}
AFFINE = {"constant_pad_nd", "dropped"}  # they add a constant: the value of the padding, the shift of alpha dropout
BY_VALUE = {"cummax", "cummin", "kthvalue", "max", "median", "min", "mode", "nanmedian", "sort", "topk"}
OTHERS = {"nextafter", "raised", "rrelu_training"}  # all but the input; a clamp that passes; slopes by sign


def rows() -> set[Op]:
    """Every op of our own tables, also one that goes by no public name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some objects of torch's warn when they are looked at
        ops = [each for each in gc.get_objects() if isinstance(each, Op)]
    return {op for op in ops if all(rule.__module__.startswith("tensorad.rules.") for rule in op.rules.values())}


ROWS = rows()  # now: during a test, the garbage collector does not show them
LINEAR = {op for op in ROWS if op.linear}


def test_an_op_whose_rules_need_no_value_is_marked_linear() -> None:
    needless = {op for op in ROWS if {*op.operands, "out"}.isdisjoint(op.saves)}
    assert needless >= LINEAR
    assert {op.name for op in needless - LINEAR} == STEPS | AFFINE | BY_VALUE | OTHERS


@pytest.mark.filterwarnings("ignore")
def test_what_a_linear_op_gives_for_a_sum_of_multiples(monkeypatch: pytest.MonkeyPatch) -> None:
    """f(a x + b y) = a f(x) + b f(y), wherever a linear op is called for the samples in torch's database of ops.

    The samples say with which other arguments; the operands are drawn anew.
    """
    torch.manual_seed(0)
    seen: Counter[Op] = Counter()
    for op in LINEAR:
        checked = checking(op, op.function, seen)
        monkeypatch.setattr(op, "function", checked)
        monkeypatch.setitem(op.written.__globals__, "function", checked)
    names = {op.name.rpartition(".")[2] for op in LINEAR} | {"atleast_3d", "nll_loss", "repeat_interleave"}
    for entry in op_db:
        if entry.supports_autograd and entry.name.rpartition(".")[2].strip("_") in names:
            dtype = torch.float64 if torch.float64 in entry.supported_dtypes("cpu") else torch.complex128
            for sample in islice(entry.sample_inputs("cpu", dtype), 3):
                with suppress(ts.NoRuleError, ts.InPlaceError):  # another function of the same name
                    differentiate(entry, sample)
    assert len(LINEAR - {*seen}) < 15, f"no sample calls {sorted(op.name for op in LINEAR - {*seen})}"


def differentiate(entry: Any, sample: Any) -> None:
    """Call the entry's function on Tensors, and its rules."""
    given = [ts.tensor(each) if differentiable(each) else each for each in listed(sample.input)]
    sources = tuple(each for each in given if isinstance(each, ts.Tensor))
    with ts.Grad() as g:
        input = given if isinstance(sample.input, tuple | list) else given[0]
        function = getattr(ts.Tensor, entry.name) if entry.name.startswith("__") else entry.op
        outputs = [each for each in listed(function(input, *sample.args, **sample.kwargs)) if differentiable(each.data)]
    for output in outputs:
        g.gradient(output, sources, unconnected="zero")


def checking(op: Op, original: Callable[..., Any], seen: Counter[Op]) -> Callable[..., Any]:
    """The function of `op`, checked at each call."""
    names = [*inspect.signature(eval(f"lambda {op.arguments}: 0")).parameters]

    def function(*args: Any, **kwargs: Any) -> Any:
        places = [names.index(name) for name in op.operands]
        operands = [args[place] for place in places]
        if seen[op] < 20 and all(
            differentiable(value) for each in operands for value in listed(each) if isinstance(value, torch.Tensor)
        ):
            x, y = [*map(drawn, operands)], [*map(drawn, operands)]
            sets = x, y, [*map(mixed, x, y)]
            of_x, of_y, of_both = (results(original(*replaced(args, places, values), **kwargs)) for values in sets)
            for one, other, found in zip(of_x, of_y, of_both, strict=True):
                torch.testing.assert_close(found, 2 * one - 3 * other, msg=lambda text: f"{op.signature}: {text}")
            seen[op] += 1
        return original(*args, **kwargs)

    return function


def drawn(value: Any) -> Any:
    """Random numbers in the shape of `value`, which may be a list of tensors, or one number."""
    if isinstance(value, tuple | list):
        return [drawn(each) for each in value]
    return torch.randn_like(value) if isinstance(value, torch.Tensor) else torch.randn(()).item()


def mixed(x: Any, y: Any) -> Any:
    return [*map(mixed, x, y)] if isinstance(x, list) else 2 * x - 3 * y


def replaced(args: tuple[Any, ...], places: list[int], values: list[Any]) -> list[Any]:
    return [values[places.index(place)] if place in places else arg for place, arg in enumerate(args)]


def results(out: Any) -> list[torch.Tensor]:
    """The differentiable outputs of an op's function; one that keeps residuals returns them after the output."""
    out = getattr(out, "values", out) if not isinstance(out, torch.Tensor) else out
    found = [out[0]] if isinstance(out, tuple) and not isinstance(out[-1], torch.Tensor) else listed(out)
    return [each for each in found if differentiable(each)]
