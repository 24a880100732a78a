"""Checkpoints compute the same derivatives, of every order and in every mode, and keep less."""

import gc
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracle import rand

import tensorad as ts
from tensorad.node import Node

WEIGHT = rand(3, 3, seed=5)


def block(x: Any) -> Any:
    return torch.tanh(x @ WEIGHT) * x.sum() + x


def derivatives(f: Callable[..., Any], *arguments: Any, order: int) -> list[Any]:
    """Of the sum of `f`, by all arguments, each order of the sum of sines of the one below."""
    tensors = {str(place): ts.tensor(each) for place, each in enumerate(arguments)}
    contexts = [ts.Grad() for _ in range(order)]
    for context in contexts:
        context.__enter__()
    level: Any = f(*tensors.values()).sum()
    found = []
    for context in reversed(contexts):
        context.__exit__()
        found.append(context.gradient(level, tensors))
        level = sum((each.sin().sum() for each in found[-1].values()), ts.tensor(0.0))
    return [each.data for level in found for each in level.values()]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_derivatives_are_the_same(order: int, depth: int) -> None:
    def deep(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for _ in range(depth):
                x = step(x)
            return x

        return run

    x = rand(2, 3)
    for one, other in zip(
        derivatives(deep(ts.checkpoint(block)), x, order=order), derivatives(deep(block), x, order=order), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_nests_keywords_constants_and_several_outputs() -> None:
    def f(first: Any, *, other: Any, power: int) -> Any:
        return {"a": first["x"] ** power * other, "b": [first["x"].sum(), power], "c": first["x"] > 0}

    def total(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(x: Any, other: Any) -> Any:
            out = step({"x": x}, other=other, power=3)
            assert out["b"][1] == 3
            return out["a"].sum() * out["b"][0] + torch.where(out["c"], x, 0.0).sum()

        return run

    arguments = rand(3), rand(3, seed=1)
    expected = derivatives(total(f), *arguments, order=2)
    for one, other in zip(derivatives(total(ts.checkpoint(f)), *arguments, order=2), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_reached_through_a_closure_is_a_source_too() -> None:
    layer, w, x = torch.nn.Linear(3, 3), ts.tensor(rand(3, dtype=torch.float32)), ts.tensor([1.0, 2.0, 3.0])
    f = lambda x: torch.sin(layer(x) * w)  # noqa: E731
    found = []
    for step in (f, ts.checkpoint(f)):
        with ts.Grad() as g:
            y = step(step(x)).sum()
        found.append(g.gradient(y, {"w": w, "x": x, "weight": layer.weight, "bias": layer.bias}))
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name].data, expected.data)
        assert expected.data.abs().sum() > 0


def test_random_numbers_are_the_same_in_both_runs_and_go_on_as_without() -> None:
    f = lambda x: torch.nn.functional.dropout(x * x, 0.5)  # noqa: E731
    found = []
    for step in (f, ts.checkpoint(f)):
        torch.manual_seed(1)
        x = ts.tensor(rand(50))
        with ts.Grad() as g:
            y = step(step(x)).sum()
        found.append([g.gradient(y, x).data, torch.rand(3)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_in_every_mode_and_in_jacobians() -> None:
    x, t = ts.tensor(rand(3)), ts.tensor(rand(3, seed=1))
    f = ts.checkpoint(block)
    for transform in (
        lambda f: ts.jvp(f, (x,), (t,))[1],
        lambda f: ts.vjp(f, x)[1](t)[0],
        lambda f: ts.jacobian(f, mode="reverse")(x),
        lambda f: ts.jacobian(f, mode="forward")(x),
        lambda f: ts.jacobian(ts.jacobian(f))(x),
        lambda f: ts.hessian(lambda x: f(x).sum())(x),
        lambda f: ts.hvp(lambda x: f(x).sum(), (x,), (t,)),
        lambda f: ts.linearize(f, x)[1](t),
        lambda f: ts.jvp(ts.grad(lambda x: f(x).sum()), (x,), (t,))[1],
        lambda f: ts.grad(lambda x: ts.jvp(f, (x,), (t,))[1].sum())(x),
    ):
        torch.testing.assert_close(transform(f).data, transform(block).data)


def kept(step: Callable[[Any], Any]) -> int:
    """The peak of torch's memory in a deep forward and backward pass, in copies of the argument."""

    def run() -> None:
        x = ts.tensor(torch.rand(4096))
        with ts.Grad() as g:
            y = x
            for _ in range(12):
                y = step(y)
            y = y.sum()
        g.gradient(y, x)

    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        run()
    profiler: Any = profile.profiler
    events = sorted(profiler.kineto_results.events(), key=lambda event: event.start_ns())
    return max(itertools.accumulate(each.nbytes() for each in events if each.name() == "[memory]")) // (4 * 4096)


def test_it_saves_the_memory_that_it_promises() -> None:
    def steps(x: Any) -> Any:
        for _ in range(12):
            x = x.sin()
        return x

    without, within = kept(steps), kept(ts.checkpoint(steps))
    assert without >= 144
    assert within <= 12 + 12 + 10  # what goes from each to the next, one block, and a few cotangents


def test_no_node_of_the_inside_is_kept() -> None:
    x = ts.tensor(rand(3))
    with ts.Grad():
        before = sum(type(each) is Node for each in gc.get_objects())
        y = ts.checkpoint(lambda x: x.sin().cos().exp().sin())(x)
        # The checkpoint and its output; and the leaf.
        assert sum(type(each) is Node for each in gc.get_objects()) - before == 3
    assert y.node is not None


def test_outside_of_contexts_it_just_runs() -> None:
    calls = []
    f = ts.checkpoint(lambda x: calls.append(x) or x * 2)
    assert f(ts.tensor(2.0)).item() == 4
    with ts.Grad() as g, torch.no_grad():
        y = f(ts.tensor(2.0))
    assert len(calls) == 2
    assert y.node is None
    assert g.gradient(y, y).item() == 1


def test_a_change_in_between_is_noticed() -> None:
    x, w = ts.tensor([1.0, 2.0]), ts.tensor(3.0)
    layer = torch.nn.Linear(2, 2)
    with ts.Grad() as g:
        y = ts.checkpoint(lambda x: (x * w).sin())(x).sum()
        z = ts.checkpoint(lambda x: layer(x).sin())(x).sum()
    w += 1.0
    with pytest.raises(ts.MutationError, match="uses was changed before it ran again"):
        g.gradient(y, x)
    with torch.no_grad():
        layer.weight.mul_(1.5)
    with pytest.raises(ts.MutationError, match="uses was changed before it ran again"):
        g.gradient(z, x)
    with ts.Grad() as g:
        y = ts.checkpoint(lambda x: x.sin())(x).sum()
    x.data.zero_()
    with pytest.raises(ts.MutationError, match=r"checkpoint saved at test_checkpoint\.py"):
        g.gradient(y, x)


def test_a_change_that_the_value_does_not_show_is_noticed() -> None:
    """Of a branch that starts at zero, and of what is normalized."""
    a, b, x = ts.tensor(rand(2, 3)), ts.tensor(torch.zeros(3, 2).double()), ts.tensor(rand(3, seed=1))
    layer = torch.nn.Linear(3, 4).double()
    with ts.Grad() as g:
        y = ts.checkpoint(lambda x: x + b @ (a @ x))(x).sum()
        z = ts.checkpoint(lambda x: layer(x).softmax(0))(x).square().sum()
    a.data.mul_(10)
    with pytest.raises(ts.MutationError):
        g.gradient(y, b)
    with torch.no_grad():
        layer.weight.add_(1)
    with pytest.raises(ts.MutationError):
        g.gradient(z, x)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, signs: x * signs.pop(),
        lambda x, signs: (x - x.flip(0)) * signs.pop(),
        lambda x, signs: x[torch.tensor([0, 2, 1] if signs.pop() > 0 else [0, 1, 2])] ** 2,
        lambda x, signs: torch.cat([x[:2] * signs.pop(), x[:1] * float("nan")]),
    ],
)
def test_a_second_run_that_does_something_else_is_noticed(f: Any) -> None:
    x = ts.tensor(rand(3))
    signs = [1.0, -1.0]
    with ts.Grad() as g:
        y = ts.checkpoint(lambda x: f(x, signs))(x).sum()
    with pytest.raises(ts.RuleError, match="something else when it ran again"):
        g.gradient(y, x)


def test_the_setting_is_that_of_the_first_run() -> None:
    x = ts.tensor([0.0, -1.0])
    with ts.override(torch.relu, input=lambda g, input: g * (input >= 0)), ts.Grad() as g:
        y = ts.checkpoint(torch.relu)(x).sum()
    assert g.gradient(y, x).tolist() == [1, 0]
    with ts.Grad() as g:
        y = ts.checkpoint(torch.relu)(x).sum()
    with ts.override(torch.relu, input=lambda g: g * 7):
        assert g.gradient(y, x).tolist() == [0, 0]


def test_a_masked_gradient_reaches_into_it() -> None:
    x = ts.tensor([0.0, 1.0])
    with ts.Grad() as g:
        y = ts.checkpoint(lambda x: torch.where(x > 0, torch.log(x), 0.0))(x).sum()
    assert g.gradient(y, x, masked=True).tolist() == [0, 1]


def test_what_is_handed_on_untouched() -> None:
    w = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        doubled, same = ts.checkpoint(lambda x: (x * 2, w))(ts.tensor([3.0, 4.0]))
        y = (doubled * same).sum()
    assert g.gradient(y, w).tolist() == [6, 8]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex64])
