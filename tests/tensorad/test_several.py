"""Ops with several outputs, and with one rule for several operands."""

import itertools
from typing import Any

import torch
from oracle import agree, rand

import tensorad as ts
from tensorad import mutation


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
