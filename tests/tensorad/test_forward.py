"""Forward mode: tangents beside the values, from the rules by transposing them, with no graph kept."""

import gc
import itertools
import threading
import weakref
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from oracle import differentiable, rand
from torch.nn import functional

import tensorad as ts
from tensorad.forward import push
from tensorad.node import Node, recording
from tensorad.op import OPS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch.func.jvp's own, at its first call
    pytest.mark.filterwarnings("ignore:Using padding='same'"),
]
NAN = float("nan")


def same(function: Any, *primals: Any) -> None:
    """Assert that jvp, linearize and torch.func.jvp give the same value and tangent along a random direction."""
    tangents = tuple(rand(*each.shape, seed=place + 10, dtype=each.dtype) for place, each in enumerate(primals))
    found, expected = ts.jvp(function, primals, tangents), torch.func.jvp(function, primals, tangents)
    linear = ts.linearize(function, *primals)
    for mine in (found, (linear[0], linear[1](*tangents))):
        for one, other in zip(ts.tree.flatten(mine)[0], ts.tree.flatten(expected)[0], strict=True):
            assert getattr(one, "node", None) is None
            torch.testing.assert_close(one.data, other)


# Memory: tangents go with the values, and nothing is kept.


def alive(kind: Any) -> int:
    return sum(type(item) is kind for item in gc.get_objects())


@pytest.mark.parametrize("order", [1, 2])
def test_memory_does_not_grow_with_depth(order: int) -> None:
    def counts(depth: int) -> tuple[int, int]:
        seen: list[tuple[int, int]] = []
        made: list[weakref.ref[Any]] = []

        def chain(x: Any) -> Any:
            for number in range(depth):
                x = torch.tanh(x @ weight) + x.exp().mean()
                made.append(weakref.ref(x.data))
                if number % 10 == 9:
                    seen.append((alive(Node), sum(each() is not None for each in made)))
            return x

        inner = chain if order == 1 else lambda x: ts.jvp(chain, (x,), (t,))[1]
        out, tangent = ts.jvp(inner, (x,), (t,))
        assert (out.node, tangent.node) == (None, None)
        return max(nodes for nodes, _ in seen), max(values for _, values in seen)

    x, t, weight = rand(2, 3), rand(2, 3, seed=1), rand(3, 3, seed=2)
    shallow, deep = counts(10), counts(200)
    assert deep == shallow
    assert deep[1] == 1  # of the chain's values, the last


def test_the_peak_of_memory_does_not_grow_with_depth() -> None:
    def peak(depth: int) -> int:
        def chain(x: Any) -> Any:
            for _ in range(depth):
                x = torch.sin(x) * x
            return x

        with torch.profiler.profile(profile_memory=True) as profile:
            ts.jvp(chain, (x,), (x,))
        results: Any = profile.profiler
        sizes = [event.nbytes() for event in results.kineto_results.events() if event.name() == "[memory]"]
        return max(itertools.accumulate(sizes))

    x = rand(1000)
    peak(1)
    assert peak(100) == peak(3) > 0


def test_a_long_chain() -> None:
    def chain(x: Any) -> Any:
        for _ in range(20_000):
            x = x + 0.5
        return x

    assert ts.jvp(chain, (1.0,), (3.0,))[1].item() == 3.0


# What is constant, and what is not.


def test_constants_have_tangent_zero() -> None:
    x, w = ts.tensor([1.0, 2.0]), ts.tensor([3.0, 4.0])
    functions = {
        "another value": lambda x: w * 2,
        "stop_gradient": lambda x: ts.stop_gradient(x) * 2,
        "detach": lambda x: x.detach() * 2,
        "a comparison": lambda x: (x > 1) * w,
        "a number": lambda x: w * x[0].item(),
    }
    for name, function in functions.items():
        out, tangent = ts.jvp(function, (x,), (ts.ones(2),))
        assert (tangent.tolist(), out.shape) == ([0.0, 0.0], (2,)), name

    def blocks(x: Any) -> Any:
        with ts.stop_gradient():
            first = x * 5
        with torch.no_grad():
            second = x * 7
        return first + second + x

    assert ts.jvp(blocks, (x,), (ts.ones(2),))[1].tolist() == [1.0, 1.0]


