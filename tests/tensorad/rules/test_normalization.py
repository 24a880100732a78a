"""Normalizations against torch.autograd: values, gradients and running statistics."""

from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, by_torch, rand
from torch.nn import functional

import tensorad as ts

ALONG_THE_LAST_DIMENSIONS = """
functional.layer_norm(x, (3,))              | 3 ; 2,3 ; 0,3
functional.layer_norm(x, (3,), y)           | 2,3 & 3
functional.layer_norm(x, [3], weight=y, bias=z)     | 2,3 & 3 & 3 ; 5,2,3 & 3 & 3 ; 0,3 & 3 & 3
functional.layer_norm(x, (2, 3), y, z, 0.1) | 4,2,3 & 2,3 & 2,3
torch.layer_norm(x, (3,), y, z)             | 2,3 & 3 & 3
functional.rms_norm(x, (3,))                | 3 ; 2,3 ; 0,3
functional.rms_norm(x, (3,), weight=y)      | 2,3 & 3 ; 5,2,3 & 3
functional.rms_norm(x, [2, 3], y, eps=0.1)  | 4,2,3 & 2,3
torch.rms_norm(x, (3,), y)                  | 2,3 & 3
"""


@pytest.mark.parametrize(("expression", "shapes"), cases(ALONG_THE_LAST_DIMENSIONS))
def test_along_the_last_dimensions(expression: str, shapes: Any) -> None:
    agree(
        bent(expression, "xyz"[: len(shapes)]),
        *(rand(*shape, low=-2, high=2, seed=n) for n, shape in enumerate(shapes)),
    )


@pytest.mark.parametrize(
    "expression",
    [
        "functional.layer_norm(x, (4,), bias=y)",
        "functional.batch_norm(x, None, None, bias=y, training=True)",
        "functional.batch_norm(x, m, v, bias=y)",
        "functional.group_norm(x, 2, bias=y)",
    ],
)
def test_a_bias_alone(expression: str) -> None:
    """Torch fails here, at the second order or at the first: it is given a weight of ones beside it."""
    statistics = {"m": rand(4), "v": rand(4, low=1, high=2)}
    with_ones = expression.replace("bias=y", "torch.ones_like(y), y" if "layer" in expression or "group" in expression
                                   else "weight=torch.ones_like(y), bias=y")  # fmt: skip
    inputs = [rand(3, 4, 4, seed=1), rand(4, seed=2)]
    ours = by_tensorad(bent(expression, "xy", **statistics), inputs, 2)[1]
    for mine, theirs in zip(ours, by_torch(bent(with_ones, "xy", **statistics), inputs, 2)[1], strict=True):
        torch.testing.assert_close(mine, theirs)


def test_layer_norm_to_third_order() -> None:
    """Against its definition: torch's own third derivative of its kernel is off by more than its size."""

    def kernel(x: Any, w: Any, b: Any) -> Any:
        return functional.layer_norm(x, (3,), w, b).sin()

    def definition(x: Any, w: Any, b: Any) -> Any:
        centred = x - x.mean(-1, keepdim=True)
        return (centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w + b).sin()

    inputs = [rand(2, 3), rand(3, seed=1), rand(3, seed=2)]
    for ours, right in zip(by_tensorad(kernel, inputs, 3)[1], by_torch(definition, inputs, 3)[1], strict=True):
        torch.testing.assert_close(ours, right, rtol=1e-9, atol=1e-11)


def test_rms_norm_to_third_order() -> None:
    agree(lambda x, w: functional.rms_norm(x, (3,), w).sin(), rand(2, 3), rand(3, seed=1), order=3)


def test_layer_norm_of_a_constant_row_is_flat_where_it_can_be() -> None:
    _, [[gradient]] = by_tensorad(lambda x: functional.layer_norm(x, (3,)), [torch.ones(1, 3, dtype=torch.float64)])
    assert gradient.isfinite().all()
    assert gradient.sum().item() == pytest.approx(0, abs=1e-6)


def test_half_precision_rms_norm_does_not_overflow() -> None:
    x = ts.tensor(torch.tensor([300.0, 400.0], dtype=torch.float16))
    with ts.Grad() as g:
        y = functional.rms_norm(x, (2,))
    expected = torch.autograd.functional.jacobian(
        lambda v: functional.rms_norm(v, (2,)).sum(), torch.tensor([300.0, 400.0])
    )
    torch.testing.assert_close(g.gradient(y, x).data.float(), expected, rtol=1e-2, atol=1e-5)


