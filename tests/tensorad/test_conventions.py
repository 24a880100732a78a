"""The four properties of docs/conventions.md, over all ops that they are about: mass, agreement, evenness, no work."""

import itertools
from typing import Any

import pytest
import torch
from databases import close, copied, data, gradients, method, name_of, operators, seed, tensors
from oracle import project, rand
from torch.utils import _pytree as pytree

import tensorad as ts
from tensorad.call import Op
from tensorad.op import ROWS, spaces

INF, NAN = float("inf"), float("nan")
HARD = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, INF, -INF, NAN], dtype=torch.float64)

# Mass: ops that select among their operands' elements pass the whole cotangent on, at ties too.

TIES = torch.tensor([[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
OTHER = torch.tensor([[1.0, 0.0, 0.0, 2.0], [0.0, 1.0, -1.0, 0.0]], dtype=torch.float64)
SELECTING = {
    **{name: lambda x, y, name=name: getattr(torch, name)(x) for name in ("max", "min", "amax", "amin", "median")},
    **{f"{name} along a dimension": lambda x, y, name=name: getattr(torch, name)(x, 1)[0] for name in (
        "max", "min", "median", "nanmedian", "mode", "sort", "cummax", "cummin")},
    **{name: lambda x, y, name=name: getattr(torch, name)(x, y) for name in ("maximum", "minimum", "fmax", "fmin")},
    "amax along a dimension": lambda x, y: x.amax(1),
    "aminmax": lambda x, y: torch.aminmax(x, dim=1),
    "kthvalue": lambda x, y: x.kthvalue(2, 1)[0],
    "topk": lambda x, y: x.topk(2, 1)[0],
    "msort": lambda x, y: x.msort(),
    "where": lambda x, y: torch.where(x > 0, x, y),
    "clamp between tensors": lambda x, y: x.clamp(y, y + 1) - 1 * (y + 1 < y),
    "max_pool1d": lambda x, y: torch.nn.functional.max_pool1d(x[None], 2),
    "adaptive_max_pool1d": lambda x, y: torch.nn.functional.adaptive_max_pool1d(x[None], 2),
    "gather": lambda x, y: x.gather(1, torch.tensor([[0, 0], [1, 2]])),
    "take_along_dim": lambda x, y: x.take_along_dim(x.argmax(1, keepdim=True), 1),
    "masked_select": lambda x, y: x.masked_select(x > 0),
    "quantile": lambda x, y: x.quantile(0.5, 1),
    "scatter_reduce": lambda x, y: y.scatter_reduce(1, torch.zeros(2, 4, dtype=torch.int64), x, "amax"),
    "index_reduce": lambda x, y: y.index_reduce(1, torch.tensor([0, 0, 1, 1]), x, "amax"),
    "segment_reduce": lambda x, y: torch.segment_reduce(x[0], "max", lengths=torch.tensor([2, 2])),
}  # fmt: skip


@pytest.mark.parametrize("name", SELECTING)
def test_mass(name: str) -> None:
    x, y = ts.tensor(TIES), ts.tensor(OTHER)
    with ts.Grad() as g:
        outputs = SELECTING[name](x, y)
    for output in [outputs] if isinstance(outputs, ts.Tensor) else outputs:
        cotangent = rand(*output.shape, low=1, high=2)
        found = g.gradient(output, (x, y), cotangent=cotangent)
        torch.testing.assert_close(sum(each.sum() for each in found).data, cotangent.sum())


@pytest.mark.parametrize("name", ["maximum", "minimum", "fmax", "fmin"])
def test_the_mass_at_nan_is_at_most_one(name: str) -> None:
    points = torch.tensor([NAN, 1.0, INF, -INF], dtype=torch.float64)
    pairs = torch.cartesian_prod(points, points)
    x, y = ts.tensor(pairs[:, 0]), ts.tensor(pairs[:, 1])
    with ts.Grad() as g:
        out = getattr(torch, name)(x, y)
    total = sum(g.gradient(out, (x, y))).data
    assert ((total == 1) | (out.data.isnan() & (total <= 1))).all()


# Agreement: the same first gradient whether or not it is being recorded itself. (databases.py asks all samples.)


def torchs(name: str) -> Any:
    return next((getattr(space, name) for space in spaces()[:3] if hasattr(space, name)), None)


def elementwise() -> list[str]:
    """The functions of one argument that work element by element, by trying."""
    found = []
    for call in ROWS:
        name = getattr(ROWS[call], "name", getattr(call, "__name__", ""))
        function = torchs(name)
        try:
            out = call(ts.tensor(rand(3))).data
            parts = torch.stack([call(ts.tensor(each)).data for each in rand(3)])
        except Exception:
            continue
        if function is not None and out.shape == (3,) and out.dtype == torch.float64 and torch.equal(out, parts):
            found.append(name)
    return sorted({name for name in found if "dropout" not in name and name != "bernoulli"})


def gradient_at(name: str, points: Any, recorded: bool) -> Any:
    """The gradient of an elementwise function at each of the points, recorded by another context or not."""
    function = torchs(name)
    x = ts.tensor(points)
    outer = ts.Grad()
    with ts.Grad() as g:
        y = function(x)
    if y.node is None or g not in y.node.contexts:
        return torch.zeros_like(points)
    if not recorded:
        return g.gradient(y, x).data
    with outer:
        return g.gradient(y, x).data


ELEMENTWISE = elementwise()


def test_there_are_elementwise_functions() -> None:
    assert len(ELEMENTWISE) > 60


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_agreement_at_hard_points(name: str) -> None:
    plain, recorded = gradient_at(name, HARD, False), gradient_at(name, HARD, True)
    torch.testing.assert_close(plain, recorded, rtol=1e-7, atol=1e-8, equal_nan=True)


def first_order(op: Any, sample: Any, wanted: int | None = None) -> list[Any]:
    """The gradients of a random projection of a sample's outputs, by all sources or by the one of number `wanted`."""
    values, form = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
    places = [place for place, value in enumerate(values) if isinstance(value, torch.Tensor) and value.requires_grad]
    inputs = [
        ts.tensor(value.detach())
        if place in (places if wanted is None else places[wanted : wanted + 1])
        else copied(value, False)
        for place, value in enumerate(values)
    ]
    given, args, kwargs = pytree.tree_unflatten(inputs, form)
    torch.manual_seed(7)
    with ts.Grad() as g:
        out = method(op.op, given)(given, *args, **kwargs)
        process = sample.output_process_fn_grad
        total = project(tensors(pytree.tree_leaves(process(out) if process else out)), 1)
    sources = [each for each in inputs if isinstance(each, ts.Tensor)]
    if not (sources and isinstance(total, ts.Tensor)):
        return []
    return data(gradients(g, total, sources))


# Evenness: an even function has gradient 0 at 0.


def even(name: str) -> bool:
    x = rand(20, low=-0.9, high=0.9)
    function = torchs(name)
    return torch.equal(function(x), function(-x)) and bool(function(torch.zeros(1)).isfinite())


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if even(name)])
def test_evenness(name: str) -> None:
    zeros = torch.tensor([0.0, -0.0], dtype=torch.float64)
    assert gradient_at(name, zeros, False).tolist() == [0.0, 0.0]
    assert gradient_at(name, zeros, True).tolist() == [0.0, 0.0]


# No work, no NaN: the rule of an operand that is a constant, or not asked for, does not run.


@pytest.mark.filterwarnings("ignore")
def test_no_work_for_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    for op in [op for op in ROWS.values() if isinstance(op, Op) and not op.joint]:
        counted = [
            lambda g, saved, pull=pull, name=f"{op.name}: {operand}": ran.append(name) or pull(g, saved)
            for operand, pull in zip(op.operands, op.pulls, strict=True)
        ]
        monkeypatch.setitem(op.__dict__, "pulls", counted)
    checked = 0
    for op in operators():
        if op.name == "nn.functional.multi_head_attention_forward":  # torch asks some of its arguments only
            continue
        seed()
        for sample in itertools.islice(op.sample_inputs("cpu", torch.float64, requires_grad=True), 1):
            values = pytree.tree_leaves((sample.input, sample.args, sample.kwargs))
            count = sum(isinstance(value, torch.Tensor) and value.requires_grad for value in values)
            for wanted in range(count if count > 1 else 0):
                try:
                    everything = first_order(op, sample)
                    ran.clear()
                    alone = first_order(op, sample, wanted=wanted)
                except (ts.NoRuleError, ts.InPlaceError):
                    continue
                if not alone:
                    continue
                assert close(alone[0], everything[wanted]), f"{name_of(op)} {wanted}"
                if op.name in ("pow", "matmul", "atan2", "where", "maximum", "div"):
                    assert len({each for each in ran if each.startswith(f"{op.name}: ")}) <= 1, (op.name, ran)
                checked += 1
    assert checked > 100
