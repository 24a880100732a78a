"""Convolutions, patches and shuffles against torch.autograd, with every option and every kind of operand."""

from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import agree, rand

import tensorad as ts

CONVOLUTIONS = """
functional.conv1d(x, y)                             | 2,3,6 & 4,3,3 ; 3,6 & 4,3,3 ; 2,3,6 & 4,3,1 ; 0,3,6 & 4,3,3
functional.conv1d(x, y, z)                          | 2,3,6 & 4,3,3 & 4 ; 3,6 & 4,3,3 & 4
functional.conv1d(x, y, z, 2, 1, 2)                 | 2,3,8 & 4,3,3 & 4
functional.conv1d(x, y, stride=(2,), padding=[3], dilation=(2,), groups=2)  | 2,4,9 & 6,2,3 ; 4,9 & 6,2,3
functional.conv1d(x, y, padding="same")             | 2,3,6 & 4,3,3 ; 2,3,6 & 4,3,4 ; 3,6 & 4,3,2
functional.conv1d(x, y, padding="same", dilation=3) | 2,3,9 & 4,3,3 ; 2,3,9 & 4,3,2 ; 3,9 & 4,3,4
functional.conv1d(x, y, z, padding="valid")         | 2,3,6 & 4,3,4 & 4
functional.conv2d(x, y)                             | 2,3,5,4 & 4,3,3,2 ; 3,5,4 & 4,3,3,2 ; 0,3,5,4 & 4,3,3,2
functional.conv2d(input=x, weight=y, bias=z)        | 2,3,5,4 & 4,3,3,2 & 4 ; 3,5,4 & 4,3,3,2 & 4
functional.conv2d(x, y, bias=None, stride=2)        | 2,3,6,5 & 4,3,3,2
functional.conv2d(x, y, z, (2, 1), (1, 2), (1, 2))  | 2,3,6,5 & 4,3,3,2 & 4 ; 3,6,5 & 4,3,3,2 & 4
functional.conv2d(x, y, z, groups=3, padding=1)     | 2,3,4,4 & 6,1,3,3 & 6
functional.conv2d(x, y, padding="same")             | 2,2,4,5 & 3,2,3,3 ; 2,2,4,5 & 3,2,2,3 ; 2,4,5 & 3,2,3,4
functional.conv2d(x, y, padding="same", dilation=(1, 3), groups=2) | 2,2,4,9 & 4,1,2,2 ; 2,2,4,9 & 4,1,3,3
functional.conv3d(x, y)                             | 1,2,4,3,4 & 3,2,2,2,3 ; 2,4,3,4 & 3,2,2,2,3
functional.conv3d(x, y, z, 2, 1, 2, 2)              | 2,2,5,5,5 & 2,1,2,3,2 & 2
functional.conv3d(x, y, padding="same")             | 1,2,3,4,5 & 2,2,2,3,4
torch.conv_transpose1d(x, y)                        | 2,3,5 & 3,2,3 ; 3,5 & 3,2,3 ; 0,3,5 & 3,2,3
torch.conv_transpose1d(x, y, z, 3, 1, 2, 1, 2)      | 2,3,5 & 3,2,3 & 2
functional.conv_transpose2d(x, y, z)                | 2,3,4,3 & 3,2,3,2 & 2 ; 3,4,3 & 3,2,3,2 & 2
functional.conv_transpose2d(x, y, z, stride=2, padding=(1, 0), output_padding=1, groups=2) | 2,4,4,3 & 4,3,3,2 & 6
functional.conv_transpose2d(x, y, stride=(1, 2), dilation=(2, 1))  | 2,3,4,3 & 3,2,3,2
functional.conv_transpose3d(x, y, z)                | 1,2,3,2,3 & 2,3,2,2,2 & 3 ; 2,3,2,3 & 2,3,2,2,2 & 3
functional.conv_transpose3d(x, y, None, 2, 1, 1, 2) | 1,2,3,2,3 & 2,3,2,2,2
"""
OTHER_CONVOLUTIONS = """
torch.convolution(x, y, z, [2], [1], [1], False, [0], 1)               | 2,3,6 & 4,3,3 & 4
torch.convolution(x, y, None, [2, 1], [1, 0], [1, 1], True, [1, 0], 1) | 2,3,4,3 & 3,2,3,2
torch._convolution(x, y, z, [2], [1], [1], False, [0], 1, False, False, True, True) | 2,3,6 & 4,3,3 & 4
torch.conv_tbc(x, y, z)                             | 5,2,3 & 3,3,4 & 4
torch.conv_tbc(x, y, z, pad=2)                      | 5,2,3 & 3,3,4 & 4
"""
REARRANGEMENTS = """
functional.unfold(x, 2)                             | 2,3,4,5 ; 3,4,5 ; 0,3,4,5
functional.unfold(x, (2, 3), dilation=2, padding=(1, 2), stride=(2, 1)) | 2,2,5,6
functional.fold(x, (4, 5), 2)                       | 2,12,12 ; 12,12
functional.fold(x, (5, 6), kernel_size=(2, 3), dilation=2, padding=(1, 2), stride=(2, 1)) | 2,12,18
functional.pixel_shuffle(x, 2)                      | 2,8,3,2 ; 8,3,2
functional.pixel_unshuffle(x, 2)                    | 2,2,4,6 ; 2,4,6
functional.channel_shuffle(x, 2)                    | 2,6,3 ; 2,4,3,2
torch.unfold_copy(x, 1, 3, 2)                       | 2,7,3
"""


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(("expression", "shapes"), cases(CONVOLUTIONS) + cases(OTHER_CONVOLUTIONS))
def test_convolutions(expression: str, shapes: Any) -> None:
    agree(bent(expression, "xyz"[: len(shapes)]), *(rand(*shape, seed=seed) for seed, shape in enumerate(shapes)))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(("expression", "shapes"), cases(CONVOLUTIONS))