BATCHES = """
functional.batch_norm(x, m, v)                                  | 4,3 ; 4,3,5 ; 2,3,2,2 ; 2,3,2,1,2 ; 0,3,2
functional.batch_norm(x, m, v, y, z)                            | 4,3 & 3 & 3 ; 2,3,2,2 & 3 & 3 ; 1,3 & 3 & 3
functional.batch_norm(x, m, v, y, None, False, 0.1, 0.5)        | 4,3,5 & 3
functional.batch_norm(x, m, v, training=True)                   | 4,3 ; 4,3,5 ; 2,3,2,2 ; 0,3,2
functional.batch_norm(x, m, v, y, z, True, 0.7, 0.5)            | 4,3 & 3 & 3 ; 2,3,2,2 & 3 & 3 ; 2,3,2,1,2 & 3 & 3
functional.batch_norm(x, None, None, weight=y, training=True)   | 4,3 & 3 ; 1,3,5 & 3
functional.batch_norm(x, None, None, y, z, True, momentum=0.3, eps=0.1) | 4,3 & 3 & 3
torch.batch_norm(x, y, z, m, v, True, 0.1, 1e-5, True)          | 4,3 & 3 & 3
torch.batch_norm(x, y, z, m, v, False, 0.1, 1e-5, True)         | 4,3,2 & 3 & 3
torch.native_batch_norm(x, y, z, m, v, True, 0.1, 0.2)          | 4,3,2 & 3 & 3
torch.native_batch_norm(x, y, z, m, v, False, 0.1, 0.2)         | 4,3,2 & 3 & 3
torch._native_batch_norm_legit(x, y, z, m, v, True, 0.1, 0.2)   | 4,3,2 & 3 & 3
torch._native_batch_norm_legit(x, y, z, True, 0.1, 0.2)         | 4,3,2 & 3 & 3
torch._native_batch_norm_legit_no_training(x, y, z, m, v, 0.1, 0.2)     | 4,3,2 & 3 & 3
torch.ops.aten._batch_norm_with_update(x, y, z, m, v, 0.1, 0.2) | 4,3,2 & 3 & 3
functional.instance_norm(x)                                     | 2,3,4 ; 2,3,2,2 ; 2,3,2,1,2 ; 1,3,4
functional.instance_norm(x, None, None, y, z, True, 0.1, 0.5)   | 2,3,4 & 3 & 3 ; 2,3,2,2 & 3 & 3
functional.instance_norm(x, m, v, weight=y)                     | 2,3,4 & 3
functional.instance_norm(x, m, v, y, z, use_input_stats=False)  | 2,3,4 & 3 & 3
torch.instance_norm(x, y, z, m, v, True, 0.6, 0.2, True)        | 2,3,4 & 3 & 3
functional.group_norm(x, 2)                                     | 3,4 ; 3,4,5 ; 3,4,2,2 ; 0,4,2
functional.group_norm(x, 2, y, z)                               | 3,4 & 4 & 4 ; 3,4,2,2 & 4 & 4 ; 3,4,2,1,2 & 4 & 4
functional.group_norm(x, num_groups=4, weight=y, eps=0.1)       | 3,4,5 & 4
torch.group_norm(x, 2, y, z, 0.3)                               | 3,4,5 & 4 & 4
torch.native_group_norm(x, y, z, 3, 4, 5, 2, 0.1)               | 3,4,5 & 4 & 4
torch.native_group_norm(x, None, None, 3, 4, 4, 2, 0.1)         | 3,4,2,2
torch.native_layer_norm(x, (3,), y, z, 0.1)                     | 2,3 & 3 & 3
functional.normalize(x)                                         | 3,4 ; 2,3,4
functional.normalize(x, p=3.0, dim=0, eps=0.1)                  | 3,4
"""


@pytest.mark.parametrize(("expression", "shapes"), cases(BATCHES))
def test_batches(expression: str, shapes: Any) -> None:
    """With running statistics that torch and tensorad each change for themselves, to the same values."""
    inputs = [rand(*shape, low=-2, high=2, seed=seed) for seed, shape in enumerate(shapes)]
    found = []

    def apply(*inputs: Any) -> Any:
        means, variances = rand(3, seed=8), rand(3, low=1, high=2, seed=9)
        found.append((means, variances))
        outputs = eval(expression, scope | dict(zip("xyz", inputs, strict=False)) | {"m": means, "v": variances})
        return [
            each.sin() for each in (outputs if isinstance(outputs, tuple) else [outputs]) if each.is_floating_point()
        ]

    scope = {"torch": torch, "functional": functional}
    agree(apply, *inputs)
    for ours, torchs in zip(*found, strict=True):
        assert torch.equal(ours, torchs)
    updates = {"True", "use_input_stats", "instance_norm", "with_update"}
    changed = not torch.equal(found[0][0], rand(3, seed=8))
    assert not changed or any(word in expression for word in updates)


