"""`g.steps(target, sources)`: the backward pass, step by step, looked at and changed while it runs."""

import gc
import json
import math
from typing import Any

import pytest
import torch
from oracle import rand

import tensorad as ts
from tensorad.looking import walk
from tensorad.node import Node, recording


def layer() -> tuple[ts.Grad, Any, Any]:
    x, w, b = (ts.tensor(rand(*shape)) for shape in ((4, 3), (3, 2), (2,)))
    with ts.Grad() as g:
        h = torch.tanh(x @ w + b)
        y = (h * h).mean()
    return g, y, {"x": x, "w": w, "b": b}


def close(found: Any, wanted: Any) -> None:
    for each, other in zip(ts.tree.flatten(found)[0], ts.tree.flatten(wanted)[0], strict=True):
        torch.testing.assert_close(each.data, other.data, rtol=0, atol=0)


def test_what_is_printed() -> None:
    x, w = ts.tensor([1.0, 2.0]), ts.tensor(3.0)
    with ts.Grad() as g:
        h = x * w + x
        y = h.prod()
    lines = repr(g.steps(y, [x, w])).splitlines()
    assert [line.partition("  at ")[0] for line in lines] == [
        "0  y = prod, cotangent 1",
        "     h receives ∂y/∂y · y / h = 1 · 32 / [4, 8] = [8, 4]",
        "1  h = add, cotangent [8, 4]",
        "     v3 receives ∂y/∂h = [8, 4]",
        "     x receives ∂y/∂h = [8, 4]",
        "2  v3 = mul, cotangent [8, 4]",
        "     x receives ∂y/∂v3 · w = [8, 4] · 3 = [24, 12], and [8, 4] from before: [32, 16]",
        "     w receives ∂y/∂v3 · x = [8, 4] · [1, 2] = 16, summed from (2,) to ()",
        "gradient by x: [32, 16]",
        "gradient by w: 16",
    ]


def test_the_steps_are_the_pass() -> None:
    g, y, sources = layer()
    steps = g.steps(y, sources)
    wanted = g.gradient(y, sources)
    for step in steps:
        for each in step.received:
            total = each.value if each.before is None else each.before + each.value
            torch.testing.assert_close(each.total.data, total.data)
            assert each.value.shape == each.node.shape
    close(steps.gradients, wanted)
    close(list(steps[-1].gradients.values()), wanted)
    assert {*steps[-1].gradients} == {"sources['x']", "sources['w']", "sources['b']"}
    assert {*steps[0].gradients.values()} == {None}
    # Each step's cotangent is the gradient by what it is the turn of.
    assert len(steps) == len(g.graph(y).nodes) - len(sources)
    bias = next(each for step in steps for each in step.received if each.node.name == "sources['b']")
    assert bias.unbroadcast
    assert (bias.returned.shape, bias.value.shape) == ((4, 2), (2,))


def test_sums_are_kept_as_they_were_at_each_step() -> None:
    """The loop adds to sums in place; what a step has shown must not change afterwards."""
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = x * 2 + x * 3 + x * 4 + x * 5
    steps = g.steps(y, x)
    running = [step.gradients["x"] for step in steps]
    assert [each.item() for each in running if each is not None] == [5, 5, 9, 9, 12, 14]
    assert [each.total.item() for step in steps for each in step.received if each.node.name == "x"] == [5, 9, 12, 14]


def test_a_step_waits_until_it_is_looked_at() -> None:
    seen: list[str] = []

    @ts.primitive
    def told(x: Any) -> Any:
        return x

    told.defvjp(lambda x: (x, None), lambda g, _: (seen.append("pulled"), (g,))[1])
    x = ts.tensor(3.0)
    with ts.Grad() as g:
        y = told(x) * 2
    steps = g.steps(y, x)
    assert len(steps) == 2
    assert not seen
    first = steps[0]
    assert first.cotangent.item() == 1
    second = steps[1]
    assert second.cotangent.item() == 2
    assert not seen
    assert second.received[0].value.item() == 2
    assert seen == ["pulled"]
    assert repr(steps)
    assert seen == ["pulled"]


def test_the_cotangent_is_changed_while_it_runs() -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        h = x.exp()
        y = (h * 3).sum()
    steps = g.steps(y, x)
    for step in steps:
        if step.node.name == "h":
            step.cotangent = step.cotangent * torch.tensor([0.0, 10.0])
    torch.testing.assert_close(steps.gradients.data, torch.tensor([0.0, 30.0]) * x.data.exp())
    again = g.steps(y, x)
    assert again[-1].received
    with pytest.raises(ts.ArgumentError, match=r"step 2 has run already: .*steps.changed\(2, value\)"):
        again[2].cotangent = [1.0, 1.0]
    changed = again.changed(1, [1.0, 1.0]).changed(2, [0.0, 2.0])
    torch.testing.assert_close(changed.gradients.data, torch.tensor([0.0, 2.0]) * x.data.exp())
    with pytest.raises(ts.ShapeError, match=r"the cotangent has shape \(3,\)"):
        g.steps(y, x)[1].cotangent = [1.0, 2.0, 3.0]
    with pytest.raises(IndexError, match="there are 3 steps"):
        steps[3]


