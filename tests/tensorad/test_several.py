"""Ops with several outputs, and with one rule for several operands."""

import itertools
from typing import Any

import pytest
import torch
from oracle import agree, rand

import tensorad as ts
from tensorad import mutation
from tensorad.call import Op


@ts.primitive
def scale(x: Any, factor: Any) -> Any:
    return x * factor


scale.defvjp(lambda x, factor: (x * factor, (x, factor)), lambda g, saved: (g * saved[1], g * saved[0]))


def scaled(x: Any, factor: Any) -> Any:
    return scale(x, factor) if isinstance(x, ts.Tensor) or isinstance(factor, ts.Tensor) else x * factor


def test_what_a_joint_rule_returns_is_fitted_to_each_operand() -> None:
    agree(scaled, rand(3), rand(seed=1))
    agree(lambda factor: scaled(torch.ones(3), factor), rand())
    a, b = ts.tensor([1.0]), ts.tensor([1.0], dtype=ts.float64)
    with ts.Grad() as g:
        y = torch.cat([torch.ones(1, dtype=torch.float64), a, b])
    assert [each.dtype for each in g.gradient(y, [a, b])] == [torch.float32, torch.float64]


def test_the_work_per_output_does_not_grow_with_their_number(monkeypatch: Any) -> None:
    leaves = itertools.count()
    walk = mutation.optree.tree_leaves
    monkeypatch.setattr(mutation.optree, "tree_leaves", lambda tree: [next(leaves) and each for each in walk(tree)])
    x = ts.tensor(torch.ones(300))
    with ts.Grad() as g:
        y = sum(x.unbind(0))
    assert g.gradient(y, x).tolist() == [1] * 300
    assert next(leaves) < 3000


SEEN: list[tuple[bool, ...]] = []  # what the rules below were told


def shares(g: Any, a: Any, b: Any, c: Any, wanted: tuple[bool, ...]) -> list[Any]:
    SEEN.append(wanted)
    return [g * factor if asked else None for factor, asked in zip((b * c, a * c, a * b), wanted, strict=True)]


@pytest.fixture
def product() -> Op:
    SEEN.clear()
    return ts.defrule(
        "tested_product(a, b, c)",
        function=lambda a, b, c: a * b * c,
        joint=("a b c", lambda g, a, b, c, wanted: shares(g, a, b, c, wanted)),
    )


def test_a_joint_rule_is_told_which_cotangents_are_wanted(product: Op) -> None:
    a, b, c = (ts.tensor(value) for value in (2.0, 3.0, 5.0))
    with ts.Grad() as g:
        y = product.call(a, b * 1, c)
    assert [each.item() for each in g.gradient(y, (a, b, c))] == [15, 10, 6]
    assert g.gradient(y, b).item() == 10, "b leads to an operand"
    assert [each.item() for each in g.gradient(y, {"a": a, "c": c}).values()] == [15, 6]
    assert SEEN == [(True, True, True), (False, True, False), (True, False, True)]


def test_a_constant_is_not_wanted(product: Op) -> None:
    a = ts.tensor(2.0)
    with ts.Grad() as g:
        y = product.call(a, torch.tensor(3.0), 5.0)
        with ts.Grad() as inner:
            z = product.call(a, a * 1, y)  # to the inner one, y is a leaf
        assert [inner.gradient(z, source).item() for source in (y, a)] == [4, 120]
    assert g.gradient(y, a).item() == 15
    assert SEEN == [(False, False, True), (True, True, False), (True, False, False)]


def test_an_operand_given_twice_is_wanted_twice(product: Op) -> None:
    a, b = ts.tensor(2.0), ts.tensor(3.0)
    with ts.Grad() as g:
        y = product.call(a, b, a)
    assert g.gradient(y, a).item() == 12
    assert SEEN == [(True, False, True)]


def test_what_is_wanted_at_higher_orders(product: Op) -> None:
    a, b, c = (ts.tensor(value) for value in (2.0, 3.0, 5.0))
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = product.call(a, b, c)
        dy = g1.gradient(y, a)
    assert SEEN == [(True, False, False)]
    assert [each.item() for each in g2.gradient(dy, (a, b, c), unconnected="zero")] == [0, 5, 3]
    function = lambda a, b, c: product.call(a, b, c) if isinstance(a, ts.Tensor) else a * b * c  # noqa: E731
    agree(function, rand(3), rand(2, 3, seed=1), rand(seed=2))


def test_the_cotangents_wanted_of_a_list_of_operands() -> None:
    rule = lambda g, wanted: SEEN.append(wanted) or [g for _ in wanted]  # noqa: E731
    op = ts.defrule("tested_total(tensors)", function=sum, joint=("tensors", rule))
    SEEN.clear()
    a, b = ts.tensor(1.0), ts.tensor(2.0)
    with ts.Grad() as g:
        y = op.call([a, torch.tensor(4.0), b])
    assert [g.gradient(y, source).item() for source in (a, b)] == [1, 1]
    assert SEEN == [(True, False, False), (False, False, True)]


def test_the_cotangents_wanted_of_an_op_with_several_outputs() -> None:
    def rule(g: Any, a: Any, b: Any, wanted: Any) -> Any:
        SEEN.append(wanted)
        return g[0] + g[1] * b, g[0] + g[1] * a if wanted[1] else None

    op = ts.defrule("tested_two(a, b)", function=lambda a, b: (a + b, a * b), outputs=True, joint=("a b", rule))
    SEEN.clear()
    a, b = ts.tensor(2.0), ts.tensor(3.0)
    with ts.Grad() as g:
        total, product = op.call(a, b)
    assert [g.gradient(product, a).item(), g.gradient(total, b).item()] == [3, 1]
    assert SEEN == [(True, False), (False, True)]


def test_only_joint_rules_are_told() -> None:
    with pytest.raises(ts.RuleError, match="names wanted: no such argument"):
        ts.defrule("tested_alone(a)", function=torch.sin, a=lambda g, wanted: g)
    with pytest.raises(ts.RuleError, match="an argument cannot be called wanted"):
        ts.defrule("tested_name(a, wanted)", function=torch.add, joint=("a", lambda g: (g,)))


def test_what_a_rule_needs_for_one_cotangent_only() -> None:
    op = ts.defrule(
        "tested_pair(a, b)", function=torch.mul, needed_for={"a": "b", "b": "a"},
        joint=("a b", lambda g, a, b, wanted: (g * b if wanted[0] else None, g * a if wanted[1] else None)),
    )  # fmt: skip
    a, b = ts.tensor(2.0), ts.tensor(3.0)
    with ts.Grad() as g:
        both, left, right = op.call(a, b), op.call(a, 3.0), op.call(2.0, b)
    assert [each.node.saved[:2] for each in (left, right)] == [(None, 3.0), (2.0, None)]
    assert [each.item() for each in g.gradient(both, (a, b))] == [3, 2]
    assert [g.gradient(left, a).item(), g.gradient(right, b).item()] == [3, 2]
    agree(lambda x, y: op.call(x, y) if ts.Tensor in map(type, (x, y)) else x * y, rand(3), rand(2, 3, seed=1))
