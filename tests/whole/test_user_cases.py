"""What users of autodiff libraries trip over most, one test each, numbered as in the page of questions."""

import gc
import math
from typing import Any

import numpy as np
import pytest
import torch
from oracle import agree, rand

import tensorad as ts
from tensorad import backward as backward_module


def test_01_a_gradient_is_never_none_unasked_and_why_names_the_cut() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = ts.tensor(float(x * 3)) * 2
    assert g.gradient(y, x).item() == 0
    assert "float() at test_user_cases.py" in g.why(y, x)
    kinds: dict[str, Any] = {  # the user's line that each answer must quote -> what was done
        "stop_gradient() at": lambda: ts.stop_gradient(x),
        "numpy() at": lambda: ts.tensor(x.numpy()),
        "item() at": lambda: ts.ones(()) * x.item(),
        "to at": lambda: x.to(torch.int64) * 1.5,
        "argmax at": lambda: x.reshape(1).argmax() * 1.5,
        "made by nothing recorded": lambda: ts.tensor(1.0),
    }
    for words, made in kinds.items():
        with ts.Grad() as g:
            y = made() * ts.tensor(2.0)
        found = g.why(y, x)
        assert words in found
        assert "nothing recorded" in words or "test_user_cases.py:" in found
    before = x * x
    with ts.Grad() as outer:
        early = x * x
        with ts.Grad() as g:
            late = early * before
        after = late * 2
    assert "mul at test_user_cases.py" in g.why(late, x)  # made before g opened
    assert "made before g opened" in g.why(late, x)
    assert "computed after g (opened at test_user_cases.py" in g.why(after, x)
    assert "computed under no context" in outer.why(before * 1.0, x) or "after outer" in outer.why(before * 1.0, x)


def test_02_unconnected_sources_get_zeros_of_their_own_kind() -> None:
    x, other = ts.tensor(2.0), ts.tensor([1.0, 2.0], dtype=ts.float64)
    with ts.Grad() as g:
        y = x * x
    zero = g.gradient(y, [x, other])[1]
    assert (zero.tolist(), zero.dtype) == ([0, 0], torch.float64)
    assert g.gradient(y, {"w": other}, unconnected="none") == {"w": None}


def test_03_an_inner_gradient_outside_of_the_outer_block_is_an_error() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = x**3
    dx = g1.gradient(y, x)
    with pytest.raises(ts.NotRecordedError, match=r"computed after g2 .* closed.*indent"):
        g2.gradient(dx, x)


def test_04_gradient_inside_its_block_reentry_and_self_nesting() -> None:
    x = ts.tensor(2.0)
    g = ts.Grad()
    with g:
        assert g.gradient(x * x, x).item() == 4
        with pytest.raises(ts.ContextError, match="open already"):
            g.__enter__()
    with g:
        y = x**3
    assert g.gradient(y, x).item() == 12


def test_05_a_target_that_is_no_scalar_is_summed() -> None:
    agree(lambda x: (x * x).sum(), rand(3))
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        y = x * x
    assert g.gradient(y, x).tolist() == [2, 4]
    with pytest.raises(ts.ShapeError, match="sum of the target"):
        g.gradient(y, x, cotangent=1.0)


def test_06_a_change_in_place_names_the_op_and_both_lines() -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        y = x.sin()
    x.data.zero_()
    lines = r"sin saved at test_user_cases.py:\d+ \('y = x.sin\(\)'\).*at test_user_cases.py:\d+ \('x.data.zero_\(\)'\)"
    with pytest.raises(ts.MutationError, match=lines):
        g.gradient(y, x)


def test_07_aliases_are_right_or_raise() -> None:
    array = np.array([1.0, 1.0])
    x = ts.tensor(array)
    with ts.Grad() as g:
        y = (x * array).sum()
    array[:] = 0
    assert g.gradient(y, x).tolist() == [1, 1]
    row = x.data[:1]
    with ts.Grad() as g:
        y = (x * x).sum()
    row.zero_()
    with pytest.raises(ts.MutationError):
        g.gradient(y, x)


def test_08_array_assignment() -> None:
    x = ts.tensor(3.0)
    with ts.Grad() as g:
        b = ts.zeros(3)
        early = b.sum()
        b[0] = x
        late = (b * b).sum()
    assert (early.item(), late.item()) == (0, 9)
    assert g.gradient(late, x).item() == 6
    with pytest.raises(TypeError, match=r"t = t.add\(...\)"):
        b.add_(1)


def test_09_the_branch_that_where_does_not_take() -> None:
    """NaN as in torch; a masked gradient, or the double where, is the way out."""
    x = ts.tensor(0.0)
    with ts.Grad() as g:
        y = torch.where(x > 0, x.log(), 0.0)
        z = torch.where(x > 0, torch.where(x > 0, x, 1.0).log(), 0.0)
    assert math.isnan(g.gradient(y, x).item())
    assert g.gradient(y, x, masked=True).item() == 0
    assert g.gradient(z, x).item() == 0
    with pytest.raises(ts.NonFiniteError, match=r"log at test_user_cases.py"), ts.Grad(check="nan"):
        torch.where(x > 0, x.log(), 0.0)


