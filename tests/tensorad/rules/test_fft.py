"""Fourier transforms against torch.autograd: every function, norm, padding and cutting, real and complex numbers."""

from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, rand, slope

import tensorad as ts

# Of numbers of both kinds; `F` is each of the transforms.
ONE_DIMENSION = """
F(x)                    | 4 ; 5 ; 2,6 ; 2 ; 3,2,7
F(x, 5)                 | 3 ; 4 ; 2,5 ; 8
F(x, n=6)               | 3 ; 4 ; 2,6 ; 9
F(x, 1)                 | 1 ; 4
F(x, 2)                 | 1 ; 2,3
F(x, dim=0)             | 4,2 ; 5,3
F(x, 4, -2)             | 3,2 ; 2,6,3
F(x, norm='ortho')      | 5 ; 2,4
F(x, norm='forward')    | 5 ; 2,4
F(x, norm='backward')   | 5 ; 2,4
F(input=x, n=3, dim=1, norm='ortho')    | 2,4 ; 2,2
"""
TWO_DIMENSIONS = """
F(x)                    | 3,4 ; 4,3 ; 2,3,5 ; 2,2
F(x, (4, 5))            | 3,4 ; 2,5,6
F(x, s=(2, 2))          | 3,4 ; 2,1,3
F(x, (-1, 3))           | 2,4
F(x, dim=(0, 1))        | 3,4 ; 3,4,2
F(x, dim=(1, 0))        | 3,4
F(x, (3, 4), (-1, 0))   | 4,2,3
F(x, norm='ortho')      | 3,4
F(x, norm='forward')    | 3,4
"""
MORE_DIMENSIONS = """
F(x)                    | 5 ; 3,4 ; 2,3,4
F(x, (4,))              | 2,3 ; 2,5
F(x, s=(4, 3))          | 2,3,4
F(x, dim=1)             | 3,4,2
F(x, dim=(0, 2))        | 3,2,4
F(x, dim=(-1, 0, 1))    | 3,2,4
F(x, (4, -1), (2, 0))   | 3,2,5
F(x, s=3)               | 4 ; 2,4
F(x, 5, 0)              | 4,2
F(x, norm='ortho')      | 3,4
"""
TABLES = {"": ONE_DIMENSION, "2": TWO_DIMENSIONS, "n": TWO_DIMENSIONS.strip() + MORE_DIMENSIONS}
TRANSFORMS = [kind + size for kind in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft") for size in TABLES]


def complex_rand(*shape: int, seed: int = 0) -> Any:
    return torch.complex(rand(*shape, seed=seed), rand(*shape, seed=seed + 50))


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_transforms(name: str, kind: str) -> None:
    if name.startswith(("rfft", "ihfft")) and kind == "complex":
        with pytest.raises(RuntimeError, match=r"real|floating"):
            getattr(torch.fft, name)(ts.tensor(complex_rand(3, 4)))
        return
    for case in cases(TABLES[name[-1] if name[-1] in "2n" else ""]):
        expression, [size] = case.values
        x = rand(*size) if kind == "real" else complex_rand(*size)
        agree(bent(expression, "x", F=getattr(torch.fft, name)), x)


@pytest.mark.parametrize("expression", ["torch.fft.fftshift(x, 0)", "torch.fft.ifftshift(x, dim=(0, -1))",
                                        "torch.fft.fftshift(x)", "torch.fft.ifftshift(x)"])  # fmt: skip
@pytest.mark.parametrize("size", [(4, 3), (5, 2), (0, 2), (1,)])
def test_shifts(expression: str, size: Any) -> None:
    agree(bent(expression, "x"), rand(*size))
    agree(bent(expression, "x"), complex_rand(*size))


def test_third_order() -> None:
    agree(bent("torch.fft.irfft(torch.fft.rfft(x, 6).square(), 5)", "x"), rand(4), order=3)
    agree(bent("torch.fft.hfftn(torch.fft.fft2(x).square(), norm='ortho')", "x"), complex_rand(2, 3), order=3)


def test_single_precision_stays_single() -> None:
    x = ts.tensor(rand(8, dtype=torch.float32))
    with ts.Grad() as g:
        y = torch.fft.irfft(torch.fft.rfft(x) * 2j)
    assert g.gradient(y, x).dtype == torch.float32


PRIMITIVES = """
torch.ops.aten._fft_c2c(torch.complex(x, y), [0, 1], 0, True)           | 3,4 & 3,4
torch.ops.aten._fft_c2c(torch.complex(x, y), [1], 2, False)             | 3,4 & 3,4
torch.ops.aten._fft_r2c(x + y, [1], 1, True)                            | 3,4 & 3,4 ; 2,5 & 2,5 ; 2,1 & 2,1 ; 2,2 & 2,2
torch.ops.aten._fft_r2c(x + y, [0, 1], 0, False)                        | 3,4 & 3,4
torch.ops.aten._fft_c2r(torch.complex(x, y), [0, 1], 2, 6)              | 3,4 & 3,4
torch.ops.aten._fft_c2r(torch.complex(x, y), [0], 0, 4)                 | 3,4 & 3,4
torch.ops.aten._fft_c2r(torch.complex(x, y), [1], 1, 7)                 | 3,4 & 3,4
torch.ops.aten.unfold_backward(x * y, [2, 9], 1, 3, 2)                  | 2,4,3 & 2,4,3
"""


@pytest.mark.parametrize(("expression", "shapes"), cases(PRIMITIVES))
def test_primitives_that_others_are_made_of(expression: str, shapes: Any) -> None:
    agree(bent(expression, "xy"), rand(*shapes[0]), rand(*shapes[1], seed=1))


# The second operand is the window.
STFT = """
torch.stft(x, 8, return_complex=True)                                   | 30 ; 2,31
torch.stft(x, 8, 3, return_complex=True)                                | 2,30
torch.stft(x, 7, 2, center=False, return_complex=True)                  | 2,20
torch.stft(x, 8, 2, 5, return_complex=True)                             | 2,20
torch.stft(x, 8, 2, onesided=False, return_complex=True)                | 2,20
torch.stft(x, 8, 2, normalized=True, return_complex=True)               | 2,20
torch.stft(x, 8, 2, return_complex=False)                               | 2,20
torch.stft(x, 8, 2, pad_mode='constant', return_complex=True)           | 2,20 ; 20
torch.stft(x, 8, 2, pad_mode='circular', return_complex=True)           | 2,20
torch.stft(x, 7, 2, pad_mode='replicate', return_complex=True)          | 2,20
torch.stft(x, 8, 2, window=y, return_complex=True)                      | 2,20 & 8 ; 20 & 8
torch.stft(x, 8, 2, 6, y, return_complex=True)                          | 2,20 & 6 ; 20 & 6
torch.stft(x, 8, 3, 5, y, center=False, return_complex=True)            | 2,20 & 5
torch.stft(x, 8, 3, 6, y, False, align_to_window=True, return_complex=True)     | 2,20 & 6
torch.stft(x, 8, 3, 4, y, False, align_to_window=True, return_complex=True)     | 20 & 4
torch.stft(x, 8, window=y, pad_mode='constant', normalized=True, onesided=False, return_complex=True)   | 2,20 & 8
torch.stft(x, 2, 1, return_complex=True)                                | 6
torch.stft(x, 1, 1, return_complex=True)                                | 2,6
x.stft(8, window=y, return_complex=True)                                | 2,20 & 8
"""
COMPLEX_STFT = """
torch.stft(x, 8, 3, return_complex=True)                                | 20 ; 2,20
torch.stft(x, 8, 3, normalized=True, return_complex=False)              | 2,20
torch.stft(x, 8, 3, 6, y, return_complex=True)                          | 2,20 & 6 ; 20 & 6
torch.stft(x.real, 8, 3, 6, y, return_complex=True)                     | 2,20 & 6
torch.stft(x, 8, 3, 6, y.real, return_complex=True)                     | 2,20 & 6
"""
ISTFT = """
torch.istft(x, 8)                                                       | 5,6 ; 2,5,6
torch.istft(x, 8, 3)                                                    | 2,5,6
torch.istft(x, 7, 2)                                                    | 2,4,6
torch.istft(x, 8, 2, center=False)                                      | 2,5,6
torch.istft(x, 8, 2, normalized=True)                                   | 2,5,6
torch.istft(x, 8, 2, onesided=False)                                    | 2,8,5
torch.istft(x, 8, 2, length=9)                                          | 2,5,6
torch.istft(x, 8, 2, length=13)                                         | 5,6
torch.istft(x, 8, 2, 6)                                                 | 2,5,6
torch.istft(x, 8, 2, window=y.real)                                     | 2,5,6 & 8 ; 5,6 & 8
torch.istft(x, 8, 2, 6, y.real)                                         | 2,5,6 & 6
torch.istft(x, 8, 2, 6, y.real, normalized=True, onesided=False)        | 2,8,6 & 6
torch.istft(x, 8, 2, 6, y.real, length=10)                              | 2,5,6 & 6
torch.istft(x, 8, 2, 6, y, return_complex=True)                         | 2,8,6 & 6 ; 8,6 & 6
torch.istft(x, 8, 2, 6, y.real, return_complex=True, onesided=False)    | 2,8,6 & 6
torch.istft(x, 8, 2, return_complex=True)                               | 2,8,5
x.istft(8, window=y.real)                                               | 2,5,6 & 8
"""


@pytest.mark.filterwarnings("ignore:.*(stft with return_complex|window was not)")
@pytest.mark.parametrize(("expression", "shapes"), cases(STFT))
def test_short_time_transform(expression: str, shapes: Any) -> None:
    windows = [rand(*shape, low=0.5, seed=3) for shape in shapes[1:]]
    agree(bent(expression, "xy"[: len(shapes)]), rand(*shapes[0]), *windows)


@pytest.mark.filterwarnings("ignore:.*(stft with return_complex|window was not)")
@pytest.mark.parametrize(("expression", "shapes"), cases(COMPLEX_STFT) + cases(ISTFT))
def test_short_time_transform_of_complex_numbers_and_its_inverse(expression: str, shapes: Any) -> None:
    windows = [torch.complex(rand(*shape, low=0.5, seed=3), rand(*shape, seed=4)) for shape in shapes[1:]]
    agree(bent(expression, "xy"[: len(shapes)]), complex_rand(*shapes[0]), *windows)


def test_a_signal_padded_to_the_length_asked_for() -> None:
    x = complex_rand(5, 6)
    with pytest.warns(UserWarning, match="length of signal"):
        agree(bent("torch.istft(x, 8, 2, length=30)", "x"), x)


def test_istft_undoes_stft_and_so_do_their_derivatives() -> None:
    """The round trip is the identity, whose gradient is the cotangent."""
    x, window, weights = ts.tensor(rand(40)), torch.hann_window(8, dtype=torch.float64), rand(40, seed=1)
    with ts.Grad() as g:
        y = torch.istft(torch.stft(x, 8, 2, window=window, return_complex=True), 8, 2, window=window)
        target = (y * weights).sum()
    torch.testing.assert_close(g.gradient(target, x).data, weights)


def test_windows_by_finite_differences() -> None:
    arguments = [rand(2, 20), rand(6, low=0.5, seed=1)]
    directions = [torch.zeros(2, 20, dtype=torch.float64), rand(6, seed=2)]
    function = bent("torch.istft(torch.stft(x, 8, 2, 6, y, return_complex=True).square(), 8, 3, 6, y + 1)", "xy")
    _, [[_, by_window]] = by_tensorad(function, arguments)
    assert (by_window * directions[1]).sum().item() == pytest.approx(slope(function, arguments, directions), rel=1e-6)


def test_what_torch_refuses_is_refused_in_its_words() -> None:
    with pytest.raises(RuntimeError, match="Invalid number of data points"):
        torch.fft.fft(ts.tensor(rand(3)), 0)
    with pytest.raises(RuntimeError, match="stft"):
        torch.stft(ts.tensor(rand(3)), 8, center=False, return_complex=True)
