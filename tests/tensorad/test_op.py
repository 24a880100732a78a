"""The table: how rows are written, what a call saves, and what a wrong row says."""

import functools
from typing import Any

import pytest
import torch
from oracle import agree, rand

import tensorad as ts
from tensorad.call import Op
from tensorad.op import OPS, check_row, take_over


def test_a_row_of_ones_own() -> None:
    op = ts.defrule("tested_cube(input)", function=lambda x: x**3, input=lambda g, input: 3 * g * input**2)
    x = ts.tensor(2.0)
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = ts.tested_cube(x)
        dx = g1.gradient(y, x)
    assert (op.name, dx.item(), g2.gradient(dx, x).item()) == ("tested_cube", 12, 12)


def test_a_row_for_a_torch_function_replaces_the_error() -> None:
    with pytest.raises(ts.NoRuleError):
        torch.special.laguerre_polynomial_l(ts.tensor(1.0), 1)
    ts.defrule("special.laguerre_polynomial_l(input, n)", input=lambda g, n: {0: 0 * g, 1: -g}[n])
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = torch.special.laguerre_polynomial_l(x, 1)
    assert g.gradient(y, x).item() == -1


def test_wrong_rows() -> None:
    with pytest.raises(ts.RuleError, match="no function 'no_such_function'"):
        ts.defrule("no_such_function(input)", input=lambda g: g)
    with pytest.raises(ts.RuleError, match="names inptu: no such argument"):
        ts.defrule("sin(input)", input=lambda g, inptu: g)
    with pytest.raises(ts.RuleError, match="names other: no such argument"):
        ts.defrule("sin(input)", other=lambda g: g)


@pytest.mark.parametrize("signature", ["foo", "foo(a", "foo(input)"])
def test_rows_without_rules_or_arguments(signature: str) -> None:
    with pytest.raises(ts.RuleError, match="a row is"):
        ts.defrule(signature, function=torch.sin)


def test_a_rule_that_returns_a_number() -> None:
    op = ts.defrule("tested_number(input)", function=lambda x: x * 2, input=lambda g: 2.0)
    x = ts.tensor([1.0, 2.0, 3.0])
    with ts.Grad() as g:
        y = op.call(x)
    with pytest.raises(ts.RuleError, match=r"tested_number returned a float for an operand of shape \(3,\)"):
        g.gradient(y, x)


def test_a_rule_that_returns_another_shape() -> None:
    op = ts.defrule("tested_shape(input)", function=lambda x: x * 2, input=lambda g: (g * 2).sum())
    x = ts.tensor([1.0, 2.0, 3.0])
    with ts.Grad() as g:
        y = op.call(x * x)
    with pytest.raises(ts.RuleError, match=r"returned a cotangent of shape \(\) for an operand of shape \(3,\)"):
        g.gradient(y, x)


def test_a_rule_in_another_dtype_is_fitted() -> None:
    op = ts.defrule("tested_dtype(input)", function=lambda x: x * 2, input=lambda g: 2 * g.double())
    x = ts.tensor([1.0, 2.0, 3.0])
    with ts.Grad() as g:
        y = op.call(x)
    assert g.gradient(y, x).dtype == torch.float32


@pytest.mark.parametrize(
    "signature",
    ["f(a,,)", "f(a b)", "f(a=)", "f(a))", "f(a, a)", "f(a, b=1, c)", "f(a, dim=inf)", "(a)", "f(a, version)",
     "f(a, out)", "f(a, axis=0)", "f(a, contexts)"],
)  # fmt: skip
def test_malformed_rows_replace_nothing(signature: str) -> None:
    with pytest.raises(ts.RuleError):
        ts.defrule(signature.replace("f(", "sin("), function=lambda a: a, a=lambda g: g)
    assert ts.sin(ts.tensor(0.0)).item() == 0


def test_rules_that_cannot_be_read() -> None:
    partial: Any = functools.partial(torch.mul, 2)
    for rule in (torch.neg, partial, lambda g, *, input: g, lambda: 1):
        with pytest.raises(ts.RuleError, match="a rule is a Python function of g"):
            ts.defrule("tested_rule(input)", function=torch.neg, input=rule)


def test_a_joint_rule_stands_alone() -> None:
    joint = ("a b", lambda g: (g, g))
    with pytest.raises(ts.RuleError, match="stands for all rules"):
        ts.defrule("tested_joint(a, b, c)", function=torch.addcmul, joint=joint, c=lambda g: g)


def test_a_joint_rule_of_several_outputs() -> None:
    def both(a: Any, b: Any) -> Any:
        return (a * b, a + b), a - b

    def rule(g: Any, a: Any, b: Any, out: Any, residuals: Any) -> Any:
        return g[0] * b + g[1], g[0] * (out[1] - b) + g[1] * (a - b) / residuals

    op = ts.defrule("tested_both(a, b)", function=both, outputs=True, joint=("a b", rule))
    x, y = torch.tensor(3.0), torch.tensor(5.0)
    a, b = ts.tensor(x), ts.tensor(y)
    with ts.Grad() as g:
        product, total = op.call(a, b)
        target = product * total
    assert [each.item() for each in g.gradient(target, (a, b))] == [5 * 8 + 15, 3 * 8 + 15]


def test_operands_by_keyword_only() -> None:
    ts.defrule("tested_keyword(input, *, weight)", function=lambda x, *, weight: x * weight,
               input=lambda g, weight: g * weight, weight=lambda g, input: g * input)  # fmt: skip
    agree(lambda a, b: ts.tested_keyword(a, weight=b) if isinstance(a, ts.Tensor) else a * b, rand(3), rand(3, seed=1))


