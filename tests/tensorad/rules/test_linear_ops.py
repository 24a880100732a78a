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
from oracle import differentiable, listed, rand
from torch.testing._internal.common_methods_invocations import op_db

import tensorad as ts
from tensorad.call import Op
from tensorad.op import OPS

# Their rules need no value of an operand, and still they are not linear.
STEPS = {"ceil", "floor", "frac", "round", "sign", "trunc", "div_rounded"}
AFFINE = {"constant_pad_nd", "dropped", "lu_unpack"}  # adding the padding's value, a shift, the diagonal of L
BY_VALUE = {"cummax", "cummin", "kthvalue", "max", "median", "min", "mode", "nanmedian", "sort", "topk"}
POOLS = {f"{kind}max_pool{count}d" for kind in ("", "adaptive_") for count in (1, 2, 3)}
POOLS |= {"fractional_max_pool2d", "fractional_max_pool3d"}
UNPOOLS = {"_C._nn.max_unpool2d", "_C._nn.max_unpool3d"}  # of values for the same place, one is kept
# All but the padding's row; all but the input; a clamp that passes; slopes by sign.
OTHERS = {"embedding", "nextafter", "raised", "rrelu_training"}
# Ops with samples that call linear ones of other names.
PARENTS = {"affine_grid", "atleast_3d", "grid_sample", "istft", "nll_loss", "repeat_interleave", "stft"}
# What the database has none for: an op's name, its arguments.
SAMPLES = [
    ("embedding_sums", rand(2, 3), torch.tensor([1, 0]), 4, -1, False),
    ("_fft_c2r", rand(2, 3, dtype=torch.complex128), [1], 0, 5),
    ("_fft_r2c", rand(2, 5), [1], 0, True),
    ("add_scaled", rand(3), rand(3), 2),
    ("adjoint", rand(2, 3)),
    ("bincount", torch.tensor([0, 2, 2]), rand(3)),
    ("affine_grid_generator", rand(1, 2, 3), [1, 1, 4, 5], False),
    ("nn.functional.fold", rand(1, 8, 4), (3, 3), (2, 2)),
    ("nll_loss_cotangent", rand(2), rand(2, 3), torch.tensor([0, 2]), None, 0, -100, torch.ones(())),
    ("nll_loss2d_cotangent", rand(1, 1, 2), rand(1, 3, 1, 2), torch.tensor([[[0, 2]]]), None, 0, -100, torch.ones(())),
    ("ops.aten.alias", rand(3)),
    ("ops.aten.copy", rand(3), rand(3)),
    ("ops.aten.zero", rand(3)),
    ("swapaxes", rand(2, 3), 0, 1),
    ("type_as", rand(2), torch.ones(1)),
]  # fmt: skip
SAMPLES += [
    (name, rand(1, 2, *[3] * ndim), [4] * ndim, *[False] * ("nearest" not in name))
    for name in OPS
    for ndim in (1, 2, 3)
    if name.startswith(("_C._nn.upsample_", "_C._nn._upsample_")) and f"{ndim}d" in name
]


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
    assert {op.name for op in needless - LINEAR} == STEPS | AFFINE | BY_VALUE | POOLS | UNPOOLS | OTHERS


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
    names = {op.name.rpartition(".")[2] for op in LINEAR} | POOLS | PARENTS
    for entry in op_db:
        if entry.supports_autograd and entry.name.rpartition(".")[2].strip("_") in names:
            dtype = torch.float64 if torch.float64 in entry.supported_dtypes("cpu") else torch.complex128
            for sample in islice(entry.sample_inputs("cpu", dtype), 3):
                function = getattr(ts.Tensor, entry.name) if entry.name.startswith("__") else entry.op
                with suppress(ts.NoRuleError, ts.InPlaceError):  # another function of the same name
                    differentiate(function, sample.input, *sample.args, **sample.kwargs)
    for name, *arguments in SAMPLES:
        differentiate(OPS[name], *arguments)
    assert not LINEAR - {*seen}, f"no sample calls {sorted(op.name for op in LINEAR - {*seen})}"


def differentiate(function: Callable[..., Any], first: Any, *args: Any, **kwargs: Any) -> None:
    """Call the function on Tensors, and its rules."""
    given = [ts.tensor(each) if differentiable(each) else each for each in listed(first)]
    sources = tuple(each for each in given if isinstance(each, ts.Tensor))
    with ts.Grad() as g:
        out = function(given if isinstance(first, tuple | list) else given[0], *args, **kwargs)
    outputs = [each for each in listed(out) if differentiable(each.data)]
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
