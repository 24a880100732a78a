"""Other rules for an op, for the length of a block."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import tensorad as ts
from tensorad.op import ROWS
from tensorad.override import override
from tensorad.tensor import TABLE

VALUES = torch.tensor([-1.0, 0.4, 2.6])


def slopes(f: Callable[[Any], Any]) -> list[float]:
    x = ts.tensor(VALUES)
    with ts.Grad() as g:
        y = f(x).sum()
    return g.gradient(y, x, unconnected="zero").tolist()


@pytest.fixture(autouse=True)
def table_as_it_was() -> Any:
    before = dict(TABLE), dict(ROWS), {name: getattr(ts.Tensor, name) for name in ("relu", "round", "exp")}
    yield
    after = dict(TABLE), {key: row for key, row in ROWS.items() if key in before[1]}
    assert after == before[:2]
    assert all(getattr(ts.Tensor, name) is call for name, call in before[2].items())


def test_a_straight_through_estimator() -> None:
    with ts.override(torch.round, input=lambda g: g):
        assert slopes(lambda x: x * torch.round(x)) == pytest.approx([-2, 0.4, 5.6])
        assert slopes(torch.round) == slopes(lambda x: x.round()) == slopes(lambda x: ts.round(x)) == [1, 1, 1]
    assert slopes(torch.round) == [0, 0, 0]


def test_every_name_of_the_op_has_the_rule() -> None:
    with ts.override(F.relu, input=lambda g, out: g * (out + 2)):
        for f in (torch.relu, F.relu, torch.nn.ReLU(), torch.nn.ReLU(inplace=False), lambda x: x.relu(), ts.relu):
            assert slopes(f) == pytest.approx([2, 2.4, 4.6])
    assert slopes(F.relu) == [0, 1, 1]


def test_what_was_recorded_in_the_block_keeps_the_rule_and_what_was_not_does_not() -> None:
    x = ts.tensor(VALUES)
    with ts.Grad() as g:
        before = torch.exp(x).sum()
        with ts.override(torch.exp, input=lambda g: g * 3):
            inside = torch.exp(x).sum()
            found = g.gradient(before, x)
    torch.testing.assert_close(found.data, VALUES.exp())
    assert g.gradient(inside, x).tolist() == [3, 3, 3]


def test_the_second_order_is_that_of_the_rule() -> None:
    x = ts.tensor(VALUES)
    with ts.override(torch.relu, input=lambda g, input: g * torch.sigmoid(input)), ts.Grad() as g2:
        with ts.Grad() as g1:
            y = torch.relu(x).sum()
        dx = g1.gradient(y, x)
    s = VALUES.sigmoid()
    torch.testing.assert_close(g2.gradient(dx, x).data, s * (1 - s))
    with ts.override(torch.relu, input=lambda g, input: g * torch.sigmoid(input)):
        _, tangent = ts.jvp(torch.relu, (x,), (torch.ones(3),))
    torch.testing.assert_close(tangent.data, s)


def test_other_operands_keep_their_rules() -> None:
    x = ts.tensor(VALUES)
    with ts.override(torch.mul, input=lambda g, other: g * other * 10), ts.Grad() as g:
        y = (x * 1.0 * ts.tensor(2.0)).sum()
    assert g.gradient(y, x).tolist() == [200, 200, 200]
    other = ts.tensor(2.0)
    with ts.override(torch.mul, input=lambda g, other: g * other * 10), ts.Grad() as g:
        y = (x * other).sum()
    assert g.gradient(y, other).item() == pytest.approx(2.0)


def test_blocks_nest_and_the_innermost_counts() -> None:
    with ts.override(torch.round, input=lambda g: g):
        with ts.override(torch.Tensor.round, input=lambda g: 2 * g):
            assert slopes(torch.round) == [2, 2, 2]
        assert slopes(torch.round) == [1, 1, 1]
    assert slopes(torch.round) == [0, 0, 0]


def test_it_holds_for_this_thread_only() -> None:
    found: list[Any] = []
    with ts.override(torch.round, input=lambda g: g):
        thread = threading.Thread(target=lambda: found.append(slopes(torch.round)))
        thread.start()
        thread.join()
        assert slopes(torch.round) == [1, 1, 1]
    assert found == [[0, 0, 0]]


def test_blocks_of_two_threads_may_overlap() -> None:
    entered, leave = threading.Event(), threading.Event()
    found: list[Any] = []

    def other() -> None:
        with ts.override(torch.round, input=lambda g: 5 * g):
            entered.set()
            leave.wait(10)
            found.append(slopes(torch.round))

    with ts.override(torch.round, input=lambda g: g):
        thread = threading.Thread(target=other, daemon=True)
        thread.start()
        entered.wait(10)
        assert slopes(torch.round) == [1, 1, 1]
    assert slopes(torch.round) == [0, 0, 0]
    leave.set()
    thread.join()
    assert found == [[5, 5, 5]]
    assert slopes(torch.round) == [0, 0, 0]


def test_an_error_inside_ends_the_block() -> None:
    with pytest.raises(ZeroDivisionError), ts.override(torch.round, input=lambda g: g):
        _ = 1 // 0
    assert slopes(torch.round) == [0, 0, 0]


def test_ops_of_all_kinds() -> None:
    with ts.override(F.logsigmoid, input=lambda g: g):  # its own rule names residuals
        assert slopes(F.logsigmoid) == [1, 1, 1]
    with ts.override(F.tanhshrink, input=lambda g: g):  # it is composed of others
        assert slopes(F.tanhshrink) == [1, 1, 1]
    with ts.override("heaviside", input=lambda g, input: g * input):
        assert slopes(lambda x: torch.heaviside(x, torch.tensor(0.0))) == pytest.approx([-1, 0.4, 2.6])
    with ts.override(torch.fake_quantize_per_tensor_affine, input=lambda g: g):  # it has no row
        assert slopes(lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255)) == [1, 1, 1]
    with pytest.raises(ts.NoRuleError):
        slopes(lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255))
    with ts.override(torch.cat, joint=("tensors", lambda g, tensors: [g[: len(each)] * 0 + 7 for each in tensors])):
        assert slopes(lambda x: torch.cat([x, x])) == [14, 14, 14]
    with ts.override(torch.frexp, input=lambda g: g[0] * 3):  # it has several outputs
        assert slopes(lambda x: torch.frexp(x)[0]) == [3, 3, 3]
    with ts.override(torch.sort, input=lambda g: g), pytest.raises(ts.RuleError, match="outputs=True"):
        slopes(lambda x: torch.sort(x)[0])
    with ts.override(torch.sort, outputs=True, input=lambda g, out: g[0] * 2):  # composed, with several outputs
        assert slopes(lambda x: torch.sort(x)[0]) == [2, 2, 2]


def test_the_value_stays_what_it_is() -> None:
    x = ts.tensor(VALUES)
    with ts.override(torch.relu, input=lambda g: g):
        assert torch.relu(x).tolist() == torch.relu(x.data).tolist()
        assert torch.relu(x.data).tolist() == VALUES.clamp(min=0).tolist()


def test_a_clipped_gradient() -> None:
    with ts.override(torch.exp, input=lambda g, out: (g * out).clamp(-1, 1)):
        assert slopes(torch.exp)[1:] == [1, 1]


@pytest.mark.parametrize(
    ("function", "rules", "error", "words"),
    [
        (torch.relu, {"inputt": lambda g: g}, ts.RuleError, "names inputt: no such argument, there is input"),
        (torch.relu, {"input": lambda g, foo: g}, ts.RuleError, "names foo"),
        (torch.relu, {}, ts.RuleError, "which rule"),
        (torch.add, {}, ts.RuleError, r"override\(add, <argument>"),
        (torch.dropout, {}, ts.RuleError, r"override\(dropout, <argument>"),
        (torch.cat, {"tensors": lambda g: g}, ts.RuleError, "one rule for all operands"),
        (print, {"input": lambda g: g}, ts.ArgumentError, "no function of torch's"),
        ("no_such_op", {"input": lambda g: g}, ts.ArgumentError, "no function of torch's"),
        (3, {"input": lambda g: g}, ts.ArgumentError, "no function of torch's"),
    ],
)
def test_what_is_wrong_is_said(function: Any, rules: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words), override(function, **rules):
        pass


def test_rules_are_not_written_in_overridden_ops() -> None:
    x = ts.tensor(VALUES)
    with ts.override(torch.mul, input=lambda g, other: g * other * 10, other=lambda g, input: g * input * 10):
        assert ts.vjp(lambda x: x * 3, x)[1](torch.ones(3))[0].tolist() == [30, 30, 30]
        assert ts.jvp(lambda x: x * 3, (x,), (torch.ones(3),))[1].tolist() == [30, 30, 30]
        expected = VALUES.softmax(0)
        modes: list[Any] = ["reverse", "forward"]
        for mode in modes:
            torch.testing.assert_close(ts.jacobian(lambda x: x.logsumexp(0), mode=mode)(x).data, expected)
    _, push = ts.linearize(torch.sin, x)
    with ts.override(torch.mul, input=lambda g, other: g * other * 10), ts.override(torch.cos, input=lambda g: g * 0):
        torch.testing.assert_close(push(torch.ones(3)).data, VALUES.cos())
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = torch.sin(x).sum()
        with ts.override(torch.cos, input=lambda g: 1000 * g):
            dx = g1.gradient(y, x)
    torch.testing.assert_close(g2.gradient(dx, x).data, -VALUES.sin())


def test_a_generator_that_is_closed_late_takes_its_own_block_away() -> None:
    def generator() -> Any:
        with ts.override(torch.round, input=lambda g: 10 * g):
            yield

    suspended = generator()
    next(suspended)
    with ts.override(torch.round, input=lambda g: 3 * g):
        suspended.close()
        assert slopes(torch.round) == [3, 3, 3]
    assert slopes(torch.round) == [0, 0, 0]


def test_ops_of_torch_nn_functional_and_own_ones() -> None:
    for function in (F.silu, F.hardtanh, F.leaky_relu, F.elu, "silu"):
        with ts.override(function, input=lambda g: 5 * g):
            name = function if isinstance(function, str) else function.__name__
            assert slopes(getattr(F, name)) == [5, 5, 5]
    ts.defrule("tripled(input)", function=lambda x: x * 3, input=lambda g: 3 * g)
    with ts.override("tripled", input=lambda g: 4 * g):
        assert slopes(lambda x: ts.tripled(x)) == [4, 4, 4]
    assert slopes(lambda x: ts.tripled(x)) == [3, 3, 3]
