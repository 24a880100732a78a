"""`ts.rule`: what it says of each kind of op, and that formulas are what the rules compute."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from oracle import rand
from torch.nn import functional

import tensorad as ts
from tensorad.call import Op
from tensorad.conventions import CONVENTIONS
from tensorad.op import OPS, ROWS, find

NAMES = [*OPS]  # before other tests add rules of their own
PAGE = Path(__file__).parents[2] / "docs" / "conventions.md"


def test_a_rule_is_shown_as_it_stands() -> None:
    card = ts.rule(torch.sin)
    assert (card.name, card.kind, card.saves, card.file) == ("sin(input)", "op", ["input"], "rules/elementwise.py")
    assert card.formulas == {"input": "g · cos(input)"}
    assert card.source == 'defrule("sin(input)", input=lambda g, input: g * input.cos())'
    assert repr(card) == repr(ts.rule("sin")) == repr(ts.rule(torch.Tensor.sin)) == repr(ts.rule(ts.sin))


FORMULAS = {
    torch.mul: {"input": "g · other", "other": "g · input"},
    functional.relu: {"input": "masked_fill(g, out ≤ 0, 0)"},
    functional.silu: {"input": "g · (sigmoid(input) + input · sigmoid(input) · (1 - sigmoid(input)))"},
    functional.softsign: ts.rule("softsign").formulas,
}


@pytest.mark.parametrize("function", FORMULAS)
def test_formulas_have_their_helpers_written_out(function: object) -> None:
    assert ts.rule(function).formulas == FORMULAS[function]


@pytest.mark.parametrize("name", ["sin", "tanh", "exp", "relu", "silu", "sigmoid", "log1p", "atan", "softplus", "elu"])
def test_a_formula_is_what_the_gradient_is(name: str) -> None:
    card = ts.rule(name)
    x = ts.tensor(rand(5))
    with ts.Grad() as g:
        y = OPS[name](x)
    names = {**vars(torch), **vars(torch.Tensor), "input": x.data, "out": y.data, "g": 1 + 0 * x.data}
    names |= {
        "alpha": 1,
        "beta": 1,
        "threshold": 20,
        "masked_fill": torch.masked_fill,
        "where": torch.where,
        "pi": torch.pi,
    }
    python = card.formulas["input"].replace("·", "*").replace("≤", "<=").replace("^", "**")
    torch.testing.assert_close(eval(python, names), g.gradient(y, x).data)


def test_the_helpers_of_a_rule_are_shown_with_it() -> None:
    assert "def standardized" in ts.rule(functional.layer_norm).source
    assert "embedding_sums = linear(" in ts.rule("embedding").source  # an op of our own
    assert "def max_1d_back" in ts.rule(functional.max_pool1d).source  # what an inner function has from the outer one


@pytest.mark.parametrize("function", [torch.max, torch.median, torch.sort, torch.topk, torch.max_pool2d])
def test_a_selection_is_shown_with_its_derivative(function: Any) -> None:
    back = "back(g, blank(g, input_shape)" if function is torch.max_pool2d else "put(g, place, residuals, input_shape)"
    assert back in ts.rule(function).source


def test_a_long_formula_names_its_helpers() -> None:
    assert ts.rule(functional.avg_pool1d).formulas["input"].startswith("average_1d_back(g, blank(g, input_shape)")


def test_an_op_of_our_own_is_marked() -> None:
    assert ts.rule("embedding_sums").internal
    assert "internal; linear" in repr(ts.rule("embedding_sums"))
    assert not ts.rule("embedding").internal
    assert not ts.rule(torch.Tensor.__getitem__).internal


def test_a_function_of_torchs_in_python_around_one_that_has_a_row() -> None:
    card = ts.rule(functional.multi_margin_loss)
    assert card == ts.rule("multi_margin_loss")
    assert card.name.startswith("multi_margin_loss(input, target")


def test_other_kinds() -> None:
    assert ts.rule(torch.neg).kind == "linear op"
    assert ts.rule(torch.neg).saves == []
    assert "no derivative" in repr(ts.rule(torch.argmax))
    assert ts.rule(torch.einsum).kind == "composed"
    assert "def einsum" in ts.rule("einsum").source
    assert ts.rule(torch.cov).kind == "pieces"
    assert "cov" in repr(ts.rule(torch.cov))


def test_where_others_differ() -> None:
    assert any("JAX: 1" in note for note in ts.rule(torch.abs).notes)
    assert any("torch: NaN" in note for note in ts.rule(torch.hypot).notes)


def test_powers_stay_powers() -> None:
    assert "x**0 and x**0.0 at 0: 0; 0" in str(ts.rule(torch.pow))


def test_what_is_no_function() -> None:
    for wrong in (5, "no_such_function", None, torch.nn.ReLU()):
        with pytest.raises(ts.ArgumentError, match="no function of torch's"):
            ts.rule(wrong)


def test_a_user_s_own_row() -> None:
    ts.defrule("thrice_of_test_rule(input)", function=lambda x: 3 * x, linear=True, input=lambda g: 3 * g)
    try:
        card = ts.rule("thrice_of_test_rule")
        assert card.formulas == {"input": "3 · g"}
        assert re.fullmatch(r"test_rule.py:\d+", card.file)
    finally:
        del OPS["thrice_of_test_rule"]


def test_a_row_without_source() -> None:
    rule = eval("lambda g: 3 * g")
    ts.defrule("thrice_of_test_rule(input)", function=lambda x: 3 * x, linear=True, input=rule)
    try:
        assert "thrice_of_test_rule" in repr(ts.rule("thrice_of_test_rule"))
    finally:
        del OPS["thrice_of_test_rule"]


def test_every_row_can_be_shown() -> None:
    for name in NAMES:
        card = ts.rule(name)
        assert card.name in repr(card)
        assert len(card.formulas) == (len(ROWS[OPS[name]].rules) if isinstance(ROWS.get(OPS[name]), Op) else 0) or (
            card.kind in ("op", "linear op")
        )
        assert not any("lambda" in formula for formula in card.formulas.values()), name


def test_the_page_of_conventions_has_the_same_rows() -> None:
    page = PAGE.read_text()
    for row in CONVENTIONS:
        assert f"| {row.where} | {row.torch} | {row.jax} | {row.ours} |" in page
        assert all(find(name) or name in OPS for name in row.ops.split()), row.ops
    rows = [line for line in page.splitlines() if line.startswith("| ") and line.count("|") == 5]
    assert len(rows) == len(CONVENTIONS) + page.count("| where | torch | JAX | tensorad |")
