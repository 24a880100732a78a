"""Finite differences along a line, and what they say of a derivative that somebody claims.

A difference is worth no more than its error, so each comes with an estimate of it: from a second step, half as long;
from a corner in the middle; from rounding. Several steps are tried, as no single one is right for every function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

ENOUGH = 0.05  # an error of so much of a derivative's size leaves right and wrong apart
ENOUGH_FOR_ZERO = 0.001  # the same for a derivative of zero, beside how fast the function changes nearby
# A function that does not change at all may be constant, or may change less than its values are rounded by: only where
# they have so many digits is it taken for constant.
ENOUGH_DIGITS = 1e-9
BEYOND_DOUBT = 20  # an error is an estimate, and many small corners make it too small: a difference is so many times it
Verdict = Literal["agree", "disagree", "rough"]


@dataclass(frozen=True)
class Point:
    """The function at one point of the line: where that is, rounded, and what the claimed derivative expects there."""

    displacement: torch.Tensor
    values: torch.Tensor
    expected_change: torch.Tensor


@dataclass(frozen=True)
class Difference:
    """What the values around a point say of the derivative there."""

    claimed: torch.Tensor
    numeric: torch.Tensor
    roughness: float  # the error that comes of the function and the place
    rounding: float  # the error that comes of the digits of its values
    nearby: float  # how fast the function changes in either direction
    magnitude: float  # the size of its values
    epsilon: float
    step: float

    @property
    def error(self) -> float:
        """How far the true derivative may be from `numeric`."""
        return self.roughness + self.rounding

    @property
    def size(self) -> float:
        """The larger of the two, where they are finite."""
        return max(largest(torch.nan_to_num(self.claimed, posinf=0.0, neginf=0.0)), largest(self.numeric))

    @property
    def unresolved(self) -> bool:
        """Whether the function does more, over this step, than its values tell."""
        return not self.roughness <= max(ENOUGH * self.size, 4 * self.rounding)

    @property
    def verdict(self) -> Verdict:
        """Whether the two agree, as far as the error lets one tell."""
        allowed = self.error + 4 * self.epsilon * self.size
        zero = not self.claimed.any() and allowed <= max(ENOUGH_FOR_ZERO * self.nearby, ENOUGH_DIGITS * self.magnitude)
        if not (zero or allowed <= ENOUGH * self.size):  # so written that nan is rough
            return "rough"
        apart = largest(self.claimed - self.numeric)
        return "agree" if apart <= allowed else "rough" if apart <= BEYOND_DOUBT * allowed else "disagree"


def difference(
    claimed: torch.Tensor,
    expected: torch.Tensor,
    middle: torch.Tensor,
    around: Sequence[Point],
    step: float,
    epsilon: float,
    magnitude: float,
) -> Difference:
    """From the points at `step`, `-step`, `step / 2` and `-step / 2`, in this order.

    `expected` is the claimed derivative where it is finite, and what the points' expected changes were made with.
    `magnitude` is the size of the numbers that were rounded to `epsilon` on the way to the values.
    """
    far, near = _slopes(middle, around[0], around[1], step), _slopes(middle, around[2], around[3], step / 2)
    apart = (4 * near[0] - far[0]) / 3  # of the expected and the true derivative: what is left is of the fourth order
    bend, corner = largest(near[0] - far[0]), largest(near[1])
    skew = 2 * corner * largest(around[2].displacement + around[3].displacement) / step
    if corner <= 0.75 * largest(far[1]):  # it shrinks with the step, so it is curvature, which differences do not mind
        corner = 0.0
    rounding = 8 * epsilon * magnitude / step
    lost = largest(expected - (around[2].expected_change - around[3].expected_change) / step)
    nearby = max(largest(point.values - middle) for point in around) / step
    return Difference(
        claimed, expected + apart, bend + corner + skew + lost, rounding, nearby, magnitude, epsilon, step
    )


def _slopes(middle: torch.Tensor, ahead: Point, behind: Point, step: float) -> tuple[torch.Tensor, torch.Tensor]:
    """How much steeper than expected the function is across the middle; how much steeper after it than before it."""
    rise, fall = ahead.values - middle - ahead.expected_change, middle - behind.values + behind.expected_change
    return (rise + fall) / (2 * step), (rise - fall) / step


def steps_for(data: torch.Tensor, epsilon: float) -> list[float]:
    """The steps to try, the likeliest first: for values near 1, for large ones, for steep functions, for small ones.

    `epsilon` says how the values of the function are rounded, which may be coarser than `data` is.
    """
    sizes = data.abs()[data != 0].double()
    large = [float(sizes.max()) * epsilon**0.4] if len(sizes) else []
    small = [float(sizes.min())] if len(sizes) else []
    scales = [1.0, *(each for each in large if each > 1), 1 / 30, 1 / 1000, *(each for each in small if each < 1)]
    return [epsilon**0.2 * scale / part for scale in scales for part in (1, 4)]


def judged(differences: Sequence[Difference]) -> tuple[Difference, Verdict]:
    """The most precise difference of those that can tell, and the verdict of all of them.

    That a derivative is wrong takes two that say so, and no shorter step at which the function is seen to do more, or
    something else: a step may be too long, and not look it.
    """
    telling = [each for each in differences if each.verdict != "rough"]
    best = min(telling or differences, key=lambda each: each.error)
    wrong = [each for each in telling if each.verdict == "disagree"]
    shorter = [each for each in differences if each.step < best.step]
    blind = any(each.unresolved or _contradict(each, best) for each in shorter)
    doubtful = best.verdict == "disagree" and (len(wrong) < 2 or blind)
    return best, "rough" if not telling or doubtful else best.verdict


def _contradict(one: Difference, other: Difference) -> bool:
    return one.verdict != "rough" and largest(one.numeric - other.numeric) > 4 * (one.error + other.error)


def largest(values: torch.Tensor) -> float:
    """The largest absolute value; nan if there is one."""
    return float(values.abs().max()) if values.numel() else 0.0