def test_complex_convolutions(expression: str, shapes: Any) -> None:
    operands = [torch.complex(rand(*shape, seed=n), rand(*shape, seed=n + 9)) for n, shape in enumerate(shapes)]
    agree(bent(expression, "xyz"[: len(shapes)]), *operands)


@pytest.mark.parametrize(("expression", "shapes"), cases(REARRANGEMENTS))
def test_rearrangements(expression: str, shapes: Any) -> None:
    agree(bent(expression, "x"), rand(*shapes[0]))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("wanted", range(3))
def test_torch_tensors_beside_tensors_are_constants(wanted: int, order: int) -> None:
    """And the cotangent of one operand alone is right at the third order too, where each form has met the others."""
    fixed = [rand(2, 2, 5, 4), rand(3, 2, 2, 3, seed=1), rand(3, seed=2)]
    operands = ", ".join("x" if place == wanted else f"fixed[{place}]" for place in range(3))
    expression = f"torch.conv2d({operands}, (2, 1), 1)"
    agree(bent(expression, "x", fixed=fixed), fixed[wanted], order=order)
    agree(bent(f"torch.conv2d(*{[*'xyz']}, stride=2)".replace("'", "")), *fixed, order=order)


def test_the_cotangent_of_a_constant_input_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise AssertionError("the images of a batch have no gradient")

    monkeypatch.setattr("tensorad.rules.convolution.input_kernel", fail)
    weight, bias = ts.tensor(rand(3, 2, 2, 2, seed=1)), ts.tensor(rand(3))
    with ts.Grad() as g:
        y = torch.conv2d(rand(2, 2, 5, 4), weight, bias).sum()
    assert g.gradient(y, bias).tolist() == [24.0, 24.0, 24.0]
    assert g.gradient(y, weight).shape == (3, 2, 2, 2)


def test_an_input_is_not_kept_for_a_constant_weight() -> None:
    x = ts.tensor(rand(1, 1, 4, 4))
    with ts.Grad():
        y = torch.conv2d(x, rand(1, 1, 2, 2, seed=1))
    assert y.node is not None
    assert not any(isinstance(value, torch.Tensor) and value.shape == x.shape for value in y.node.saved)


def test_a_weight_in_single_precision() -> None:
    """float32 runs other kernels than float64."""
    operands = rand(4, 3, 8, 8), rand(8, 3, 3, 3, seed=1), rand(8, seed=2)
    tensors = tuple(ts.tensor(each.float()) for each in operands)
    with ts.Grad() as g:
        y = torch.conv2d(*tensors, stride=2, padding=1).sin().sum()
    sources = [each.clone().requires_grad_() for each in operands]
    expected = torch.autograd.grad(torch.conv2d(*sources, stride=2, padding=1).sin().sum(), sources)
    for mine, theirs in zip(g.gradient(y, tensors), expected, strict=True):
        torch.testing.assert_close(mine.data, theirs.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mask", [[True, True, True], [True, False, False], [False, True, True]])
def test_torchs_own_backward_function(mask: list[bool]) -> None:
    def some(g: Any, x: Any, w: Any) -> list[Any]:
        options = [2], [1], [1], False, [0], 1, mask
        found = torch.ops.aten.convolution_backward(g, x, w, [4], *options)
        return [each.sin() for each in found if each is not None and each.numel()]

    agree(some, rand(2, 4, 3), rand(2, 3, 6, seed=1), rand(4, 3, 3, seed=2))


def test_shuffles_that_torch_cannot_differentiate() -> None:
    """Of nothing, where its shapes do not fit, and by the function that is below channel_shuffle."""
    for shuffle in torch.pixel_shuffle, torch.pixel_unshuffle:
        x = ts.tensor(rand(0, 4, 2, 2))
        with ts.Grad() as g:
            y = shuffle(x, 2).sum()
        assert g.gradient(y, x).shape == x.shape
    x, weights = ts.tensor(rand(1, 6, 2)), rand(1, 6, 2, seed=1)
    with ts.Grad() as g:
        y = (torch.native_channel_shuffle(x, 2) * weights).sum()
        z = (torch.channel_shuffle(x, 2) * weights).sum()
    assert torch.equal(g.gradient(y, x).data, g.gradient(z, x).data)


def test_images_with_channels_last() -> None:
    x = rand(2, 3, 5, 4).contiguous(memory_format=torch.channels_last)
    agree(bent("functional.conv2d(x, y)"), x, rand(4, 3, 3, 2, seed=1), rand(1))


def test_wrong_shapes_raise_what_torch_raises() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        torch.conv2d(ts.tensor(rand(1, 2, 4, 4)), rand(3, 3, 2, 2))
