"""`g.explain(target, sources)`: the derivation of a run, in symbols, shapes and numbers."""

import ast
import copy
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import tensorad as ts
from tensorad.looking.explain import Explanation
from tensorad.looking.formula import text_of
from tensorad.looking.graph import operands_of
from tensorad.looking.ran import as_it_ran, evaluated, plain
from tensorad.looking.steps import Steps
from tensorad.rule import mathematics

EVIL = "<img src=x onerror=alert(1)>"


def without_places(explanation: Explanation) -> str:
    """The text without the lines of this file, which move."""
    return "\n".join(line.partition(" at test_explain.py")[0].rstrip() for line in repr(explanation).splitlines())


def test_a_chain_of_scalars() -> None:
    x = ts.tensor(0.5)
    with ts.Grad() as g:
        h = x * x
        y = h.sin() * 3
    assert (
        without_places(g.explain(y, x))
        == """\
∂y/∂x by the chain rule
  ∂y/∂x = ∂y/∂v3 · ∂v3/∂h · ∂h/∂x

∂y/∂y = 1

∂y/∂v3 = ∂y/∂y · 3
    () = () · 3
       = 1 · 3 = 3
         by mul: y = h.sin() * 3

∂y/∂h = ∂y/∂v3 · cos(h)
   () = () · ()
      = 3 · cos(0.25) = 2.90674
        by sin: v3 = h.sin()

∂y/∂x = ∂y/∂h · x + ∂y/∂h · x
   () = () · () + () · ()
      = 2.90674 · 0.5 + 2.90674 · 0.5 = 2.90674
        by mul: h = x * x

rules:
  mul(input, other)  in rules/elementwise.py
    input: g · other
    other: g · input
  sin(input)  in rules/elementwise.py
    input: g · cos(input)"""
    )


def test_two_paths_that_meet() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        a = x * 3
        b = 1 / x
        y = a - b
    explanation = g.explain(y, x)
    assert [str(each) for each in explanation.chains] == ["∂y/∂x = ∂y/∂b · ∂b/∂x + ∂y/∂a · ∂a/∂x"]
    assert [(each.symbols, each.shapes, each.numbers) for each in explanation.equations] == [
        ("∂y/∂a = ∂y/∂y", "() = ()", "1"),
        ("∂y/∂b = -∂y/∂y", "() = -()", "-1"),
        ("∂y/∂x = -∂y/∂b · (b / x) + ∂y/∂a · 3", "() = -() · (() / ()) + () · 3", "-(-1) · (0.5 / 2) + 1 · 3 = 3.25"),
    ]


def test_a_broadcast_bias_and_a_matrix_product() -> None:
    x = ts.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    w, b = ts.tensor([[1.0, 0.0], [0.0, -1.0]]), ts.tensor([0.5, -0.5])
    with ts.Grad() as g:
        h = x @ w + b
        y = (h**2).mean()
    assert (
        without_places(g.explain(y, [w, b]))
        == """\
∂y/∂w, ∂y/∂b by the chain rule
  ∂y/∂w = ∂y/∂v6 · ∂v6/∂h · ∂h/∂v3 · ∂v3/∂w
  ∂y/∂b = ∂y/∂v6 · ∂v6/∂h · ∂h/∂b

∂y/∂y = 1

∂y/∂v6 = expand(∂y/∂y / 6, (3, 2))
(3, 2) = expand(() / 6, (3, 2))
       = expand(1 / 6, (3, 2)) = [[0.166667, 0.166667], [0.166667, 0.166667], [0.166667, 0.166667]]
         by mean: y = (h ** 2).mean()

 ∂y/∂h = ∂y/∂v6 · (2 · h)
(3, 2) = (3, 2) · (2 · (3, 2))
       = [[0.5, -0.833333], [1.16667, -1.5], [1.83333, -2.16667]]
         by pow: v6 = h ** 2

∂y/∂v3 = ∂y/∂h
(3, 2) = (3, 2)
       = [[0.5, -0.833333], [1.16667, -1.5], [1.83333, -2.16667]]
         by add: h = x @ w + b

∂y/∂b = ∂y/∂h, summed from (3, 2) to (2,)
 (2,) = (3, 2), summed to (2,)
      = [3.5, -4.5]
        by add: h = x @ w + b

 ∂y/∂w = xᵀ @ ∂y/∂v3
(2, 2) = (2, 3) @ (3, 2)
       = [[13.1667, -16.1667], [16.6667, -20.6667]]
         by matmul: v3 = x @ w

rules:
  mean(input, dim=None, keepdim=False, *, dtype=None)  in rules/reductions.py
    input: expand(kept(g / (numel(input_shape) / max(numel(g.shape), 1)), input_shape, dim), input_shape)
  pow(input, exponent)  in rules/elementwise.py
    input: g · power_slope(input, exponent)
    exponent: g · exponent_slope(input, exponent, out)
  add(input, other)  in rules/elementwise.py
    input: g
    other: g
  matmul(input, other)  in rules/linear.py
    input: g @ other.mT if other.ndim == 2 else left(g, other, input_shape)
    other: input.mT @ g if input.ndim == 2 else right(g, input, other_shape)"""
    )


