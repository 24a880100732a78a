"""`check_rule` finds each kind of wrong rule and says which it is, and lets right ones pass."""

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracle import rand

import tensorad as ts

X, Y = rand(3, low=0.3, high=1.5), rand(3, low=0.3, high=1.5, seed=1)


def own(function: Callable[..., Any], fwd: Any, bwd: Any) -> Any:
    p: Any = ts.primitive(function)
    p.__name__ = "own"
    return p.defvjp(fwd, bwd)


def square(bwd: Any) -> Any:
    return own(lambda x: x**2, lambda x: (x**2, x), bwd)


def doubled_square(fwd: Any, bwd: Any = lambda g, doubled: (4 * g * doubled,)) -> Any:
    """pytorch#58509: (2 x) ** 2, whose backward uses 2 x."""
    return own(lambda x: (2 * x) ** 2, fwd, bwd)


def product(bwd: Any) -> Any:
    return own(torch.mul, lambda x, y: (x * y, (x, y)), bwd)


def only_recorded(g: Any, x: Any) -> Any:
    return (3 * g * x if isinstance(g, ts.Tensor) else 2 * g * x,)


def filled_by_each_call() -> Any:
    ctx = SimpleNamespace()

    def fwd(x: Any) -> Any:
        ctx.doubled = 2 * x
        return ctx.doubled**2, None

    return doubled_square(fwd, lambda g, _: (4 * g * ctx.doubled,))


def filled_by_the_first_forward() -> Any:
    found: dict[Any, Any] = {}

    def fwd(x: Any) -> Any:
        key = tuple((x.data if isinstance(x, ts.Tensor) else x).tolist())
        found.setdefault(key, 2 * x)
        return (2 * x) ** 2, key

    return doubled_square(fwd, lambda g, key: (4 * g * found[key],))


def counting() -> Any:
    calls: list[int] = []

    def bwd(g: Any, x: Any) -> Any:
        calls.append(1)
        return (2 * g * x * (1 + 1e-3 * len(calls)),)

    return square(bwd)


def in_place(g: Any, x: Any) -> Any:
    g *= 2 * x
    return (g,)


def through_numpy(g: Any, x: Any) -> Any:
    if not isinstance(x, ts.Tensor):
        x.numpy()[...] *= 2  # which torch does not count
    return (g * x,)


def op(name: str, function: Any, **rules: Any) -> Any:
    return ts.defrule(f"tested_{name}", function=function, **rules)