def test_batch_norm_to_third_order() -> None:
    """Against its definition, as for layer_norm."""

    def kernel(x: Any, w: Any, b: Any) -> Any:
        return functional.batch_norm(x, None, None, w, b, True).sin()

    def definition(x: Any, w: Any, b: Any) -> Any:
        centred = x - x.mean(0)
        return (centred / (centred.square().mean(0) + 1e-5).sqrt() * w + b).sin()

    inputs = [rand(4, 3), rand(3, seed=1), rand(3, seed=2)]
    for ours, right in zip(by_tensorad(kernel, inputs, 3)[1], by_torch(definition, inputs, 3)[1], strict=True):
        torch.testing.assert_close(ours, right, rtol=1e-9, atol=1e-10)


def test_batch_norm_of_channels_last() -> None:
    def apply(x: Any, w: Any) -> Any:
        x = x.permute(0, 3, 1, 2)
        return functional.batch_norm(x, None, None, w, None, True).sin() + functional.group_norm(x, 2, w).cos()

    agree(apply, rand(2, 3, 3, 4), rand(4, seed=1))


def test_a_gradient_of_evaluation_outlives_a_step_of_training() -> None:
    """The next batch of training changes the running statistics, which the gradient still needs as they were."""
    mean, variance = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    x = ts.tensor(rand(4, 3))
    with ts.Grad() as g:
        y = functional.batch_norm(x, mean, variance, eps=0.0)
        functional.batch_norm(x * 5, mean, variance, training=True, momentum=1.0)
    assert not torch.equal(mean, torch.zeros(3))
    torch.testing.assert_close(g.gradient(y, x).data, torch.ones(4, 3, dtype=torch.float64))


def test_what_needs_the_running_statistics_notices_that_they_changed() -> None:
    mean, variance = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    x = ts.tensor(rand(4, 3))
    with ts.Grad() as g:
        y = x * variance
        functional.batch_norm(x, mean, variance, training=True)
    with pytest.raises(ts.MutationError):
        g.gradient(y, x)


def test_running_statistics_that_are_tensors_get_new_values() -> None:
    """And in evaluation they are differentiated by, which torch refuses."""
    x, mean, variance = ts.tensor(rand(4, 3)), ts.tensor(rand(3, seed=1)), ts.tensor(rand(3, seed=2, low=1, high=2))
    kept, expected = mean.data, [rand(3, seed=1), rand(3, seed=2, low=1, high=2)]
    functional.batch_norm(x, mean, variance, training=True)
    functional.batch_norm(x.data, *expected, training=True)
    assert torch.equal(mean.data, expected[0])
    assert torch.equal(variance.data, expected[1])
    assert torch.equal(kept, rand(3, seed=1))

    def definition(x: Any, mean: Any, variance: Any, w: Any, b: Any) -> Any:
        return ((x - mean) / (variance + 1e-5).sqrt() * w + b).sin()

    inputs = [x.data, *expected, rand(3, seed=3), rand(3, seed=4)]
    ours = by_tensorad(lambda *args: functional.batch_norm(*args).sin(), inputs, 2)[1]
    for mine, theirs in zip(ours, by_torch(definition, inputs, 2)[1], strict=True):
        torch.testing.assert_close(mine, theirs)


def test_instance_norm_of_running_statistics_that_are_tensors() -> None:
    x, mean, variance = rand(2, 3, 4), ts.tensor(rand(3, seed=1)), ts.tensor(rand(3, seed=2))
    expected = [rand(3, seed=1), rand(3, seed=2)]
    functional.instance_norm(ts.tensor(x), mean, variance)
    functional.instance_norm(x, *expected)
    torch.testing.assert_close(mean.data, expected[0])
    torch.testing.assert_close(variance.data, expected[1])