def test_results_of_all_kinds() -> None:
    x = ts.tensor([2.0, 1.0])
    f = lambda x: {"same": x, "place": x.argmax(), "constant": ts.ones(3), "number": 3.0, "view": x[:1]}  # noqa: E731
    out, tangent = ts.jvp(f, (x,), (ts.tensor([5.0, 6.0]),))
    assert out["place"].item() == 0
    assert {name: each.tolist() for name, each in tangent.items()} == {
        "same": [5.0, 6.0], "place": 0, "constant": [0.0] * 3, "number": 0.0, "view": [5.0],
    }  # fmt: skip
    assert tangent["place"].dtype == torch.int64


def test_a_tangent_that_is_handed_on_is_no_memory_of_the_users() -> None:
    t = ts.tensor([1.0, 2.0])
    tangent = ts.jvp(lambda x: x, (ts.zeros(2),), (t,))[1]
    tangent.data.mul_(5)
    assert t.tolist() == [1.0, 2.0]
    first, second = ts.jvp(lambda x: (x, x + 0), (ts.zeros(2),), (t,))[1]
    first.data.mul_(5)
    assert (t.tolist(), second.tolist()) == ([1.0, 2.0], [1.0, 2.0])


def test_a_parameter_of_a_module_is_a_constant_unless_it_is_an_argument() -> None:
    layer = torch.nn.Linear(2, 1, bias=False)
    out, tangent = ts.jvp(layer, (torch.ones(2),), (torch.tensor([1.0, 0.0]),))
    assert tangent.tolist() == layer.weight[:, 0].tolist()
    assert ts.jvp(lambda w: layer(ts.ones(2)), (layer.weight,), (layer.weight.detach(),))[1].tolist() == [0.0]
    own = lambda w: functional.linear(ts.ones(2), w)  # noqa: E731
    torch.testing.assert_close(ts.jvp(own, (layer.weight,), (layer.weight.detach(),))[1].data, out.data)


# Ops of all forms, against torch.func.jvp.

X, Y = rand(4, 3), rand(4, 3, seed=1)


def assigned(x: Any, y: Any) -> Any:
    z = x * 2
    z[1] = y[0] * x[0]
    z[:, 0] += 3 * y[:, 1]
    z *= y
    z[2, 1] = 5.0
    return z