OFF = "was computed off the graph"
WRONG: dict[str, tuple[Any, tuple[Any, ...], str]] = {
    "sign": (square(lambda g, x: (-2 * g * x,)), (X,), "the sign is the wrong one"),
    "factor": (square(lambda g, x: (3 * g * x,)), (X,), "1.5 times what it should be"),
    "a small error": (square(lambda g, x: (2.00001 * g * x,)), (X,), "a wrong derivative: 3 of 3 entries"),
    "zero": (square(lambda g, x: (0 * g,)), (X,), "nothing reaches this argument"),
    "none": (square(lambda g, x: (None,)), (X,), "nothing reaches this argument"),
    "forgotten operand": (
        product(lambda g, r: (g * r[1], None)), (X, Y), "argument 1, .* nothing reaches this argument",
    ),
    "operands in the other order": (product(lambda g, r: (g * r[0], g * r[1])), (X, Y), "a wrong derivative: 6 of 6"),
    "one entry": (
        square(lambda g, x: (2 * g * x * (1 + 1e-3 * (torch.arange(3) == 1)),)), (X,), r"1 of 3 entries .*entry \[1\]",
    ),
    "transposed": (
        own(torch.mm, lambda a, b: (a @ b, (a, b)), lambda g, r: (g @ r[1], r[0].T @ g)),
        (rand(2, 2), rand(2, 2, seed=1)), "a wrong derivative: 4 of 8",
    ),
    "transposed, of another shape": (
        own(torch.mm, lambda a, b: (a @ b, (a, b)), lambda g, r: ((g @ r[1].T).T, r[0].T @ g)),
        (rand(2, 3), rand(3, 2, seed=1)), r"for argument 0, returns a cotangent of shape \(3, 2\) .* shape \(2, 3\)",
    ),
    "absolute value of g": (square(lambda g, x: (2 * g.abs() * x,)), (X,), "not linear in g"),
    "square of g": (square(lambda g, x: (2 * g * g * x,)), (X,), "not linear in g: of 2 g"),
    "without g": (square(lambda g, x: (2 * x,)), (X,), "not linear in g: of 2 g"),
    "more than g": (square(lambda g, x: (2 * g * x + 1e-3,)), (X,), "not linear in g: of 2 g"),
    "count": (product(lambda g, r: (g * r[1],)), (X, Y), "bwd of own returned 1 cotangents for 2 arguments"),
    "too many": (square(lambda g, x: (g, g)), (X,), "bwd of own returned 2 cotangents for 1 arguments"),
    "shape": (square(lambda g, x: ((2 * g * x).sum(),)), (X,), r"returns a cotangent of shape \(\) .* shape \(3,\)"),
    "longer": (square(lambda g, x: (torch.cat([g, g]),)), (X,), r"returns a cotangent of shape \(6,\)"),
    "dtype": (square(lambda g, x: ((2 * g * x).float(),)), (X,), "of dtype torch.float32 .* torch.float64: make const"),
    "double from float": (
        square(lambda g, x: (2 * g.double() * x,)), (X.float(),), "of dtype torch.float64 .* torch.float32",
    ),
    "a number": (square(lambda g, x: (2.0,)), (X,), "returned a float for an operand of shape"),
    "g in place": (square(in_place), (X,), "called on a cotangent g, changes in place what it is given"),
    "an argument in place": (square(lambda g, x: (g * x.mul_(2),)), (X,), "on what was saved, changes in place"),
    "an argument by numpy": (square(through_numpy), (X,), "on what was saved, changes in place"),
    "the function in place": (
        own(lambda x: x.mul_(x), lambda x: (x**2, x), lambda g, x: (2 * g * x,)), (X,), "calling it changes in place",
    ),
    "fwd computes something else": (
        own(lambda x: x**2, lambda x: (x**2 + 1, x), lambda g, x: (2 * g * x,)), (X,),
        "gives something else on Tensors that are recorded .* differ by 1",
    ),
    "fwd gives another shape": (
        own(lambda x: x**2, lambda x: (x[None] ** 2, x), lambda g, x: (2 * g * x,)), (X,),
        r"float64 of shape \(3,\) on torch tensors, but float64 of shape \(1, 3\) on Tensors that are recorded",
    ),
    "an error in bwd": (square(lambda g, x: (g * x[7],)), (X,), "the rule of own, on torch tensors, raised IndexError"),
    "an error on Tensors only": (
        square(lambda g, x: (2 * g * torch.special.airy_ai(x) / torch.special.airy_ai(x) * x,)), (X,),
        "raised NoRuleError",
    ),
    "another first order where it is recorded": (square(only_recorded), (X,), "is another one where it is recorded"),
    "changes what it uses": (counting(), (X,), "gives something else when it is called again"),
    "second order dropped": (square(lambda g, x: (2 * g * ts.stop_gradient(x),)), (X,), OFF),
    "second order wrong by a factor": (
        square(lambda g, x: (3 * g * x - g * ts.stop_gradient(x),)), (X,),
        "right at the first order and wrong at the second: .* 1.5 times",
    ),
    "g off the graph": (square(lambda g, x: (2 * ts.stop_gradient(g) * x,)), (X,), OFF),
    "numpy": (
        doubled_square(lambda x: ((2 * x) ** 2, torch.from_numpy(x.numpy() * 2))), (X,),
        rf"{OFF}, by numpy\(\) at test_examine.py:\d+ .*x.numpy\(\) \* 2.*Compute it in torch functions",
    ),
    "item": (
        doubled_square(lambda x: ((2 * x) ** 2, 2 * x.new_tensor([each.item() for each in x]))), (X,),
        rf"{OFF}, by item\(\) at test_examine.py",
    ),
    "data": (
        doubled_square(lambda x: ((2 * x) ** 2, 2 * x.data)), (X,),
        rf"{OFF}(.|\n)*residual 0 of own at test_examine.py:\d+ .*x.data(.|\n)*Compute it in torch functions",
    ),
    "detach": (
        doubled_square(lambda x: ((2 * x) ** 2, 2 * x.detach())), (X,),
        rf"{OFF}(.|\n)*detach at test_examine.py:\d+ .*x.detach\(\)(.|\n)*Compute it in torch functions",
    ),
    "numpy in bwd": (
        doubled_square(lambda x: ((2 * x) ** 2, x), lambda g, x: (8 * g * torch.from_numpy(x.numpy().copy()),)), (X,),
        rf"{OFF}, by numpy\(\)",
    ),
    "an attribute that each call fills": (filled_by_each_call(), (X,), "what a call leaves in an attribute or a clos"),
    "a closure that the first forward fills": (filled_by_the_first_forward(), (X,), f"{OFF}.* attribute or a closure"),
    "residuals of a row": (
        op("residuals(input)", lambda x: ((2 * x) ** 2, 2 * x), input=lambda g, residuals: 4 * g * residuals), (X,),
        rf"{OFF}(.|\n)*the residuals of tested_residuals, which its function returns, are constants",
    ),
    "numbers in a row": (
        op("numbers(input)", lambda x: x**2, input=lambda g, input: 2 * g * g.new_tensor(input.tolist())), (X,),
        rf"{OFF}(.|\n)*tolist\(\) at test_examine.py",
    ),
    "a row's shape": (
        op("shape(input)", lambda x: x**2, input=lambda g, input: (2 * g * input)[:2]), (X,),
        r"the rule of tested_shape, for input, returns a cotangent of shape \(2,\)",
    ),
    "a row that is not linear": (
        op("affine(x, y)", lambda x, y: x * y, x=lambda g, y: g * y, y=lambda g, x: g * x + 1), (X, Y),
        "the rule of tested_affine, for y, is not linear in g",
    ),
    "inside a composed function": (
        lambda x, y: torch.tanh(square(lambda g, x: (2.1 * g * x,))(x.sin()) + y), (X, Y), "a wrong derivative: 3 of 6",
    ),
    "only where it broadcasts": (
        product(lambda g, r: (g * r[1], (g * r[0])[0] if 0 < r[1].ndim < g.ndim else g * r[0])),
        ((X, Y), (X, Y[0]), (rand(2, 3), Y)), "example 2: a wrong derivative: 3 of 9 entries",
    ),
    "several outputs": (
        ts.defrule(
            "tested_both(x)", function=lambda x: (x.sin(), x.exp()), outputs=True,
            x=lambda g, x: g[0] * x.cos() + 2 * g[1] * x.exp(),
        ), (X,), "a wrong derivative: 3 of 3",
    ),
    "complex, conjugated": (
        own(lambda z: z**2, lambda z: (z**2, z), lambda g, z: (2 * g * z.conj(),)), (rand(2, dtype=torch.complex128),),
        "a wrong derivative: .* part",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rules(name: str) -> None:
    function, examples, words = WRONG[name]
    with pytest.raises(ts.RuleError, match=rf"^check_rule of (.|\n)*({words})"):
        ts.check_rule(function, *examples)


def test_a_torch_autograd_function_is_refused() -> None:
    class BadCustomFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            ctx.foo = 2 * x
            return ctx.foo**2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return 4 * ctx.foo * g

    with pytest.raises(ts.RuleError, match=r"of BadCustomFunction: .* torch.autograd.Function, whose"):
        ts.check_rule(BadCustomFunction.apply, X)


def lstm(x: Any, h: Any, c: Any, weight: Any) -> Any:
    i, f, o, z = torch.cat([x, h], 1).matmul(weight).chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(z)
    return torch.sigmoid(o) * torch.tanh(c), c


RIGHT: dict[str, tuple[Any, ...]] = {
    "square": (square(lambda g, x: (2 * g * x,)), X),
    "a list of cotangents": (product(lambda g, r: [g * r[1], g * r[0]]), X, Y),
    "a bare cotangent": (square(lambda g, x: 2 * g * x), X),
    "pytorch#58509 in torch functions": (doubled_square(lambda x: ((2 * x) ** 2, 2 * x)), X),
    "broadcasting": (product(lambda g, r: (g * r[1], g * r[0])), (X, Y), (X, Y[0]), (rand(2, 3), Y), (X, 2.0)),
    "float32": (product(lambda g, r: (g * r[1], g * r[0])), X.float(), Y.float()),
    "float32 and linear": (own(lambda x: 3 * x, lambda x: (3 * x, None), lambda g, _: (3 * g,)), X.float()),
    "two dtypes": (product(lambda g, r: (g * r[1], g * r[0])), X.float(), Y),
    "complex": (product(lambda g, r: (g * r[1], g * r[0])), rand(2, dtype=torch.complex128), Y[:2]),
    "Tensors": (product(lambda g, r: (g * r[1], g * r[0])), ts.tensor(X), ts.tensor(Y)),
    "matmul": (own(torch.mm, lambda a, b: (a @ b, (a, b)), lambda g, r: (g @ r[1].T, r[0].T @ g)), X[:, None], Y[None]),
    "relu away from 0": (own(torch.relu, lambda x: (x.relu(), x > 0), lambda g, on: (g * on,)), X - 1),
    "a constant factor among the residuals": (
        own(lambda x: 2 * x.sin(), lambda x: (2 * x.sin(), (x, X * 0 + 2)), lambda g, r: (g * r[1] * r[0].cos(),)), X,
    ),
    "exp of out": (op("exp(input)", torch.exp, input=lambda g, out: g * out), X),
    "a row's call": (op("cube(input)", lambda x: x**3, input=lambda g, input: 3 * g * input**2).call, X),
    "a row by its name": (lambda x: ts.tested_cube(x), X),
    "several outputs": (
        ts.defrule("tested_two(x)", function=lambda x: (x.sin(), x.exp()), outputs=True,
                   x=lambda g, x: g[0] * x.cos() + g[1] * x.exp()), X,
    ),
    "lstm": (lstm, rand(2, 3), rand(2, 2, seed=1), rand(2, 2, seed=2), rand(5, 8, seed=3)),
    "a nest": (lambda p: {"y": p["w"] @ p["b"][0]}, {"w": rand(2, 3), "b": [X]}),
    "no entries": (torch.sin, torch.zeros(0, dtype=torch.float64)),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_rules(name: str) -> None:
    function, *examples = RIGHT[name]
    assert ts.check_rule(function, *examples) is None


UNARY = """sin cos tan sinh cosh tanh exp log sqrt rsqrt reciprocal abs neg square sigmoid erf erfc expm1 log1p asinh
    atan sum mean prod std var norm logsumexp cumsum cumprod amax sort flip trace diag tril triu t softplus silu gelu
    mish selu relu""".split()
SEVERAL: dict[str, tuple[Any, ...]] = {
    "where": (torch.where, X > 0.7, X, Y),
    "maximum": (torch.maximum, X, Y),
    "atan2": (torch.atan2, X, Y),
    "pow": (torch.pow, X, Y),
    "div": (torch.div, X, Y),
    "dot": (torch.dot, X, Y),
    "outer": (torch.outer, X, Y[:2]),
    "bmm": (torch.bmm, rand(2, 2, 3), rand(2, 3, 2)),
    "einsum": (lambda a, b: torch.einsum("ij,jk->ki", a, b), rand(2, 3), rand(3, 2)),
    "softmax": (torch.softmax, rand(2, 3), 1),
    "log_softmax": (torch.log_softmax, rand(2, 3), 1),
    "clamp": (torch.clamp, X, 0.5, 1.2),
    "cat": (lambda x, y: torch.cat([x, y]), X, Y),
    "split": (torch.split, X, 2),
    "max": (torch.max, rand(2, 3), 1),
    "gather": (torch.gather, rand(2, 3), 1, torch.tensor([[0, 2], [1, 1]])),
    "det": (torch.linalg.det, rand(3, 3)),
    "inv": (torch.linalg.inv, rand(2, 2) + 2 * torch.eye(2)),
    "solve": (torch.linalg.solve, rand(2, 2) + 2 * torch.eye(2), rand(2, 1)),
    "conv1d": (F.conv1d, rand(1, 2, 4), rand(1, 2, 2)),
    "layer_norm": (F.layer_norm, rand(2, 3), (3,)),
    "cross_entropy": (F.cross_entropy, rand(2, 3), torch.tensor([0, 2])),
    "leaky_relu": (F.leaky_relu, X - 1, 0.1),
    "fft": (torch.fft.fft, rand(3)),
    "complex abs": (torch.abs, rand(2, dtype=torch.complex128)),
    "linear": (F.linear, rand(2, 3), rand(2, 3, seed=1), rand(2)),
}


@pytest.mark.parametrize("name", [*UNARY, *SEVERAL])
def test_rules_of_the_table(name: str) -> None:
    matrix = rand(2, 2, low=0.2, high=0.9)
    options = (0,) if name in ("logsumexp", "cumsum", "cumprod", "amax") else ((0,),) if name == "flip" else ()
    function, *arguments = SEVERAL.get(name) or (getattr(torch, name, getattr(F, name, None)), matrix, *options)
    ts.check_rule(function, *arguments)


def test_examples_at_which_nothing_can_be_told() -> None:
    with pytest.raises(ts.ArgumentError, match="nothing can be told of these examples: argument 0, entry"):
        ts.check_rule(torch.relu, torch.zeros(2, dtype=torch.float64))
    with pytest.raises(ts.ArgumentError, match="no argument has a derivative"):
        ts.check_rule(torch.relu, torch.zeros(2, dtype=torch.int64), 2.0)
    with pytest.raises(ts.ArgumentError, match="no argument has a derivative"):
        ts.check_rule(torch.relu)
    with pytest.raises(ts.ArgumentError, match="is random"):
        ts.check_rule(torch.dropout, rand(99), 0.5, True)
    with pytest.raises(ts.ArgumentError, match="no Tensor of floating point"):
        ts.check_rule(torch.argmax, X)


def test_without_a_derivative_yet() -> None:
    with pytest.raises(ts.RuleError, match=r"defvjp\(fwd, bwd\)"):
        ts.check_rule(ts.primitive(lambda x: x * 2), X)


def test_a_function_that_takes_no_float64_is_checked_in_its_own_digits_and_warns() -> None:
    weight = rand(3).float()

    def scaled(x: Any) -> Any:
        assert x.dtype == torch.float32
        return (x * weight).sin()

    with pytest.warns(ts.PrecisionWarning) as warned:
        ts.check_rule(scaled, X.float())
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ts.check_rule(torch.sin, X.float())


def test_nothing_is_changed_and_nothing_recorded() -> None:
    data = X.clone()
    x = ts.tensor(data)
    before = torch.get_rng_state()
    with ts.Grad() as g:
        y = x * 2
        ts.check_rule(square(lambda g, x: (2 * g * x,)), x)
        with pytest.raises(ts.RuleError):
            ts.check_rule(square(lambda g, x: (3 * g * x,)), x)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x.data, X)
    assert not g.cuts
    assert g.gradient(y, x).tolist() == [2, 2, 2]


def test_a_forward_rule_that_is_not_the_transpose() -> None:
    def row(factor: float) -> Any:
        return ts.defrule(
            "cubed(input)", function=lambda x: x**3, input=lambda g, input: 3 * g * input**2,
            forward={"input": lambda t, input: factor * t * input**2},
        ).call  # fmt: skip

    ts.check_rule(row(3.0), rand(3))
    with pytest.raises(ts.RuleError, match="forward rule of cubed is not the transpose"):
        ts.check_rule(row(5.0), rand(3))
    ts.check_rule(torch.matmul, rand(2, 3), rand(3, 4))
    ts.check_rule(torch.nn.functional.linear, rand(2, 3), rand(4, 3), rand(4))
