"""Fourier transforms: all of torch.fft, and the short-time transform and its inverse.

A transform is a symmetric matrix, so on complex numbers it is its own way back. A spectrum of real numbers is stored as
its first half, whose inner values stand for two each: there the way back is the transform of the other kind, with these
values halved or doubled. Padding is undone by cutting, and cutting by padding.
"""

from typing import Any

import torch

from tensorad.op import defrule, linear
from tensorad.rules.convolution import listed
from tensorad.rules.shapes import unpadded

FORWARD = {None: 0, "backward": 0, "ortho": 1, "forward": 2}  # torch's numbers: not scaled, by 1 / sqrt(n), by 1 / n
INVERSE = {None: 2, "backward": 2, "ortho": 1, "forward": 0}
half_to_real = torch._fft_c2r  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
real_to_half = torch._fft_r2c  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

# fmt: off

# From complex numbers to complex numbers.
linear("fft.fft(input, n=None, dim=-1, norm=None)", input=lambda g, input_shape, n, dim, norm: through(g, input_shape, n, dim, FORWARD[norm], True))
linear("fft.fft2(input, s=None, dim=(-2, -1), norm=None)", input=lambda g, input_shape, s, dim, norm: through(g, input_shape, s, dim, FORWARD[norm], True))
linear("fft.fftn(input, s=None, dim=None, norm=None)", input=lambda g, input_shape, s, dim, norm: through(g, input_shape, s, dim, FORWARD[norm], True))
linear("fft.ifft(input, n=None, dim=-1, norm=None)", input=lambda g, input_shape, n, dim, norm: through(g, input_shape, n, dim, INVERSE[norm], False))
linear("fft.ifft2(input, s=None, dim=(-2, -1), norm=None)", input=lambda g, input_shape, s, dim, norm: through(g, input_shape, s, dim, INVERSE[norm], False))
linear("fft.ifftn(input, s=None, dim=None, norm=None)", input=lambda g, input_shape, s, dim, norm: through(g, input_shape, s, dim, INVERSE[norm], False))

# From real numbers to half a spectrum.
linear("fft.rfft(input, n=None, dim=-1, norm=None)", input=lambda g, input_shape, n, dim, norm: from_half(g, input_shape, n, dim, FORWARD[norm]))
linear("fft.rfft2(input, s=None, dim=(-2, -1), norm=None)", input=lambda g, input_shape, s, dim, norm: from_half(g, input_shape, s, dim, FORWARD[norm]))
linear("fft.rfftn(input, s=None, dim=None, norm=None)", input=lambda g, input_shape, s, dim, norm: from_half(g, input_shape, s, dim, FORWARD[norm]))
linear("fft.ihfft(input, n=None, dim=-1, norm=None)", input=lambda g, input_shape, n, dim, norm: from_half(g.conj(), input_shape, n, dim, INVERSE[norm]))
linear("fft.ihfft2(input, s=None, dim=(-2, -1), norm=None)", input=lambda g, input_shape, s, dim, norm: from_half(g.conj(), input_shape, s, dim, INVERSE[norm]))
linear("fft.ihfftn(input, s=None, dim=None, norm=None)", input=lambda g, input_shape, s, dim, norm: from_half(g.conj(), input_shape, s, dim, INVERSE[norm]))

# From half a spectrum to real numbers.
linear("fft.irfft(input, n=None, dim=-1, norm=None)", input=lambda g, input_shape, n, dim, norm: to_half(g, input_shape, n, dim, INVERSE[norm]))
linear("fft.irfft2(input, s=None, dim=(-2, -1), norm=None)", input=lambda g, input_shape, s, dim, norm: to_half(g, input_shape, s, dim, INVERSE[norm]))
linear("fft.irfftn(input, s=None, dim=None, norm=None)", input=lambda g, input_shape, s, dim, norm: to_half(g, input_shape, s, dim, INVERSE[norm]))
linear("fft.hfft(input, n=None, dim=-1, norm=None)", input=lambda g, input_shape, n, dim, norm: to_half(g, input_shape, n, dim, FORWARD[norm]).conj())
linear("fft.hfft2(input, s=None, dim=(-2, -1), norm=None)", input=lambda g, input_shape, s, dim, norm: to_half(g, input_shape, s, dim, FORWARD[norm]).conj())
linear("fft.hfftn(input, s=None, dim=None, norm=None)", input=lambda g, input_shape, s, dim, norm: to_half(g, input_shape, s, dim, FORWARD[norm]).conj())

linear("fft.fftshift(input, dim=None)", input=lambda g, dim: torch.fft.ifftshift(g, dim))
linear("fft.ifftshift(input, dim=None)", input=lambda g, dim: torch.fft.fftshift(g, dim))

