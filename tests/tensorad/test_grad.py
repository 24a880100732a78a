"""Contexts: nesting, gradients inside and after, sources of every kind, cotangents, what is unconnected, what leaks."""

import asyncio
import collections
import dataclasses
import gc
import threading
import warnings
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import tensorad as ts
from tensorad.node import recording


def cube(value: float = 6.0) -> tuple[ts.Tensor, ts.Tensor, ts.Grad]:
    x = ts.tensor(value)
    with ts.Grad() as g:
        y = x**3
    return x, y, g


def test_the_example_of_the_design() -> None:
    x = ts.tensor(6.0)
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = x**3
            dx = g1.gradient(y, [x])
        d2x = g2.gradient(dx, [x])
    assert repr((y, dx, d2x)) == "(Tensor(216.), Tensor(108.), Tensor(36.))"


def test_after_the_blocks_too() -> None:
    x = ts.tensor(6.0)
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = x**3
        dx = g1.gradient(y, [x])
    d2x = g2.gradient(dx, [x])
    assert (dx.item(), d2x.item()) == (108, 36)


def test_a_gradient_inside_its_own_block_is_recorded_by_it_too() -> None:
    x = ts.tensor(6.0)
    with ts.Grad() as g:
        dx = g.gradient(x**3, x)
        d2x = g.gradient(dx, x)
    assert d2x.item() == 36


@pytest.mark.parametrize("order", [1, 2, 3, 6, 20])
def test_orders(order: int) -> None:
    x = ts.tensor(0.5, dtype=ts.float64)
    contexts = [ts.Grad() for _ in range(order)]
    for context in contexts:
        context.__enter__()
    y = x.exp()
    for context in reversed(contexts):
        context.__exit__(None, None, None)
        y = context.gradient(y, x)
    assert y.item() == pytest.approx(0.5**0 * 2.718281828459045**0.5)


def test_nesting_does_not_confuse_levels() -> None:
    """The program in grad.py: for the inner context, y is a leaf."""
    x = ts.tensor(3.0)
    with ts.Grad() as outer:
        y = x * x
        with ts.Grad() as inner:
            z = x * y
            dz = inner.gradient(z, x)
        d2z = outer.gradient(dz, x)
    assert (dz.item(), d2z.item()) == (9, 6)


def test_perturbation_confusion() -> None:
    """d/dx (x * d/dy (x + y)) is 1, not 2: the classic counter-example."""
    x = ts.tensor(1.0)
    with ts.Grad() as outer:
        y = ts.tensor(1.0)
        with ts.Grad() as inner:
            s = x + y
        z = x * inner.gradient(s, y)
    assert outer.gradient(z, x).item() == 1


def test_a_value_made_before_the_context_opened_is_a_leaf() -> None:
    x = ts.tensor(3.0)
    with ts.Grad() as outer:
        h = x * x
        with ts.Grad() as inner:
            y = h * 2
    assert inner.gradient(y, h).item() == 2
    assert outer.gradient(y, x).item() == 12


def test_many_calls_are_equal() -> None:
    x, y, g = cube()
    assert [g.gradient(y, x).item() for _ in range(3)] == [108, 108, 108]


def test_many_targets() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y, z = x * x, x * 5
    assert (g.gradient(y, x).item(), g.gradient(z, x).item()) == (4, 5)


def test_sources_of_every_kind() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        h = x * x
        y = h * h * x
    leaf, intermediate, target = g.gradient(y, (x, h, y))
    assert (leaf.item(), intermediate.item(), target.item()) == (80, 16, 1)
    assert [each.item() for each in g.gradient(y, [x, x])] == [80, 80]
    assert g.gradient(x, x, unconnected="raise").item() == 1


def test_an_intermediate_source_does_not_hide_what_is_behind_it() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        h = x * 3
        y = h * x
    dh, dx = g.gradient(y, (h, x))
    assert (dh.item(), dx.item()) == (2, 12)


Point = collections.namedtuple("Point", "a b")


@dataclasses.dataclass
class Layer:
    weight: Any
    bias: Any