def test_10_the_norm_at_zero() -> None:
    x = ts.tensor([0.0, 0.0])
    with ts.Grad() as g:
        y = torch.linalg.vector_norm(x) + x.norm()
    assert g.gradient(y, x).tolist() == [0, 0]


def test_11_std_of_a_constant() -> None:
    x = ts.tensor([2.0, 2.0, 2.0])
    with ts.Grad() as g:
        y = x.std()
    assert g.gradient(y, x).tolist() == [0, 0, 0]


def test_12_powers_of_zero_and_of_negative_numbers() -> None:
    x = ts.tensor([-2.0, 0.0])
    with ts.Grad() as g:
        y = x**2 + x**3
    assert g.gradient(y, x).tolist() == [8, 0]


def test_13_a_gradient_can_say_which_conventions_it_relied_on() -> None:
    x = ts.tensor([-1.0, 0.0, 2.0])
    with ts.Grad(check="corners") as g:
        y = (torch.relu(x) * 3).sum()
    with pytest.warns(ts.ConventionWarning, match="relied on a convention"):
        assert g.gradient(y, x).tolist() == [0, 0, 3]
    (corner,) = g.corners()
    assert (corner.op, corner.indices) == ("relu", [(1,)])
    assert (corner.row.ours, corner.row.torch, corner.row.jax) == ("0", "0", "0")


def test_14_mass_is_conserved_in_ties() -> None:
    x = ts.tensor([1.0, 1.0, 0.0])
    with ts.Grad() as g:
        y = x.max()
    assert g.gradient(y, x).tolist() == [0.5, 0.5, 0]