@pytest.mark.parametrize(("dim", "shape"), [(0, (3, 1)), (1, (1, 4))])
def test_weight_norm(dim: int, shape: Any) -> None:
    """Against its definition: torch's own second order is off by more than its size."""

    def definition(v: Any, g: Any) -> Any:
        return (v * (g / v.norm(dim=1 - dim, keepdim=True))).sin()

    inputs = [rand(3, 4), rand(*shape, seed=1)]
    agree(lambda v, g: torch._weight_norm(v, g, dim).sin(), *inputs, order=1)
    ours = by_tensorad(lambda v, g: torch._weight_norm(v, g, dim).sin(), inputs, 3)[1]
    for mine, right in zip(ours, by_torch(definition, inputs, 3)[1], strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-10)


def test_statistics_are_constants_as_in_torch() -> None:
    for function in (
        lambda x: torch.native_layer_norm(x, (3,), None, None, 0.1),
        lambda x: torch.native_batch_norm(x, None, None, None, None, True, 0.1, 0.1),
    ):
        x = ts.tensor(rand(4, 3))
        with ts.Grad() as g:
            _, mean, scale = function(x)
        assert g.gradient(mean, x, unconnected="none") is g.gradient(scale, x, unconnected="none") is None


@pytest.mark.parametrize(
    "expression",
    [
        "functional.batch_norm(x, None, None, training=True)",
        "functional.group_norm(x, 3)",
        "functional.instance_norm(x)",
        "functional.batch_norm(y, None, None, training=True, eps=0.0)",
        "functional.batch_norm(y, None, None)",
        "functional.group_norm(y, 2)",
    ],
)
def test_what_torch_refuses_is_refused(expression: str) -> None:
    x, y = rand(1, 3, 1), rand(4, 3)
    with pytest.raises((ValueError, RuntimeError)) as torchs:
        eval(expression)
    x, y = ts.tensor(x), ts.tensor(y)
    with pytest.raises(torchs.type):
        eval(expression)


def test_normalize_of_the_zero_vector() -> None:
    """torch's value: the norm is 0 there, and the bound 1e-12 takes its place."""
    x = ts.tensor(torch.zeros(1, 2, dtype=torch.float64))
    with ts.Grad() as g:
        y = functional.normalize(x)
    assert g.gradient(y, x).tolist() == [[1e12, 1e12]]


@pytest.mark.parametrize(
    "expression",
    [
        "functional.layer_norm(x, (4,), w, w)",
        "functional.rms_norm(x, (4,), w)",
        "functional.batch_norm(x, None, None, w, w, True)",
        "functional.batch_norm(x, torch.zeros(4), torch.ones(4), w, w)",
        "functional.group_norm(x, 2, w, w)",
    ],
)
def test_gradients_have_the_dtype_of_an_input_less_precise_than_the_weight(expression: str) -> None:
    x, w = ts.tensor(rand(3, 4).bfloat16()), ts.tensor(rand(4, seed=1).float())
    with ts.Grad() as outer:
        with ts.Grad() as g:
            y = (eval(expression) ** 2).sum()
        by_x, by_w = g.gradient(y, (x, w))
        z = by_x.float().sum() + by_w.sum()
    assert (by_x.dtype, by_w.dtype) == (torch.bfloat16, torch.float32)
    assert outer.gradient(z, x).dtype == torch.bfloat16
    with ts.Grad() as g:
        y = (eval(expression) ** 2).sum()
    assert g.gradient(y, x).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("shape", [(4,), (2,), (2, 3, 4), (), 3.0])
@pytest.mark.parametrize("size", [None, 2])
def test_a_shape_that_does_not_fit_is_torchs_error(name: str, shape: Any, size: int | None) -> None:
    x, weight = rand(2, 3), None if size is None else rand(size)
    with pytest.raises((RuntimeError, ValueError, TypeError)) as torchs:
        getattr(torch, name)(x, shape, weight)
    with pytest.raises(type(torchs.value)) as ours:
        getattr(torch, name)(ts.tensor(x), shape, weight)
    if name == "rms_norm":  # that of layer_norm may be of the kernel below
        assert str(ours.value) == str(torchs.value)


def test_an_empty_batch_of_no_channels() -> None:
    agree(lambda x: functional.batch_norm(x, None, None, training=True).sin(), rand(0), order=1)
    x = ts.tensor(rand(0))
    with ts.Grad() as g:
        y = functional.batch_norm(x, torch.zeros(0), torch.zeros(0), training=True)
    assert g.gradient(y, x).shape == (0,)