def test_the_second_order() -> None:
    x = ts.tensor(0.5)
    with ts.Grad() as outer:
        with ts.Grad() as inner:
            y = x.exp() * x
        dx = inner.gradient(y, x)
    explanation = outer.explain(dx, x)
    assert str(explanation.chains[0]).count(" + ") == 2
    assert [each.symbols for each in explanation.equations] == [
        "∂dx/∂v7 = ∂dx/∂dx",
        "∂dx/∂v5 = ∂dx/∂v7",
        "∂dx/∂v6 = ∂dx/∂v7",
        "∂dx/∂v4 = ∂dx/∂v6 · v2",
        "∂dx/∂v2 = ∂dx/∂v6 · v4 + ∂dx/∂v5 · seed",
        "∂dx/∂x = ∂dx/∂v4 · seed + ∂dx/∂v2 · v2",
    ]
    assert explanation.equations[-1].numbers == "1.64872 · 1 + 1.5 · 1.64872 = 4.1218"
    assert explanation.equations[3].terms[0].made == "v6 = mul(v4, v2), in inner.gradient(y, x)"
    assert "by exp: v2 = x.exp() at test_explain.py:" in str(explanation.equations[-1])


def test_inside_of_a_context_it_is_the_same() -> None:
    x = ts.tensor(0.5)
    with ts.Grad():
        with ts.Grad() as inner:
            y = x.exp() * x
        explanation = inner.explain(y, x)
    assert explanation.equations[-1].numbers == "1 · 1.64872 + 0.5 · 1.64872 = 2.47308"


def test_several_sources_and_one_that_nothing_reaches() -> None:
    params = {"a": ts.tensor([1.0, 2.0]), "b": ts.tensor([3.0, 4.0]), "c": ts.tensor(1.0)}
    with ts.Grad() as g:
        y = (params["a"] * params["b"]).prod() * params["a"].sum()
    explanation = g.explain(y, params)
    assert explanation.title == "∂y/∂params['a'], ∂y/∂params['b'], ∂y/∂params['c'] by the chain rule"
    assert [each.symbols for each in explanation.equations][-3:] == [
        "∂y/∂params['a'] = expand(∂y/∂v5, (2,)) + ∂y/∂v3 · params['b']",
        "∂y/∂params['b'] = ∂y/∂v3 · params['a']",
        "∂y/∂params['c'] = 0, nothing arrives here",
    ]
    assert str(explanation.equations[-1]) == "∂y/∂params['c'] = 0, nothing arrives here"
    assert "nothing arrives" in repr(explanation)
    assert json.loads(json.dumps(explanation.trace()))["equations"][-1]["terms"] == []


def test_nothing_on_the_way() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = x * 3
    assert repr(g.explain(y, y)) == "∂y/∂y by the chain rule\n\n∂y/∂y = 1"
    with pytest.raises(ts.NotRecordedError):
        g.explain(x * 2, x)
    with ts.Grad() as late:
        z = y + 1
    with pytest.warns(ts.UnconnectedWarning, match="y = x"):
        assert "nothing arrives" in repr(late.explain(z, x))


def test_what_it_starts_from() -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        y = x * 3
    assert g.explain(y, x).start[1:] == ("[1, 1]", "ones: it is the sum of all elements of y that is differentiated")
    explanation = g.explain(y, x, cotangent=[5.0, 0.0])
    assert explanation.start[1:] == ("[5, 0]", "the cotangent that was given")
    assert explanation.equations[0].numbers == "[5, 0] · 3 = [15, 0]"