def test_15_det_of_a_singular_matrix() -> None:
    matrix = ts.tensor([[1.0, 2.0], [2.0, 4.0]])
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = torch.linalg.det(matrix)
        first = g1.gradient(y, matrix)
        weighted = (first * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum()
    torch.testing.assert_close(first.data, torch.tensor([[4.0, -2.0], [-2.0, 1.0]]))  # the adjugate, transposed
    # det = ad - bc, so its gradient is [[d, -c], [-b, a]], and that of the weighted sum of it:
    torch.testing.assert_close(g2.gradient(weighted, matrix).data, torch.tensor([[4.0, -3.0], [-2.0, 1.0]]))


def test_16_any_number_of_gradients_of_one_recording() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = x.exp() * x
    assert len({g.gradient(y, x).item() for _ in range(3)}) == 1


def test_17_nothing_grows_from_step_to_step() -> None:
    w = ts.tensor([1.0, 2.0])
    gc.collect()
    gc.disable()
    try:
        before = None
        for number in range(20):
            with ts.Grad() as g:
                loss = ((w * w).tanh() ** 2).sum()
            w = w - 0.1 * g.gradient(loss, {"w": w})["w"]
            if number == 5:
                before = len(gc.get_objects())
        assert before is not None
        assert abs(len(gc.get_objects()) - before) < 10
    finally:
        gc.enable()


def test_18_intermediate_values_are_sources_too() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        h = x.to(ts.float64)
        y = h * h
    assert g.gradient(y, h).item() == 4


def test_19_gradients_do_not_accumulate() -> None:
    x = ts.tensor(2.0)
    for _ in range(2):
        with ts.Grad() as g:
            y = x * x
        assert g.gradient(y, x).item() == 4


def test_20_the_graph_can_be_seen_by_one_call_small_or_large() -> None:
    x = ts.tensor([1.0, 2.0], name="x")
    with ts.Grad() as g:
        low, high = (x.sin() * x).split(1)
        y = (low + high).sum()
    lines = repr(g.graph(y)).splitlines()
    assert lines[0] == "#1  x = leaf, shape (2,)"
    assert lines[2].startswith("#3  mul(input=#2, other=#1), shape (2,)  at test_user_cases.py:")
    assert lines[4].startswith("#5  low = part(whole=#4), shape (1,)  at test_user_cases.py:")
    assert lines[-1].startswith("#8  y = sum(input=#7), shape ()  at test_user_cases.py:")
    assert [node.op for node in g.graph(y).nodes][3:7] == ["split", "part", "part", "add"]
    with ts.Grad() as g:
        y = x
        for _ in range(1000):
            y = (y * 0.5).sin() + x
    text = repr(g.graph(y))
    assert "1000 × (mul, sin, add):" in text
    assert len(text.splitlines()) <= 40
    assert len(g.graph(y).nodes) == 3001
    with pytest.raises(ts.NotRecordedError):
        g.graph(ts.tensor(1.0))


def test_21_where_the_first_nan_was_made() -> None:
    x = ts.tensor([4.0, 0.0])
    with ts.Grad(check="nan") as g:
        h = torch.sqrt(x)
        y = (h * 2).sum()
    line = r"rule of sqrt at test_user_cases.py:\d+ \('h = torch.sqrt\(x\)'\)"
    with pytest.raises(ts.NonFiniteError, match=rf"{line}.*1 of 2 entries: \[1\].*backward pass of order 1"):
        g.gradient(y, x)
    with pytest.raises(ts.NonFiniteError, match=r"sqrt at .* made a NaN .*forward pass"), ts.Grad(check="nan"):
        torch.sqrt(x - 1)


def test_22_second_derivatives_take_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in pulls of rules, which no noise of a machine changes: one batched pass for all rows of a Hessian."""
    x, v = ts.tensor(rand(40)), ts.tensor(rand(40, seed=1))
    f = lambda x: (x.sin() * x.cumsum(0)).tanh().sum()  # noqa: E731
    passes: list[int] = []
    original = ts.Grad.cotangents

    def counted(self: Any, *args: Any) -> Any:
        passes.append(1)
        return original(self, *args)

    monkeypatch.setattr(ts.Grad, "cotangents", counted)
    hessian = ts.hessian(f)(x)
    assert len(passes) == 2
    product = ts.hvp(f, (x,), (v,))
    assert len(passes) == 4
    torch.testing.assert_close(product.data, hessian.data @ v.data)


def test_23_what_an_own_rule_computes_off_the_graph_raises_at_second_order() -> None:
    bad = ts.primitive(lambda x: (2 * x) ** 2)
    bad.defvjp(lambda x: ((2 * x) ** 2, torch.tensor(2 * x.item())), lambda g, doubled: (4 * g * doubled,))
    x = ts.tensor(3.0)
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = bad(x)
        dx = g1.gradient(y, x)
    assert dx.item() == 24
    with pytest.raises(ts.RuleError, match=r"off the graph, by item\(\) at test_user_cases.py"):
        g2.gradient(dx, x)
    with pytest.raises(ts.RuleError, match=r"off the graph, by item\(\) at test_user_cases.py"):
        ts.check_rule(bad, x)


def test_24_deep_graphs() -> None:
    x = ts.tensor(1.0)
    with ts.Grad() as g:
        y = x
        for _ in range(20_000):
            y = y + 1
    assert g.gradient(y, x).item() == 1


def test_25_the_naive_order_fails_on_a_shared_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learner's recursion passes a node on as often as it is reached, before all of its cotangent has arrived."""
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        shared = x * x
        y = shared.sin() + shared * 3.0
    right = g.gradient(y, x).item()
    assert right == pytest.approx((math.cos(4) + 3) * 4)
    between = backward_module.between

    def depth_first(owner: object, target: Any, sources: Any) -> Any:
        _, wanted = between(owner, target, sources)
        order: list[Any] = []

        def visit(node: Any) -> None:
            if node in wanted and node.op is not None:
                order.append(node)
                for parent in node.parents:
                    visit(parent)

        visit(target)
        return list(reversed(list(dict.fromkeys(order)))), wanted

    monkeypatch.setattr(backward_module, "between", depth_first)
    assert g.gradient(y, x).item() != pytest.approx(right)


def test_26_integers_are_refused_with_what_to_type() -> None:
    x = ts.tensor(3)
    with ts.Grad() as g:
        y = x * 1.5
    with pytest.raises(TypeError, match=r"dtype=tensorad.float32"):
        g.gradient(y, x)


def test_27_complex_gradients_are_in_torchs_convention() -> None:
    agree(lambda z: (z * z).real + z.abs(), torch.tensor([1 + 2j, 3 - 1j], dtype=torch.complex128))
    z = ts.tensor(1 + 2j)
    with ts.Grad() as g:
        y = (z * z).real
    assert g.gradient(y, z).item() == 2 - 4j


def test_28_a_value_used_after_its_block_closed_is_a_constant() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        h = x * x
    with ts.Grad() as later:
        y = h * 3
    assert later.gradient(y, h).item() == 3
    with pytest.warns(ts.UnconnectedWarning, match="made before later opened"):
        assert later.gradient(y, x).item() == 0
    assert g.gradient(h, x).item() == 4


def test_29_a_gradient_check_names_the_worst_entry_and_warns_in_float32(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ts.primitive(lambda x: x**2)
    wrong.defvjp(lambda x: (x**2, x), lambda g, x: (2 * g * x * g.new_tensor([1, 1.5]),))
    with pytest.warns(ts.PrecisionWarning, match="float32"):
        assert not ts.gradcheck(wrong, ts.tensor([1.0, 2.0]))
    assert "1 DISAGREE; worst: argument 0, entry [1]: analytic " in capsys.readouterr().out


def test_30_updating_in_place() -> None:
    weights = [ts.tensor([1.0, 2.0]), ts.tensor(3.0)]
    for _ in range(2):
        with ts.Grad() as g:
            loss = (weights[0] * weights[1]).sum()
        for w, dw in zip(weights, g.gradient(loss, weights), strict=True):
            w -= 0.1 * dw
    expected: list[Any] = [torch.tensor([1.0, 2.0]), torch.tensor(3.0)]
    for _ in range(2):
        a, b = expected
        expected = [a - 0.1 * b.expand(2), b - 0.1 * a.sum()]
    for mine, other in zip(weights, expected, strict=True):
        torch.testing.assert_close(mine.data, other)