def test_nests() -> None:
    w, b = ts.tensor(2.0), ts.tensor(3.0)
    with ts.Grad() as g:
        y = w * w * b
    assert g.gradient(y, {"w": w, "b": [b]})["b"][0].item() == 4
    assert g.gradient(y, {"w": w})["w"].item() == 12
    assert isinstance(g.gradient(y, Point(w, b)), Point)
    layer = g.gradient(y, [Layer(w, b), ()])
    assert (layer[0].weight.item(), layer[0].bias.item(), layer[1]) == (12, 4, ())
    assert g.gradient(y, []) == []


def test_one_source_in_a_list_gives_the_bare_gradient() -> None:
    x, y, g = cube()
    assert isinstance(g.gradient(y, [x]), ts.Tensor)
    assert isinstance(g.gradient(y, (x,)), ts.Tensor)
    assert isinstance(g.gradient(y, [[x]]), list)


def test_a_target_that_is_no_scalar_is_summed() -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        y = x * x
    assert g.gradient(y, x).tolist() == [2, 4]
    assert g.gradient(y, x, cotangent=[1.0, 10.0]).tolist() == [2, 40]
    assert g.gradient(y, x, cotangent=ts.tensor([1, 10])).tolist() == [2, 40]
    assert g.gradient(y, x, cotangent=torch.ones(2)).tolist() == [2, 4]


def test_a_cotangent_that_is_recorded_is_differentiated_too() -> None:
    x, v = ts.tensor([1.0, 2.0]), ts.tensor([3.0, 4.0])
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = x * x
        dx = g1.gradient(y, x, cotangent=v)
    assert g2.gradient(dx, v).tolist() == [2, 4]


@pytest.mark.parametrize("cotangent", [1.0, [1.0], [[1.0, 2.0]], [1.0, 2.0, 3.0]])
def test_a_cotangent_of_another_shape(cotangent: Any) -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        y = x * x
    with pytest.raises(ts.ShapeError, match="shape"):
        g.gradient(y, x, cotangent=cotangent)


def test_gradients_share_no_memory() -> None:
    a, b = ts.tensor([1.0, 2.0]), ts.tensor([3.0, 4.0])
    v = ts.tensor([1.0, 1.0])
    with ts.Grad() as g:
        y = a + b
    da, db = g.gradient(y, (a, b), cotangent=v)
    da.data.add_(5)
    assert (db.tolist(), v.tolist(), g.gradient(y, a).tolist()) == ([1, 1], [1, 1], [1, 1])