# What all of these are made of in torch, and so is everything else that transforms; and the ways back of two of them.
c2c = linear("_fft_c2c(self, dim, normalization, forward)", "ops.aten._fft_c2c",
             self=lambda g, dim, normalization, forward: c2c(g, dim, normalization, forward))
r2c = linear("_fft_r2c(self, dim, normalization, onesided)", "ops.aten._fft_r2c",
             self=lambda g, self_shape, dim, normalization, onesided:
             r2c_back(g, dim, normalization, self_shape[dim[-1]]) if onesided else c2c(g, dim, normalization, True))
c2r = linear("_fft_c2r(self, dim, normalization, last_dim_size)", "ops.aten._fft_c2r",
             self=lambda g, self_shape, dim, normalization: fitted(c2r_back(g, dim, normalization), self_shape))
r2c_back = linear("r2c_back(g, dim, normalization, size)", function=lambda g, dim, normalization, size:
                  half_to_real(weighted(g.conj_physical(), dim[-1], size, 0.5), dim, normalization, size),
                  g=lambda g, dim, normalization: r2c(g, dim, normalization, True))
c2r_back = linear("c2r_back(g, dim, normalization)", function=lambda g, dim, normalization:
                  weighted(real_to_half(g, dim, normalization, True), dim[-1], g.shape[dim[-1]], 2).conj(),
                  g=lambda g, g_shape, dim, normalization: c2r(g, dim, normalization, g_shape[dim[-1]]))

# Short-time transforms: of windows cut from a signal, and back.
defrule("stft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode='reflect', normalized=False, "
        "onesided=None, return_complex=None, align_to_window=None)",
        input=lambda g, input_shape, n_fft, hop_length, win_length, window, center, pad_mode, normalized, return_complex, align_to_window:
        stft_by_input(framed(g, n_fft, normalized, return_complex), input_shape, hop_length, whole(window, n_fft, win_length),
                      *border(n_fft, win_length, center, pad_mode, align_to_window)),
        window=lambda g, input, window_shape, n_fft, hop_length, win_length, center, pad_mode, normalized, return_complex, align_to_window:
        stft_by_window(framed(g, n_fft, normalized, return_complex), input, hop_length, window_shape,
                       *border(n_fft, win_length, center, pad_mode, align_to_window)))
defrule("istft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=None, "
        "length=None, return_complex=False)",
        input=lambda g, input_shape, n_fft, hop_length, win_length, window, center, normalized, return_complex:
        istft_by_input(g, input_shape, n_fft, hop_length, whole(window, n_fft, win_length), center, normalized, return_complex),
        window=lambda g, input, n_fft, hop_length, win_length, window, center, normalized, return_complex, out:
        istft_by_window(g, input, n_fft, hop_length, window.shape, whole(window, n_fft, win_length), center, normalized, return_complex, out))
overlap_add = linear("overlap_add(grad_in, input_sizes, dim, size, step)", "ops.aten.unfold_backward", function=torch.ops.aten.unfold_backward,
                     grad_in=lambda g, dim, size, step: g.unfold(dim, size, step))

# fmt: on


def fitted(value: Any, shape: Any) -> Any:
    """`value` cut or padded with zeros, at the end of each dimension, to this shape."""
    if value.shape == shape:
        return value
    widths = [width for now, size in zip(value.shape, shape, strict=True) for width in (size - now, 0)]
    return torch.constant_pad_nd(value, widths[::-1])


def dims(ndim: int, s: Any, dim: Any) -> list[int]:
    """The dimensions of a transform, counted from the first: those given, or the last ones, or all of them."""
    if dim is None:
        return [*range(0 if s is None else ndim - len(listed(s)), ndim)]
    return [each % ndim for each in listed(dim)]


def through(g: Any, shape: Any, s: Any, dim: Any, normalization: int, forward: bool) -> Any:
    """The way back between complex numbers."""
    return fitted(c2c(g, dims(g.ndim, s, dim), normalization, forward), shape)


def from_half(g: Any, shape: Any, s: Any, dim: Any, normalization: int) -> Any:
    """The way back from half a spectrum to real numbers of this shape."""
    places = dims(g.ndim, s, dim)
    size = -1 if s is None else listed(s)[-1]
    return fitted(r2c_back(g, places, normalization, shape[places[-1]] if size == -1 else size), shape)


def to_half(g: Any, shape: Any, s: Any, dim: Any, normalization: int) -> Any:
    """The way back from real numbers to half a spectrum of this shape."""
    return fitted(c2r_back(g, dims(g.ndim, s, dim), normalization), shape)