FORMS: dict[str, Any] = {
    "split": lambda x, y: [each * y[:2] for each in x.split(2)],
    "one part of a split": lambda x, y: x.split(2)[1],
    "unbind": lambda x, y: x.unbind(1)[0] * y.unbind(0)[0].sum(),
    "max along a dimension": lambda x, y: x.max(1).values * y.min(1)[0],
    "sort": lambda x, y: torch.sort(x * y, 0)[0],
    "svd": lambda x, y: torch.linalg.svd(x * y, full_matrices=False)[1],
    "qr": lambda x, y: torch.linalg.qr(x + y)[1],
    "var_mean": lambda x, y: torch.var_mean(x * y, 1),
    "cat": lambda x, y: torch.cat([x, y, X], 1),
    "cat with constants first": lambda x, y: torch.cat([X, y * 2]),
    "stack": lambda x, y: torch.stack([x, X, y]).prod(0),
    "einsum": lambda x, y: torch.einsum("ij,kj->ik", x, y),
    "einsum of three": lambda x, y: torch.einsum("ij,kj,kl->il", x, y, x),
    "multi_dot": lambda x, y: torch.linalg.multi_dot([x, y.mT, x]),
    "conv1d": lambda x, y: functional.conv1d(x[None], y[None, :, :2].sin(), y[0, :1], padding=1),
    "conv2d, same": lambda x, y: functional.conv2d(x[None, None], y[None, None, :2, :2], padding="same"),
    "a bias alone": lambda x, y: functional.conv1d(X[None], Y[None, :, :2], y[0, :1]),
    "linear": lambda x, y: functional.linear(x, y, y[:, 0]),
    "addmm": lambda x, y: torch.addmm(x[:, :1], x, y.mT, beta=2, alpha=3),
    "softmax": lambda x, y: x.softmax(0) * y.log_softmax(-1),
    "softmax in another dtype": lambda x, y: torch.softmax(x.float(), 0, dtype=torch.float64),
    "assignments": assigned,
    "views": lambda x, y: x.reshape(-1)[::2].reshape(2, 3) * y.mT[0, :2, None],
    "masks": lambda x, y: torch.where(x > y, x * y, y.exp()).masked_fill(y > 0.5, 0),
    "a mask's value": lambda x, y: x.masked_fill(x > 0, y.sum()),
    "indices": lambda x, y: x[[0, 2, 2], 1:] + y.gather(1, torch.tensor([[0, 1], [2, 0], [1, 1]])),
    "padding": lambda x, y: functional.pad(x, (1, 2), value=7.0),
    "broadcasting": lambda x, y: x[:, :1] + y[0] * 2 - 1,
    "promotion": lambda x, y: x.float() * y + x.to(torch.float64),
    "sums": lambda x, y: x.sum(0, keepdim=True) * y.mean(1, keepdim=True) + x.cumsum(0).sum(),
    "convexity": lambda x, y: torch.lerp(x, y, 0.3) + torch.addcmul(x, x, y),
    "pieces": lambda x, y: torch.trapezoid(x, dim=0) * functional.cosine_similarity(x, y, dim=0),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_ops(form: str) -> None:
    same(FORMS[form], X, Y)
    same(lambda x: FORMS[form](x, Y), X)
    if form != "assignments":  # to a Tensor
        same(lambda y: FORMS[form](X, y), Y)


def test_an_lstm() -> None:
    torch.manual_seed(0)
    module = torch.nn.LSTM(3, 2, 2, bidirectional=True).double()
    x, t = rand(5, 1, 3), rand(5, 1, 3, seed=1)
    (out, (h, c)), (by_out, (by_h, by_c)) = ts.jvp(module, (x,), (t,))
    step = 1e-6
    more, less = (module(x + sign * step * t) for sign in (1, -1))
    for tangent, after, before in (
        (by_out, more[0], less[0]),
        (by_h, more[1][0], less[1][0]),
        (by_c, more[1][1], less[1][1]),
    ):
        torch.testing.assert_close(tangent.data, ((after - before) / (2 * step)).detach(), rtol=1e-6, atol=1e-8)
    assert (out.node, h.node, c.node) == (None, None, None)


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass
class Line:
    start: Point
    slope: Any


def test_nests_of_all_kinds() -> None:
    line = Line(Point(ts.tensor(1.0), ts.tensor(2.0)), {"m": [ts.tensor(3.0)]})
    f = lambda line: Line(Point(line.start.x * line.slope["m"][0], line.start.y), {"m": line.start})  # noqa: E731
    out, tangent = ts.jvp(f, (line,), (Line(Point(1.0, 10.0), {"m": [100.0]}),))
    assert out.start == Point(3.0, 2.0)
    assert (tangent.start.x.item(), tangent.start.y.item(), tangent.slope["m"].x.item()) == (103.0, 10.0, 1.0)


# Contexts around and inside.


def test_a_grad_inside() -> None:
    def f(x: Any) -> Any:
        with ts.Grad() as g:
            y = (x**3).sum()
        return g.gradient(y, x)

    out, tangent = ts.jvp(f, (X,), (Y,))
    torch.testing.assert_close(out.data, 3 * X**2)
    torch.testing.assert_close(tangent.data, 6 * X * Y)


def test_a_grad_around() -> None:
    x = ts.tensor(X)
    with ts.Grad() as g:
        out, tangent = ts.jvp(lambda x: x**3, (x,), (Y,))
        product = (out * tangent).sum()
    torch.testing.assert_close(g.gradient(product, x).data, 15 * X**4 * Y)
    torch.testing.assert_close(g.gradient(tangent, x).data, 6 * X * Y)


def test_a_tangent_has_a_derivative_too() -> None:
    t = ts.tensor(Y)
    with ts.Grad() as g:
        tangent = ts.jvp(torch.sin, (X,), (t,))[1]
    torch.testing.assert_close(g.gradient(tangent, t).data, X.cos())


def test_rules_that_use_their_output_under_two_forward_modes() -> None:
    """The outer one must know the tangent of exp(x) before the inner one uses exp(x) as a factor of its own."""
    second = lambda f: lambda x: ts.jvp(lambda x: ts.jvp(f, (x,), (1.0,))[1], (x,), (1.0,))[1]  # noqa: E731
    for f in (torch.exp, torch.tanh, torch.sigmoid, torch.sqrt, torch.tan):
        expected = torch.autograd.functional.hessian(f, torch.tensor(0.5))
        torch.testing.assert_close(second(f)(ts.tensor(0.5)).data, expected)


def test_a_function_that_fails_leaves_nothing_open() -> None:
    def fails(x: Any) -> Any:
        x = x * 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ts.jvp(fails, (X,), (Y,))
    with pytest.raises(ZeroDivisionError):
        ts.jvp(lambda x: ts.jvp(fails, (x,), (Y,)), (X,), (Y,))
    with ts.Grad(), pytest.raises(ZeroDivisionError):
        ts.jvp(fails, (ts.tensor(X),), (Y,))
    assert recording.get().entries == ()


def test_threads() -> None:
    found: dict[int, float] = {}
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        def f(x: Any) -> Any:
            barrier.wait(timeout=20)
            for _ in range(50):
                x = x * 1.0 + 0 * shared
            barrier.wait(timeout=20)
            return x * x

        found[number] = ts.jvp(f, (float(number),), (1.0,))[1].item()

    shared = ts.tensor(2.0)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: 2.0 * number for number in range(4)}