class TestUnconnected:
    def test_zeros_of_the_right_kind(self) -> None:
        x, other = ts.tensor(2.0), ts.tensor([[1.0, 2.0]], dtype=ts.float64)
        with ts.Grad() as g:
            y = x * x
        zero = g.gradient(y, other)
        assert (zero.shape, zero.dtype, zero.tolist()) == ((1, 2), torch.float64, [[0, 0]])
        assert g.gradient(y, (x, other), unconnected="zero")[1].tolist() == [[0, 0]]
        assert g.gradient(y, {"a": other}, unconnected="none") == {"a": None}

    def test_raise(self) -> None:
        x, other = ts.tensor(2.0), ts.tensor(1.0)
        with ts.Grad() as g:
            y = x * x
        with pytest.raises(ts.UnconnectedError, match="does not depend"):
            g.gradient(y, other, unconnected="raise")

    def test_an_unknown_word(self) -> None:
        x, y, g = cube()
        with pytest.raises(ts.ArgumentError, match="'zeros'"):
            g.gradient(y, x, unconnected="zeros")  # type: ignore[arg-type]

    def test_the_derivative_of_a_constant_is_zero_at_every_order(self) -> None:
        x = ts.tensor(2.0)
        with ts.Grad() as g4, ts.Grad() as g3, ts.Grad() as g2:
            with ts.Grad() as g1:
                y = x * 3 + 1
            dx = g1.gradient(y, x)
            d2x = g2.gradient(dx, x)
            d3x = g3.gradient(d2x, x)
        assert [each.item() for each in (dx, d2x, d3x, g4.gradient(d3x, x))] == [3, 0, 0, 0]

    def test_a_target_made_before_the_context_opened(self) -> None:
        x = ts.tensor(2.0)
        with ts.Grad() as outer:
            y = x * x
            with ts.Grad() as inner:
                pass
        with pytest.raises(ts.NotRecordedError, match=r"made before inner \(opened at test_grad.py:\d+"):
            inner.gradient(y, x)
        assert outer.gradient(y, x).item() == 4

    def test_a_target_made_after_the_context_closed(self) -> None:
        """The commonest mistake: the inner gradient taken outside of the outer block."""
        x = ts.tensor(2.0)
        with ts.Grad() as g2, ts.Grad() as g1:
            y = x * x
        dx = g1.gradient(y, x)
        with pytest.raises(ts.NotRecordedError, match=r"after the Grad .* closed.*indent"):
            g2.gradient(dx, x)
        assert g2.gradient(dx, x, unconnected="zero").item() == 0

    def test_a_target_recorded_by_nobody(self) -> None:
        with ts.Grad() as g:
            y = ts.tensor(2.0)
        with pytest.raises(ts.NotRecordedError, match="recorded by no context"):
            g.gradient(y, ts.tensor(1.0))

    def test_a_path_that_is_cut_warns_and_names_the_cut(self) -> None:
        x = ts.tensor(2.0)
        with ts.Grad():
            h = x * x
            with ts.Grad() as g:
                y = h * 3
        with pytest.warns(
            ts.UnconnectedWarning, match=r"through mul at test_grad.py:\d+ \('h = x \* x'\).*before g opened"
        ):
            assert g.gradient(y, x).item() == 0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert g.gradient(y, x, unconnected="zero").item() == 0

    def test_a_source_that_was_replaced_warns(self) -> None:
        w = ts.tensor(2.0)
        with ts.Grad() as g:
            y = w * w
        w -= 0.5
        with pytest.warns(ts.UnconnectedWarning, match="given a new value"):
            assert g.gradient(y, w).item() == 0


class TestWrongArguments:
    def test_a_context_never_entered(self) -> None:
        x, y, _ = cube()
        with pytest.raises(ts.ContextError, match="never entered"):
            ts.Grad().gradient(y, x)

    def test_a_context_inside_of_itself(self) -> None:
        with ts.Grad() as g, pytest.raises(ts.ContextError, match="open already"), g:
            pass

    @pytest.mark.parametrize("source", [1.0, None, torch.ones(()), "x", [torch.ones(())]])
    def test_a_foreign_source(self, source: Any) -> None:
        _, y, g = cube()
        with pytest.raises(ts.ArgumentError, match=r"source.*not a tensorad.Tensor.*tensorad.tensor\("):
            g.gradient(y, source)

    def test_a_foreign_source_in_a_nest_is_located(self) -> None:
        x, y, g = cube()
        with pytest.raises(ts.ArgumentError, match=r"source\['w'\]\[1\] is not a tensorad.Tensor but of type float"):
            g.gradient(y, {"w": [x, 1.0]})

    def test_a_foreign_target(self) -> None:
        x, y, g = cube()
        with pytest.raises(ts.ArgumentError, match=r"target is not a tensorad.Tensor but of type list"):
            g.gradient([y], x)  # type: ignore[arg-type]

    def test_integers(self) -> None:
        x, y, g = cube()
        with pytest.raises(ts.NotDifferentiableError, match=r"torch.int64.*dtype=tensorad.float32"):
            g.gradient(y, ts.tensor(3))
        with pytest.raises(TypeError, match=r"target has dtype torch.bool"):
            g.gradient(y > 3, x)


def test_entering_again_extends() -> None:
    x = ts.tensor(2.0)
    g = ts.Grad()
    with g:
        y = x * x
    h = y * 5  # not recorded
    with g:
        z = y * x
        w = h * x
    assert g.gradient(z, x).item() == 12
    assert g.gradient(w, x).item() == 20