def weighted(half: Any, dim: int, size: int, factor: float) -> Any:
    """`half` of a spectrum of this size, changed: times the factor, but for the values that stand for one alone."""
    half.narrow(dim, 1, (size - 1) // 2).mul_(factor)
    return half


def whole(window: Any, n_fft: int, win_length: int | None) -> Any:
    """The window in the middle of `n_fft` places, zeros around it; None if it is ones everywhere."""
    if window is None and win_length in (None, n_fft):
        return None
    window = torch.ones(win_length or n_fft) if window is None else window
    before, after = around(window.shape, n_fft)
    return torch.constant_pad_nd(window, (before, after)) if before or after else window


def around(shape: Any, n_fft: int) -> tuple[int, int]:
    """How many places are before and behind a window of this shape, among `n_fft`."""
    rest = n_fft - shape[0]
    return rest // 2, rest - rest // 2


def shared_window(cotangents: Any, shape: Any) -> Any:
    """The cotangent of a window of this shape, from those of all frames that were multiplied by it."""
    total = cotangents.flatten(0, -2).sum(0)
    return total.narrow(0, around(shape, len(total))[0], shape[0])


def border(n_fft: int, win_length: int | None, center: bool, pad_mode: str, align: bool | None) -> tuple[int, str]:
    """How far, and with what, stft pads a signal at both ends."""
    return (n_fft // 2, pad_mode) if center else ((n_fft - (win_length or n_fft)) // 2 if align else 0, "constant")


def framed(g: Any, n_fft: int, normalized: bool, return_complex: bool | None) -> Any:
    """The cotangents of stft's windowed frames, of shape (..., frames, n_fft)."""
    if not (return_complex or g.is_complex()):
        g = torch.view_as_complex(g.contiguous()).conj()
    g, place, normalization = g.mT, [g.ndim - 1], int(normalized)
    return c2c(g, place, normalization, True) if g.shape[-1] == n_fft else r2c_back(g, place, normalization, n_fft)


def stft_by_input(frames: Any, shape: Any, hop: int | None, window: Any, width: int, pad_mode: str) -> Any:
    n_fft = frames.shape[-1]
    frames = frames if window is None else frames * window
    signal = overlap_add(frames, [*shape[:-1], shape[-1] + 2 * width], len(shape) - 1, n_fft, hop or n_fft // 4)
    if not width:
        return signal
    if pad_mode == "constant":
        return signal.narrow(-1, width, shape[-1])
    return unpadded(signal, shape, (width, width), pad_mode)


def stft_by_window(frames: Any, input: Any, hop: int | None, shape: Any, width: int, pad_mode: str) -> Any:
    n_fft = frames.shape[-1]
    if width:
        rows = input.reshape(1, -1, input.shape[-1])  # reflection takes nothing without batch and channels
        input = torch.nn.functional.pad(rows, (width, width), pad_mode).reshape(*input.shape[:-1], -1)
    return shared_window(frames * input.unfold(-1, n_fft, hop or n_fft // 4), shape)


def istft_by_input(
    g: Any, shape: Any, n_fft: int, hop: int | None, window: Any, center: bool, normalized: bool, return_complex: bool
) -> Any:
    frames = reframed(g, shape[-1], n_fft, hop, window, center)
    frames = frames if window is None else frames * window
    place, normalization = [g.ndim], 1 if normalized else 2
    if return_complex:
        return c2c(frames, place, normalization, False).mT
    return fitted(c2r_back(frames, place, normalization).mT, shape)


def istft_by_window(
    g: Any, input: Any, n_fft: int, hop: int | None, shape: Any, window: Any, center: bool, normalized: bool,
    return_complex: bool, out: Any,
) -> Any:  # fmt: skip
    """The window is a factor of each frame, and, squared, in the sum that the frames' sum is divided by."""
    transform, norm = torch.fft.ifft if return_complex else torch.fft.irfft, "ortho" if normalized else "backward"
    frames = transform(input, n_fft, -2, norm).mT
    direct, squared = (reframed(each, input.shape[-1], n_fft, hop, window, center) for each in (g, g * out))
    return shared_window(direct * frames - 2 * window * squared, shape)


def reframed(g: Any, count: int, n_fft: int, hop: int | None, window: Any, center: bool) -> Any:
    """The cotangents of the frames that istft adds up, and divides by the sum of their squared windows."""
    hop = hop or n_fft // 4
    start, end = n_fft // 2 if center else 0, n_fft + hop * (count - 1)
    length = min(g.shape[-1], end - start)  # torch pads the result to the length asked for
    window = torch.ones(n_fft, dtype=g.dtype, device=g.device) if window is None else window
    weights = overlap_add((window * window).expand(count, n_fft), [end], 0, n_fft, hop).narrow(0, start, length)
    quotient = g.narrow(-1, 0, length) / weights
    return torch.constant_pad_nd(quotient, (start, end - start - length)).unfold(-1, n_fft, hop)