def test_what_was_changed_before_stays_changed() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = (x * 3) * 5
    steps = g.steps(y, x)
    steps[0].cotangent = 10.0
    assert steps.gradients.item() == 150
    assert steps.changed(1, 1.0).gradients.item() == 3
    assert steps.changed(0, 1.0).gradients.item() == 15


def test_a_target_that_is_a_source() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = x * x
    steps = g.steps(y, [x, y])
    assert [each.item() for each in steps.gradients] == [4, 1]
    assert {name: each.item() for name, each in steps[-1].gradients.items()} == {"x": 4, "y": 1}
    steps = g.steps(y, y)
    assert len(steps) == 0
    assert steps.gradients.item() == 1
    assert repr(steps).startswith("no steps: the target is the source itself, or does not depend on it")


def test_an_intermediate_value_and_one_that_is_not_reached() -> None:
    x, unused = ts.tensor(2.0), ts.tensor(1.0)
    with ts.Grad() as g:
        h = x.sin()
        y = h * h
    steps = g.steps(y, [h, unused])
    assert [step.node.name for step in steps] == ["y"]
    assert steps[-1].gradients["unused"] is None
    close(steps.gradients, g.gradient(y, [h, unused]))
    assert repr(steps).splitlines()[-1] == "gradient by unused: nothing arrived"


def test_rules_that_send_nothing() -> None:
    x = ts.tensor([1.0, 2.0])

    @ts.primitive
    def stopped(x: Any) -> Any:
        return x * 1.0

    stopped.defvjp(lambda x: (x * 1.0, None), lambda g, _: (None,))
    with ts.Grad() as g:
        h = x * 2
        y = stopped(h).sum()
    steps = g.steps(y, x)
    assert steps[-1].cotangent is None
    assert "nothing flows here" in repr(steps)
    close(steps.gradients, g.gradient(y, x))
    with pytest.raises(ts.ArgumentError, match="nothing flows to mul"):
        g.steps(y, x)[2].cotangent = [1.0, 1.0]


def test_several_outputs_and_complex_values() -> None:
    matrix = ts.tensor(rand(3, 3))
    with ts.Grad() as g:
        q, r = torch.linalg.qr(matrix)
        low, high = q.split([1, 2])
        y = low.sum() * r.sum() + high.sum()
    steps = g.steps(y, matrix)
    assert "linalg.qr" in repr(steps)
    close(steps.gradients, g.gradient(y, matrix))
    json.dumps(steps.trace())
    z = ts.tensor(1.0 + 2.0j)
    with ts.Grad() as g:
        y = (z * z * 1j).real
    steps = g.steps(y, z)
    close(steps[-1].gradients["z"], g.gradient(y, z))
    close(steps.gradients, g.gradient(y, z))
    steps = g.steps(y, z).changed(1, 2.0 + 1.0j)
    assert steps[1].cotangent.item() == 2 + 1j


def test_higher_orders() -> None:
    """Walked through under an open context, the pass is recorded: the gradients can be differentiated, and drawn."""
    x = ts.tensor(2.0)
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = (x * x).exp()
        steps = g1.steps(y, x)
        dx = steps.gradients
    close(dx, g1.gradient(y, x))
    assert g2.gradient(dx, x).item() == pytest.approx(18 * math.exp(4))
    second = g2.steps(dx, x)
    close(second.gradients, g2.gradient(dx, x))
    assert {"whole", "context", "gradient"} <= {each["kind"] for each in kinds(second.trace()["groups"])}


def kinds(group: dict[str, Any]) -> list[dict[str, Any]]:
    return [group, *(each for part in group["children"] if isinstance(part, dict) for each in kinds(part))]


def test_between_two_steps_nothing_is_open() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as outer:
        with ts.Grad() as g:
            y = x * x * x
        steps = g.steps(y, x)
    for step in steps:
        assert not recording.get().entries
        assert torch.is_grad_enabled()
        own = torch.tensor(1.0, requires_grad=True)
        (own * 2).backward()  # torch's own autograd works between two steps
        assert step.cotangent is not None
    assert outer.gradient(steps.gradients, x).item() == 12


def test_errors_on_the_way_come_again() -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        h = x.exp()
        y = (h * h).sum()
    h.data.mul_(2)
    steps = g.steps(y, x)
    with pytest.raises(ts.MutationError):
        steps[-1].gradients
    with pytest.raises(ts.ContextError, match=r"the pass ended at step 1 with MutationError: .*; ask for it again"):
        steps[-1].gradients
    assert steps[0].cotangent.item() == 1