def test_stop_gradient() -> None:
    x = ts.tensor(3.0)
    with ts.Grad() as g:
        y = x * ts.stop_gradient(x)
        with ts.stop_gradient():
            z = x * x
            with ts.Grad() as inner:
                w = x * x
        v = z * x
    assert ts.stop_gradient(x).data.data_ptr() == x.data.data_ptr()
    assert (g.gradient(y, x).item(), g.gradient(v, x).item(), inner.gradient(w, x).item()) == (3, 9, 6)
    assert [each.item() for each in ts.stop_gradient([x, y])] == [3, 9]
    with pytest.raises(ts.NotRecordedError):
        g.gradient(z, x)


class TestNothingIsLeftOpen:
    def test_after_an_exception(self) -> None:
        for error in (ValueError, KeyboardInterrupt, SystemExit):
            with pytest.raises(error), ts.Grad(), ts.Grad(), ts.stop_gradient():
                raise error
            assert not recording.get().entries

    def test_after_an_error_in_an_op_and_in_a_gradient(self) -> None:
        x = ts.tensor([1.0, 2.0])
        with ts.Grad() as g:
            with pytest.raises(RuntimeError, match="size of tensor"):
                x + ts.tensor([1.0, 2.0, 3.0])
            y = x * x
            x.data.add_(1)
            with pytest.raises(ts.MutationError):
                g.gradient(y, x)
            assert recording.get().site is None
        assert not recording.get().entries

    def test_after_a_generator_closed_half_way(self) -> None:
        def generate(x: ts.Tensor) -> Any:
            with ts.Grad() as g:
                y = x * x
                yield g.gradient(y, x)
                yield None

        x = ts.tensor(2.0)
        steps = generate(x)
        assert next(steps).item() == 4
        with ts.Grad() as late:
            steps.close()  # leaves its context after a later one was entered
            y = x * 5
        assert not recording.get().entries
        assert late.gradient(y, x).item() == 5

    def test_stop_gradient_left_late(self) -> None:
        def generate() -> Any:
            with ts.stop_gradient():
                yield

        steps = generate()
        next(steps)
        with ts.Grad() as g:
            steps.close()
            x = ts.tensor(2.0)
            y = x * x
        assert g.gradient(y, x).item() == 4


def test_a_target_that_is_a_source_but_not_recorded_is_a_leaf() -> None:
    x = ts.tensor(2.0)
    with ts.Grad():
        y = x * x
        with ts.Grad() as other:
            pass
    with pytest.warns(ts.UnconnectedWarning, match="made before other opened"):
        dy, dx = other.gradient(y, [y, x])
    assert (dy.item(), dx.item()) == (1, 0)


def test_a_source_replaced_inside_the_block_warns() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = x * x
        x += 1
    with pytest.warns(ts.UnconnectedWarning, match="given a new value"):
        assert g.gradient(y, [x]).item() == 0


def test_threads_record_for_themselves() -> None:
    x = ts.tensor(3.0)
    results: dict[str, Any] = {}

    def other() -> None:
        results["open"] = recording.get().entries
        results["y"] = x * x
        with ts.Grad() as mine:
            results["z"] = x * x
        results["dz"] = mine.gradient(results["z"], x).item()

    with ts.Grad() as g:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        y = x * 2
    assert results["open"] == ()
    assert results["dz"] == 6
    assert g.gradient(y, x).item() == 2
    for name in "yz":
        with pytest.raises(ts.NotRecordedError):
            g.gradient(results[name], x)


def test_many_threads_on_one_weight() -> None:
    w = ts.tensor(2.0, dtype=ts.float64)
    found: list[float] = []

    def work(number: int) -> None:
        for _ in range(20):
            with ts.Grad() as g:
                y = w
                for _ in range(10):
                    y = y * w + number
            expected = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
            z = expected
            for _ in range(10):
                z = z * expected + number
            z.backward()
            found.append(abs(g.gradient(y, w).item() - expected.grad.item()))  # type: ignore[union-attr]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert max(found) == 0