@pytest.mark.parametrize(
    ("function", "symbols"),
    [
        (lambda x: x.sum(1), "expand(unsqueeze(∂y/∂y, 1), (2, 2))"),
        (lambda x: x.mean(), "expand(∂y/∂y / 4, (2, 2))"),
        (lambda x: x.std(), "∂y/∂y / (2 · y) · 0.666667 · (x - mean(x, None, True))"),
        (lambda x: x.norm(), "∂y/∂y / y · x"),
        (lambda x: x**3, "∂y/∂y · (3 · x^2)"),
        (lambda x: x @ x.data, "∂y/∂y @ otherᵀ"),
        (lambda x: x.T, "(∂y/∂y)ᵀ"),
        (lambda x: x.clamp(0), "where(x ≥ 0, ∂y/∂y, 0)"),
        (lambda x: F.gelu(x, approximate="none"), None),
        (lambda x: F.mse_loss(x, torch.ones(2, 2)), "∂y/∂y · (x - target) · 0.5"),
        (lambda x: x[1:], "put_at(∂y/∂y, 1:, (2, 2))"),
        (lambda x: torch.stack([x, x])[0], None),
    ],
)
def test_rules_are_shown_as_they_ran(function: Any, symbols: str | None) -> None:
    x = ts.tensor([[1.0, 2.0], [3.0, 5.0]])
    with ts.Grad() as g:
        y = function(x)
    found = g.explain(y, x).equations[-1]
    assert symbols is None or found.symbols == f"∂y/∂x = {symbols}"
    assert " if " not in found.symbols
    assert "kept" not in found.symbols