@pytest.mark.parametrize("size", [3e4, 1e-8])
def test_large_tensors_of_few_digits_raise_no_alarm(dtype: torch.dtype, size: float) -> None:
    x = ts.tensor(torch.full((70_000,), size).to(dtype))
    with ts.Grad() as g:
        y = ts.checkpoint(lambda x: x * 2)(x)
    assert g.gradient(y, x)[-1].item() == 2


def test_a_generator_of_ones_own_is_noticed() -> None:
    generator = torch.Generator().manual_seed(0)
    x = ts.tensor(rand(20))
    with ts.Grad() as g:
        y = ts.checkpoint(lambda x: x * torch.rand(20, generator=generator))(x).sum()
    with pytest.raises(ts.RuleError, match="generator of its own"):
        g.gradient(y, x)


def test_the_argument_keeps_its_value_where_the_function_changes_its_own() -> None:
    def f(x: Any) -> Any:
        x *= 2.0
        return x * x

    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        y = ts.checkpoint(f)(x)
        x += 1.0  # which the second run must not see
    assert g.gradient(y, x, unconnected="zero").tolist() == [0, 0]
    with ts.Grad() as g:
        y = ts.checkpoint(f)(x)
    assert g.gradient(y, x).tolist() == [16, 24]
    assert x.tolist() == [2, 3]


def test_an_error_inside_leaves_nothing_open() -> None:
    with ts.Grad(), pytest.raises(ZeroDivisionError):
        ts.checkpoint(lambda x: x / (1 // 0))(ts.tensor(1.0))


def test_only_what_is_asked_for_is_computed() -> None:
    x = ts.tensor(-2.0)
    with ts.Grad() as g:
        y = ts.checkpoint(lambda base, exponent: base**exponent)(x, 2.0)
    assert g.gradient(y, x).item() == -4