def test_it_costs_nothing_when_it_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient runs through the loop without any of this module."""
    monkeypatch.setattr(walk, "_looking_on", None)
    monkeypatch.setattr(walk, "Walk", None)
    g, y, sources = layer()
    assert len(g.gradient(y, sources)) == 3


def test_wrong_arguments() -> None:
    g, y, sources = layer()
    with pytest.raises(ts.NotRecordedError):
        g.steps(sources["x"] * 2, sources)
    with pytest.raises(ts.ArgumentError):
        g.steps(y, [1.0])
    with pytest.raises(ts.ShapeError):
        g.steps(y, sources, cotangent=[1.0, 2.0])


def test_the_trace_is_small_and_complete() -> None:
    x = ts.tensor(torch.ones(1000, 100))
    with ts.Grad() as g:
        y = (x * 3).sum()
    steps = g.steps(y, x)
    trace = steps.trace()
    assert len(json.dumps(trace)) < 10_000
    assert trace["editable"] is True
    assert [step["node"] for step in trace["steps"]] == [3, 2]
    assert trace["steps"][0]["cotangent"] == {"text": "1", "shape": "()", "plain": "1"}
    assert "plain" not in trace["steps"][1]["cotangent"]
    assert trace["steps"][1]["received"][0] == {
        "operand": "input", "node": 1, "formula": "g · other", "symbols": "∂y/∂v2 · 3", "numbers": None,
        "value": {"text": "(1000, 100), all 3", "shape": "(1000, 100)"}, "before": None, "fitted": "",
        "sum": None,
    }  # fmt: skip
    assert trace["title"] == "gradient of y by x"
    assert trace["sources"] == [{"label": "x", "node": 1}]


def test_many_steps_are_printed_in_part() -> None:
    x = ts.tensor(1.0)
    with ts.Grad() as g:
        y = x
        for _ in range(3000):
            y = y * 1.001
    text = repr(g.steps(y, x))
    assert "... and 2,960 more: steps[30] to steps[2989]" in text
    assert len(text.splitlines()) == 82


def test_nothing_is_kept_alive() -> None:
    """Whether the pass has ended or stands still, it is freed with the Steps: the fixture looks, too."""
    g, y, sources = layer()
    steps = g.steps(y, sources)
    steps[2].cotangent
    del steps, g, y, sources
    assert not [each for each in gc.get_objects() if type(each) is Node]


def test_sources_of_one_name_are_kept_apart() -> None:
    class Layer:
        def __init__(self, value: float) -> None:
            self.w = ts.tensor(value)

        def __call__(self, x: Any) -> Any:
            return x * self.w

    def run() -> tuple[ts.Grad, Any, list[Layer]]:
        layers = [Layer(2.0), Layer(3.0)]
        with ts.Grad() as g:
            y = ts.tensor(1.0)
            for layer in layers:
                y = layer(y)
        return g, y, layers

    g, y, layers = run()
    steps = g.steps(y, [layer.w for layer in layers])
    assert [each.item() for each in steps[-1].gradients.values()] == [3, 2]
    assert [each.item() for each in steps.gradients] == [3, 2]


def test_casts_are_called_casts_and_complex_formulas_have_no_numbers() -> None:
    a, b = ts.tensor([1.0, 2.0]), ts.tensor([1.0, 2.0], dtype=ts.float64)
    with ts.Grad() as g:
        y = (a * b).sum()
    text = repr(g.steps(y, [a, b]))
    assert "turned from float64 into float32" in text
    assert "summed" not in text
    z, w = ts.tensor(1.0 + 2.0j), ts.tensor(3.0 - 1.0j)
    with ts.Grad() as g:
        h = z * w
    received = g.steps(h, [z, w], cotangent=1.0 + 1.0j)[0].received
    assert [each.numbers for each in received] == [None, None]
    assert received[0].value.item() == g.gradient(h, z, cotangent=1.0 + 1.0j).item()


def test_what_is_changed_stays_where_it_was_asked_for() -> None:
    params = {"w": ts.tensor(2.0)}
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = params["w"] * params["w"]
        steps = g1.steps(y, params)

    def elsewhere() -> Any:
        return steps.changed(0, 3.0)

    again = elsewhere()
    assert again.trace()["title"] == "gradient of y by params['w']"
    assert g2.gradient(again.gradients["w"], params["w"]).item() == 6  # it is recorded as the first was


def test_slices() -> None:
    g, y, sources = layer()
    steps = g.steps(y, sources)
    assert [step.number for step in steps[1:3]] == [1, 2]
    assert steps[-1].number == len(steps) - 1
    with pytest.raises(TypeError):
        steps["a"]