def r(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


TRUE: list[tuple[Callable[..., Any], Any]] = [
    (lambda x: x.sum(), [r(3, 2)]), (lambda x: x.sum((0, 1)), [r(3, 2, 4)]), (lambda x: x.mean(1), [r(3, 2)]),
    (lambda x: x.prod(), [r(3)]), (lambda x: x**3, [r(3)]), (lambda x, y: (x * x) ** y, [r(3), r(3)]),
    (lambda x: x.var(0), [r(3, 2)]), (lambda x: x.std(), [r(3)]), (lambda x: x.softmax(0), [r(3)]),
    (lambda x: x.max(), [r(3)]), (lambda x: x.max(1)[0], [r(3, 2)]), (lambda x: x.norm(), [r(3)]),
    (torch.maximum, [r(3), r(1, 3)]), (lambda x: x.clamp(0, 1), [r(3)]), (lambda x, y: x @ y, [r(3, 2), r(2, 4)]),
    (lambda x, y: x @ y, [r(3, 2), r(2)]), (lambda x, y: x @ y, [r(5, 3, 2), r(2, 4)]),
    (F.linear, [r(3, 2), r(4, 2), r(4)]),
    (lambda x: F.gelu(x), [r(3)]), (F.silu, [r(2)]), (F.softplus, [r(2)]), (torch.tanh, [r(2)]), (F.elu, [r(2)]),
    (lambda x: x.logsumexp(0), [r(3)]), (lambda x: x[1:], [r(3)]), (lambda x: x.cumsum(0), [r(3)]), (torch.sgn, [r(3)]),
    (lambda x: x.inverse(), [r(2, 2)]), (torch.hypot, [r(2), r(2)]),
    (F.mse_loss, [r(2), r(2)]), (torch.atan2, [r(2), r(2)]),
    (lambda x, w: F.layer_norm(x, (3,), w), [r(2, 3), r(3)]), (lambda x: F.huber_loss(x, 0 * x.data), [r(2)]),
    (lambda x, y: torch.where(x > 0, x, y), [r(3), r(3)]), (lambda x: x.reshape(6).view(3, 2).T, [r(2, 3)]),
]  # fmt: skip


@pytest.mark.parametrize(("function", "values"), TRUE)
def test_what_is_shown_is_what_the_rule_returned(function: Any, values: list[torch.Tensor]) -> None:
    """The expression that is left of a rule, computed, is the cotangent, unless it leaves out what no reader needs."""
    sources = [ts.tensor(each) for each in values]
    with ts.Grad() as g:
        y = function(*sources)
    steps, checked = Steps(g, y, sources), 0
    for place in range(len(steps)):
        record = steps.run(place)
        operands = [operand for operand, _ in operands_of(record.node)]
        saved = dict(zip(record.node.op.saves, record.node.saved, strict=True))
        saved |= {"wanted": tuple([True] * len(operands))} if "wanted" in saved else {}
        for each in record.received or []:
            ran = as_it_ran(record.node.op, operands.index(each.operand), record.cotangent, saved)
            text = mathematics(copy.deepcopy(ran.expression))
            if "_pulls(" in text or record.node.op.name == "part":
                continue
            known: dict[str, Any] = {name: lambda value=value: value for name, value in ran.values.items()}
            computed = evaluated(ran.expression, ran.scope, known).sum_to_size(each.value.shape)
            torch.testing.assert_close(computed, plain(each.value))
            checked += 1
    assert checked


def test_own_ops_are_shown_in_their_own_words() -> None:
    @ts.primitive
    def product(x: Any, y: Any) -> Any:
        return x * y

    def bwd(g: Any, residuals: Any) -> Any:
        x, y = residuals
        return g * y, g * x

    product.defvjp(lambda x, y: (x * y, (x, y)), bwd)
    a, b = ts.tensor([1.0, 2.0]), ts.tensor([3.0, 4.0])
    with ts.Grad() as g:
        y = product(a, b)
    assert [each.symbols for each in g.explain(y, [a, b]).equations] == ["∂y/∂a = ∂y/∂y · b", "∂y/∂b = ∂y/∂y · a"]


def test_a_kernel_that_sums_by_itself() -> None:
    x, w = ts.tensor(r(2, 3)), ts.tensor(r(3))
    with ts.Grad() as g:
        y = F.layer_norm(x, (3,), w)
    found = {each.symbol.by: each for each in g.explain(y, [x, w]).equations}
    assert found["w"].symbols == "∂y/∂w = ∂y/∂y · standardized(x, (-1,), 1e-05)[0], summed from (2, 3) to (3,)"
    assert found["w"].shapes == "(3,) = (2, 3) · (2, 3), summed to (3,)"


def test_several_outputs() -> None:
    matrix = ts.tensor([[2.0, 1.0], [0.0, 3.0]])
    with ts.Grad() as g:
        u, s, _ = torch.linalg.svd(matrix)
        y = s.sum() + u.sum()
    equations = {each.symbol.by: each for each in g.explain(y, matrix).equations}
    assert equations["v2"].symbols == "∂y/∂v2 = (0, ∂y/∂s, 0) + (∂y/∂u, 0, 0)"
    assert equations["matrix"].symbols == "∂y/∂matrix = svd_pull(*∂y/∂v2, *v2)"
    assert any("Differentiating the singular value" in each for each in equations["matrix"].terms[0].ran.notes)


@pytest.mark.parametrize("shapes", [[()], [(3,)], [(2, 3)]])
def test_terms_add_up_to_the_gradient(shapes: Any) -> None:
    x, w = (ts.tensor(r(*shape)) for shape in shapes * 2)
    with ts.Grad() as g:
        h = (x * w).sin() + x
        y = (h * x).exp().sum() + h.mean() * w.sum()
    gradients = g.gradient(y, [x, w])
    found = {each.symbol.by: each for each in g.explain(y, [x, w]).equations}
    for name, gradient in zip("xw", gradients, strict=True):
        total = sum(each.value.data for each in found[name].terms)
        torch.testing.assert_close(total, gradient.data)
        torch.testing.assert_close(found[name].value.data, gradient.data)
    for equation in found.values():
        for term in equation.terms:
            numbers = term.ran.in_numbers()
            if numbers and equation.node.shape == () and "expand" not in numbers:
                python = re.sub(r"(\d[\d.e-]*)", r"torch.tensor(\1)", numbers.replace("·", "*").replace("^", "**"))
                computed = eval(python, {**vars(torch), "torch": torch})
                assert computed.item() == pytest.approx(term.value.item(), rel=1e-4)


def test_large_values_are_summarised() -> None:
    x = ts.tensor(torch.arange(100_000.0))
    with ts.Grad() as g:
        y = (x * x).sum()
    explanation = g.explain(y, x)
    assert len(json.dumps(explanation.trace())) < 4_000
    assert explanation.equations[-1].numbers == "0 … 2e+05, mean 1e+05"
    assert all(each.data is None for each in explanation.equations[-1].terms[0].ran.symbols.values())


def test_many_paths_are_counted_and_many_equations_folded() -> None:
    x = ts.tensor(1.0)
    with ts.Grad() as g:
        y = x
        for _ in range(30):
            y = y.sin() + y.cos()
    explanation = g.explain(y, x)
    assert explanation.chains[0].count == 2**30
    assert str(explanation.chains[0]) == ("∂y₃₀/∂x: the sum over 1,073,741,824 paths, products of up to 60 factors")
    assert len(explanation.equations) == 90
    assert "and 50 more: equations[30] to equations[79]" in repr(explanation)
    with ts.Grad() as g:
        y = x
        for _ in range(12):
            y = y.sin()
    assert str(g.explain(y, x).chains[0]) == "∂y₁₂/∂x: one path, a product of 12 factors"


def test_a_value_that_is_used_very_often() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = sum((x * place for place in range(1, 21)), ts.tensor(0.0))
    (equation,) = [each for each in g.explain(y, x).equations if each.symbol.by == "x"]
    assert len(equation.terms) == 20
    assert equation.symbols.endswith(" + … 13 more terms")
    assert equation.numbers.endswith(" + … 13 more terms = 210")


def test_names_are_only_ever_text() -> None:
    x = ts.tensor(2.0, name=f"{EVIL} * ")
    with ts.Grad() as g:
        y = x * x
    (equation,) = g.explain(y, x).equations
    assert equation.symbols == f"∂y/∂{EVIL} *  = ∂y/∂y · {EVIL} *  + ∂y/∂y · {EVIL} * "
    assert (
        text_of(ast.parse("a * b.mT", mode="eval").body, {"a": "torch.x * ", "b": "∂y/∂z"}) == "torch.x *  · (∂y/∂z)ᵀ"
    )


def test_it_is_plain_data(tmp_path: Path) -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = x.sin()
    explanation = g.explain(y, x)
    assert repr(pickle.loads(pickle.dumps(explanation))) == repr(explanation)
    assert explanation.save(tmp_path / "derivation.txt").read_text() == repr(explanation)
    assert json.loads(explanation.save(tmp_path / "derivation.json").read_text()) == explanation.trace()
    assert explanation.trace()["equations"][0]["terms"][0]["formula"] == "g · cos(input)"
    with pytest.raises(ts.ArgumentError, match=r"\.html, \.json, \.tex, \.txt"):
        explanation.save(tmp_path / "derivation.png")


def test_rules_that_hold_more_than_numbers() -> None:
    """What a rule was given besides tensors, such as contexts and functions, is named and not kept."""
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        y = ts.checkpoint(lambda value: value.sin().exp())(x).sum()
    explanation = g.explain(y, x)
    assert repr(pickle.loads(pickle.dumps(explanation))) == repr(explanation)
    torch.testing.assert_close(explanation.equations[-1].value.data, g.gradient(y, x).data)


def test_constants_have_the_programs_names() -> None:
    inputs, w = torch.tensor([1.0, 2.0]), ts.tensor([3.0, 4.0])
    with ts.Grad() as g:
        y = (w * inputs).sum()
    assert [each.symbols for each in g.explain(y, w).equations][-1] == "∂y/∂w = ∂y/∂v2 · inputs"


def test_a_sum_of_paths_never_names_itself() -> None:
    """A factor of the target by a value that also reaches it on other paths would be called what the sum is called."""
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = x * x * 3 + x
    chain = g.explain(y, x).chains[0]
    assert chain.paths == []
    assert str(chain) == "∂y/∂x: the sum over 2 paths, products of up to 3 factors"
    with ts.Grad() as g:
        u = x**2
        y = u * (u + 1)  # ∂y/∂u by the product alone is u + 1, and in all it is 2 u + 1
    assert g.explain(y, x).chains[0].paths == []
    assert g.explain(y, u).chains[0].paths == []
    with ts.Grad() as g:
        u = x**2
        y = u * u  # one path, by two operands of one op
    assert str(g.explain(y, x).chains[0]) == "∂y/∂x = ∂y/∂u · ∂u/∂x"