def test_a_value_that_is_changed_after_it_was_saved_is_noticed_by_linearize() -> None:
    x = torch.tensor([1.0, 2.0])
    kept = ts.tensor(x)
    _, jvp_fn = ts.linearize(lambda y: y * kept, torch.ones(2))
    kept.data.mul_(2)
    with pytest.raises(ts.MutationError):
        jvp_fn(torch.ones(2))


# Hard points: forward mode agrees with our own reverse mode.


def test_the_branch_that_is_not_taken() -> None:
    f = lambda x: torch.where(x > 0, x.log(), 0.0)  # noqa: E731
    zero = torch.zeros(())
    assert ts.jvp(f, (zero,), (torch.ones(()),))[1].item() == 0.0
    assert ts.grad(f)(zero).isnan().item()


HARD: dict[str, tuple[Any, list[float]]] = {
    "fmax": (torch.fmax, [1.0, 1.0]),
    "fmin": (torch.fmin, [1.0, 1.0]),
    "maximum": (torch.maximum, [1.0, 1.0]),
    "maximum of NaN": (torch.maximum, [NAN, 1.0]),
    "atan2": (torch.atan2, [0.0, 0.0]),
    "hypot": (torch.hypot, [0.0, 0.0]),
    "pow": (torch.pow, [0.0, 0.5]),
    "pow of zeros": (torch.pow, [0.0, 0.0]),
    "clamp": (lambda x, low: x.clamp(low, low + 1), [0.0, 0.0]),
}


@pytest.mark.parametrize("point", HARD)
def test_agreement_at_hard_points(point: str) -> None:
    function, values = HARD[point]
    for place in range(len(values)):

        def alone(x: Any, place: int = place) -> Any:
            return function(*[x if each == place else torch.tensor(value) for each, value in enumerate(values)])

        x = torch.tensor(values[place])
        found, expected = ts.jvp(alone, (x,), (torch.tensor(1.0),))[1], ts.grad(alone)(x)
        torch.testing.assert_close(found.data, expected.data, equal_nan=True)


# Rules of forward mode that are given.


def test_a_forward_rule_of_ones_own_is_used() -> None:
    ran: list[str] = []
    op = ts.defrule("tested_forward(input, other)", function=torch.mul,
                    input=lambda g, other: g * other, other=lambda g, input: g * input,
                    forward={"other": lambda t, input: ran.append("other") or t * input,
                             "input": lambda t, other: ran.append("input") or t * other})  # fmt: skip
    out, tangent = ts.jvp(ts.tested_forward, (2.0, 3.0), (1.0, 10.0))
    assert (out.item(), tangent.item(), sorted(ran)) == (6.0, 23.0, ["input", "other"])
    assert ts.jvp(lambda x: op.call(x, 5.0), (2.0,), (1.0,))[1].item() == 5.0
    assert ts.rule("tested_forward").forward.keys() == {"input", "other"}
    assert ts.linearize(ts.tested_forward, 2.0, 3.0)[1](1.0, 0.0).item() == 3.0


def test_a_joint_forward_rule() -> None:
    op = ts.defrule("tested_joint_forward(a, b)", function=torch.mul, joint=("a b", lambda g, a, b: (g * b, g * a)),
                    forward={"a b": lambda tangents, a, b: sum(t * other for t, other in zip(tangents, (b, a), strict=True) if t is not None)})  # noqa: E501 # fmt: skip
    assert ts.jvp(op.call, (2.0, 3.0), (1.0, 10.0))[1].item() == 23.0
    assert ts.jvp(lambda b: op.call(2.0, b), (3.0,), (10.0,))[1].item() == 20.0


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        ({"inptu": lambda t: t}, "for each of input, other, and not for inptu"),
        ({"input": lambda t, other: t * other}, "for each of input, other, and not for input"),
        ({"input": lambda t, input: t, "other": lambda t, input: t}, "forward rule of input names input"),
        ({"input": torch.neg, "other": lambda t: t}, "a rule is a Python function"),
    ],
)
def test_wrong_forward_rules(forward: Any, message: str) -> None:
    with pytest.raises(ts.RuleError, match=message):
        ts.defrule("tested_wrong(input, other)", function=torch.mul, forward=forward,
                   input=lambda g, other: g * other, other=lambda g, input: g * input)  # fmt: skip