def test_outputs_that_only_the_rule_of_a_constant_names() -> None:
    op = ts.defrule("tested_outs(a, b)", function=lambda a, b: (a * b, a), outputs=True,
                    a=lambda g, b: g[0] * b + g[1], b=lambda g, out: g[0] * out[1])  # fmt: skip
    x = ts.tensor(2.0)
    with ts.Grad() as outer:
        with ts.Grad() as g:
            y, _ = op.call(x * x, 3.0)
        dx = g.gradient(y, x)
    assert (dx.item(), outer.gradient(dx, x).item()) == (12, 6)


def test_a_tensor_without_a_rule_is_named_as_a_cut() -> None:
    x, w = ts.tensor(2.0), ts.tensor(3.0)
    with ts.Grad() as g:
        y = torch.nn.functional.leaky_relu(x, w * 1)
    assert "an argument without a rule at test_op.py" in g.why(y, w)


def saved(function: Any, *arguments: Any) -> tuple[Any, ...]:
    with ts.Grad():
        return function(*arguments).node.saved


def test_only_what_rules_name_is_saved() -> None:
    x, y = ts.tensor([1.0, 2.0]), ts.tensor([3.0, 4.0])
    assert saved(torch.add, x, y) == ()
    assert saved(torch.sin, x)[0] is x.data
    assert saved(torch.mul, x, 2.0) == (2.0, None)  # x would serve the derivative by 2.0
    with ts.Grad():
        z = x.exp()
    assert z.node is not None
    assert z.node.saved[0] is z.data


def test_constants_are_not_recorded() -> None:
    with ts.Grad():
        assert ts.sin(torch.ones(2)).node is None
        assert (ts.tensor([1, 2]) + 1).node is None
        assert (ts.tensor([1.0, 2.0]) > 1).node is None


def test_nothing_is_recorded_without_a_context() -> None:
    assert ts.sin(ts.tensor(1.0)).node is None


def test_one_op_under_all_its_names() -> None:
    x = ts.tensor([0.5])
    forms = [torch.sin(x), x.sin(), ts.sin(x), torch.sin(input=x)]
    assert len({form.item() for form in forms}) == 1
    assert ts.sin is OPS["sin"]
    assert torch.special.expit(x).item() == torch.sigmoid(x).item()


def test_numpys_names_of_arguments() -> None:
    x = ts.tensor([[1.0, 2.0], [3.0, 4.0]])
    with ts.Grad() as g:
        y = x.sum(axis=1, keepdims=True)
    assert y.tolist() == [[3], [7]]
    assert g.gradient(y, x).tolist() == [[1, 1], [1, 1]]


def test_torchs_errors_pass_through() -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad():
        with pytest.raises(RuntimeError, match="size of tensor a"):
            x + ts.ones(3)
        with pytest.raises(IndexError, match="Dimension out of range"):
            x.sum(dim=3)
        with pytest.raises(TypeError):
            x.sum(nonsense=3)


def test_the_source_of_a_call_can_be_read() -> None:
    op = Op("tested(input, other)", {"input": lambda g, other: g * other}, torch.mul)
    parents = (
        "((input.node or input.leaf()) if type(input) is Tensor else None if input_data is input else leaf_of(input)"
    )
    assert f"parents, shape, dtype = {parents}" in op.source
    assert "saved = (other_data, )" in op.source


def test_a_row_for_a_known_op_replaces_it_everywhere() -> None:
    old = OPS["mul"]
    try:
        ts.defrule("mul(input, other)", input=lambda g, other: 100 * g, other=lambda g, input: g)
        x = ts.tensor(1.0)
        for function in (torch.mul, torch.multiply, ts.mul, ts.Tensor.mul, lambda a, b: a * b, lambda a, b: b * a):
            with ts.Grad() as g:
                y = function(x, 2.0)
            assert g.gradient(y, x).item() in (100, 1)
        x *= 2
    finally:
        take_over(OPS["mul"], old)
    with ts.Grad() as g:
        y = 2.0 * x * x
    assert g.gradient(y, x).item() == 8


@pytest.mark.parametrize(
    "function", [lambda x, scale=5.0: x * scale, lambda x, scale: x * scale, lambda x, s=2.0: x * s]
)
def test_defaults_that_the_function_does_not_have(function: Any) -> None:
    with pytest.raises(ts.RuleError, match=r"no parameter scale=2\.0"):
        ts.defrule("tested_scale(input, scale=2.0)", function=function, input=lambda g, scale: g * scale)


def test_the_rows_of_our_own_tables() -> None:
    """What `defrule` checks for others' rows, at import, is checked here for ours."""
    written = {call for call in OPS.values() if "op" in getattr(call, "__globals__", {})}
    ops = {call.__globals__["op"] for call in written if isinstance(call.__globals__["op"], Op)}
    ours = [
        op for op in ops if all((rule.__module__ or "").startswith("tensorad.rules.") for rule in op.rules.values())
    ]
    assert len(ours) > 300
    for op in ours:
        check_row(op)


def test_operators_are_the_rows_themselves() -> None:
    """Without the dispatch by `alpha=` that torch.add and torch.sub need."""
    assert ts.Tensor.__add__.__globals__["op"].name == "add"
    assert ts.Tensor.__sub__.__globals__["op"].name == "sub"