def test_interleaved_tasks() -> None:
    async def work(x: ts.Tensor, power: int) -> float:
        with ts.Grad() as g:
            y = x
            for _ in range(power - 1):
                await asyncio.sleep(0)
                y = y * x
            await asyncio.sleep(0)
        return g.gradient(y, x).item()

    async def main() -> list[float]:
        x = ts.tensor(2.0)
        return await asyncio.gather(*(work(x, power) for power in range(1, 6)))

    assert asyncio.run(main()) == [power * 2.0 ** (power - 1) for power in range(1, 6)]
    gc.collect()  # asyncio leaves cycles of its own


def test_tasks_inside_a_context_are_recorded_by_it() -> None:
    async def main() -> float:
        x = ts.tensor(2.0)

        async def times(factor: float) -> ts.Tensor:
            await asyncio.sleep(0)
            return x * factor

        with ts.Grad() as g:
            a, b = await asyncio.gather(times(2), times(3))
            y = a * b
        return g.gradient(y, x).item()

    assert asyncio.run(main()) == 24
    gc.collect()  # asyncio leaves cycles of its own


def test_under_torch_modes() -> None:
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            x = ts.tensor([6.0])
            with ts.Grad() as g2:
                with ts.Grad() as g1:
                    y = x**3
                dx = g1.gradient(y, x)
            assert (dx.item(), g2.gradient(dx, x).item()) == (108, 36)


def test_no_grad_inside_a_context_stops_the_recording() -> None:
    x = ts.tensor(3.0)
    with ts.Grad() as g:
        with torch.no_grad():
            constant = x * x
            with ts.stop_gradient():
                pass
        y = constant * x
        with torch.inference_mode():
            other = y * x
        with torch.no_grad(), torch.enable_grad():
            z = y * x
    assert g.gradient(y, x).item() == 9
    assert g.gradient(z, x).item() == 54
    with pytest.raises(ts.NotRecordedError, match="no_grad"):
        g.gradient(other, x)


def test_torch_autograd_is_never_entered() -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    x = ts.tensor(parameter)
    with ts.Grad() as g:
        y = x * parameter + parameter
        z = torch.mul(parameter, x)
    gradient = g.gradient(y, x)
    for tensor in (x, y, z, gradient):
        assert not tensor.data.requires_grad
        assert tensor.data.grad_fn is None
    assert gradient.tolist() == [1, 2]


class CallsSeen(TorchDispatchMode):
    """Notes what reaches torch's own dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(function))
        return function(*args, **kwargs or {})


def test_each_op_runs_torch_once() -> None:
    with CallsSeen():
        torch.ones(1)  # the first use imports half of torch, which leaves frames in cycles
    x = ts.tensor([1.0, 2.0])
    with ts.Grad(), ts.Grad(), CallsSeen() as calls:
        torch.sin(x * 2).exp()
    assert calls.seen == ["aten.mul.Tensor", "aten.sin.default", "aten.exp.default"]
    gc.collect()  # dispatch modes leave cycles of their own


def test_one_stop_gradient_is_not_entered_twice() -> None:
    stop = ts.stop_gradient()
    with stop, pytest.raises(ts.ContextError, match="open already"), stop:
        pass
    assert not recording.get().entries


def test_a_named_integer_takes_no_part() -> None:
    n, x = ts.tensor([1, 2], name="n"), ts.tensor(1.0)
    with ts.Grad() as g:
        y = n * 2.0
    assert (n.name, n.node, y.node) == ("n", None, None)
    with pytest.raises(ts.NotRecordedError):
        g.gradient(y, x)


def test_gradients_under_vmap() -> None:
    def slope(value: torch.Tensor) -> torch.Tensor:
        x = ts.Tensor(value)
        with ts.Grad() as g:
            y = (x * x).sum()
        return g.gradient(y, x).data

    assert torch.vmap(slope)(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist() == [[2, 4], [6, 8]]


def test_a_cotangent_that_fits_is_taken_as_it_is() -> None:
    x, seed = ts.tensor([1.0, 2.0]), ts.tensor([3.0, 4.0])
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = x**2
        dx = g1.gradient(y, x, cotangent=seed)
    assert "to" not in [node.op for node in g2.graph(dx).nodes]
    assert g2.gradient(dx, seed).tolist() == [2.0, 4.0]