def test_given_rules_agree_with_transposed_ones() -> None:
    """All rows with forward rules, on one call each, with all combinations of tangents; see also test_databases.py."""
    m, v = rand(3, 3), rand(3, seed=1)
    calls: dict[str, tuple[Any, ...]] = {
        "matmul": (m, m), "mm": (m, m), "bmm": (m[None], m[None]), "mv": (m, v), "dot": (v, v),
        "nn.functional.linear": (m, m, v), "addmm": (m, m, m), "addmv": (v, m, v),
        "baddbmm": (m[None], m[None], m[None]), "tensordot": (m, m), "einsum_of_two": (m, m, "ij,jk->ik"),
        "embedding": (m, torch.tensor([0, 2, 1, 2]), 1, True),
        "softmax": (m, 1), "log_softmax": (m, 1), "conv1d": (m[None], m[None], v[:1]),
        "conv2d": (m[None, None], m[None, None], v[:1]), "conv3d": (m[None, None, None], m[None, None, None], v[:1]),
    }  # fmt: skip
    given = {
        call.__globals__["op"] for call in OPS.values() if hasattr(call, "__globals__") and "op" in call.__globals__
    }
    ours = {
        op.name: op
        for op in given
        if op.pushes and next(iter(op.rules.values())).__module__.startswith("tensorad.rules")
    }
    assert {*calls} == {*ours}
    for name, arguments in calls.items():
        op = ours[name]
        tensors = [ts.tensor(each) if differentiable(each) else each for each in arguments]
        with ts.Grad():
            node = op.call(*tensors).node
        full = [rand(*each.shape, seed=place) for place, each in enumerate(arguments) if differentiable(each)]
        for without in (None, *range(len(full) if len(full) > 1 else 0)):
            tangents = [None if place == without else each for place, each in enumerate(full)]
            found, pushes = push(node, node.saved, tangents), op.pushes
            try:
                op.pushes = {}
                torch.testing.assert_close(found, push(node, node.saved, tangents), msg=name)
            finally:
                op.pushes = pushes


def test_a_linear_op_of_ones_own_keeps_to_its_rule() -> None:
    """Which says what the derivative is, and need not be that of the function: forward mode transposes it."""
    op = ts.defrule("tested_reversal(input)", function=lambda x: x.clone(), linear=True, input=lambda g: -g)
    assert ts.grad(op.call)(2.0).item() == -1.0
    assert ts.jvp(op.call, (2.0,), (1.0,))[1].item() == -1.0


def test_rows_of_an_embedding_that_pad() -> None:
    """Where the rule of a linear op leaves something out on purpose, forward mode does so too."""
    table, index = rand(4, 2), torch.tensor([0, 1, 1, 3])
    f = lambda table: functional.embedding(index, table, padding_idx=1)  # noqa: E731
    tangent = ts.jvp(f, (table,), (torch.ones_like(table),))[1]
    assert tangent.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize("transform", [ts.jvp, lambda f, primals, tangents: ts.linearize(f, *primals)[1](*tangents)])
def test_under_no_grad_rules_are_transposed_all_the_same(transform: Any) -> None:
    x, w, t = rand(2, 3), rand(3, 3, seed=1), rand(2, 3, seed=2)
    with torch.no_grad():
        found = transform(lambda x: x @ w, (x,), (t,))
    torch.testing.assert_close((found[1] if isinstance(found, tuple) else found).data, t @ w)


def test_a_segment_that_its_initial_value_takes_has_tangent_zero() -> None:
    def largest(x: Any) -> Any:
        return torch.segment_reduce(x, "max", lengths=torch.tensor([2, 1]), initial=1.0)

    out, tangent = ts.jvp(largest, (torch.tensor([-5.0, -7.0, 3.0]),), (torch.ones(3),))
    assert (out.tolist(), tangent.tolist()) == ([1, 3], [0, 1])
