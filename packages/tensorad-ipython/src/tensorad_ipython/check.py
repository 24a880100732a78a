"""`--check`: the derivatives compared with finite differences, or with torch.autograd, on the same cell run again."""

from typing import Any

import torch

import tensorad as ts
from tensorad.differences import Difference, Point, difference, judged, largest, steps_for
from tensorad.operands import plain
from tensorad_ipython.derivatives import Derivative, Run
from tensorad_ipython.rerun import CannotCheckError, Rerun
from tensorad_ipython.result import label_of
from tensorad_ipython.typeset import number

AGREE = "✓ they agree"
_VERDICTS = {
    "agree": AGREE,
    "disagree": "✗ they DISAGREE",
    "rough": "? they cannot tell: a corner, a pole, or too few digits",
}


def check(how: str, rerun: Rerun) -> list[str]:
    """What the check that was asked for found, in words: a line for each derivative, or one that says why not."""
    try:
        with rerun:
            if how == "torch":
                return _by_torch(rerun)
            return [note for label in rerun.found.tensors for note in _by_differences(rerun, label)]
    except CannotCheckError as error:
        return [f"not checked: {error}"]


def _by_differences(rerun: Rerun, label: str) -> list[str]:
    """The derivatives by one tensor, against how what they are derivatives of changes along a line."""
    found, data = rerun.found, plain(rerun.found.tensors[label])
    if data.is_complex() or found.target.data.is_complex():
        raise CannotCheckError("finite differences are for real values: --check torch can compare complex ones")
    wanted = [each for each in found.derivatives if each.by == label]
    direction = torch.randn(data.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    direction = direction / direction.norm() if data.ndim else torch.ones((), dtype=torch.float64)
    epsilon = torch.finfo(data.dtype).eps
    finite = lambda each: torch.nan_to_num(each.value.data, nan=0.0, posinf=0.0, neginf=0.0)  # noqa: E731
    tried: list[list[Difference]] = [[] for _ in wanted]
    for step in steps_for(data, epsilon) if data.numel() else []:
        around: list[list[Point]] = [[] for _ in wanted]
        for length in (step, -step, step / 2, -step / 2):
            moved = data + (length * direction).to(data)
            run = rerun.again({label: moved})
            for each, points in zip(wanted, around, strict=True):
                displacement = moved.double() - data.double()
                points.append(Point(displacement, _flat(run, each, found), _along(finite(each), displacement)))
        for each, points, differences in zip(wanted, around, tried, strict=True):
            middle, claimed = _flat(found, each, found), _along(each.value, direction)
            expected = _along(finite(each), direction)
            magnitude = float(_entries(found, each, found).abs().sum())
            differences.append(difference(claimed, expected, middle, points, step, epsilon, magnitude))
        if all(differences[-1].verdict == "agree" for differences in tried):
            break
    along = " along a random direction" if data.ndim else ""
    name = lambda each: f"{label_of(each, rerun.request, found).text}{along}"  # noqa: E731
    return [f"{name(each)}: {_told(of)}" for each, of in zip(wanted, tried, strict=True) if of]


def _told(tried: list[Difference]) -> str:
    best, verdict = judged(tried)
    worst = int((best.claimed - best.numeric).abs().argmax()) if best.claimed.numel() else None
    claimed, numeric = (0.0 if worst is None else each[worst].item() for each in (best.claimed, best.numeric))
    return (
        f"{number(claimed).text}; by finite differences {number(numeric).text} ± {best.error:.1g} "
        f"(step {best.step:.1g}): {_VERDICTS[verdict]}"
    )


def _flat(run: Run, derivative: Derivative, found: Run) -> torch.Tensor:
    """The entries whose change `derivative` tells: all of them for a matrix, else their sum."""
    entries = _entries(run, derivative, found)
    return entries if derivative.matrix else entries.sum()[None]


def _entries(run: Run, derivative: Derivative, found: Run) -> torch.Tensor:
    data = plain(run.below(derivative)).detach().double()
    if data.shape != plain(found.below(derivative)).shape:
        raise CannotCheckError("the target has another shape where a source is moved a little")
    seeded = found.cotangent is not None and derivative.order == 1
    return (data * torch.as_tensor(plain(found.cotangent)) if seeded else data).flatten()


def _along(derivative: Any, displacement: torch.Tensor) -> torch.Tensor:
    """How much those entries change along `displacement`, says the value of a derivative."""
    return plain(derivative).double().reshape(-1, displacement.numel()) @ displacement.flatten()


def _by_torch(rerun: Rerun) -> list[str]:
    """The derivatives, against those of torch.autograd, which records what the ops do to the data."""
    found = rerun.found
    # One leaf for each tensor, which may have several labels. A tensor of torch's own is a constant to it here.
    ours = {label: each for label, each in found.tensors.items() if isinstance(each, ts.Tensor)}
    copies = {id(each): each.data.detach().clone().requires_grad_() for each in ours.values()}
    leaves = {label: copies[id(each)] for label, each in ours.items()}
    with torch.enable_grad():
        again = rerun.again(leaves)
        if not again.target.requires_grad:
            raise CannotCheckError("torch.autograd sees no path from the sources to the target")
        try:
            notes = _compared(rerun, again, leaves)
        except RuntimeError as error:
            raise CannotCheckError(f"torch.autograd raised {type(error).__name__}: {error}") from error
    left = [label for label in found.tensors if label not in leaves]
    return notes + [f"{label}: not checked, as to torch.autograd a parameter is a constant here" for label in left]


def _compared(rerun: Rerun, again: Run, leaves: dict[str, torch.Tensor]) -> list[str]:
    found = rerun.found
    below: dict[tuple[int, str | None], torch.Tensor] = {(0, None): again.target}
    notes: list[str] = []
    for each in found.derivatives:
        if each.by not in leaves or (each.order - 1, each.of) not in below:
            continue
        y, x = below[each.order - 1, each.of], leaves[each.by]
        if each.matrix:
            rows = [_torchs(entry, x) for entry in y.flatten()]
            torchs = torch.stack(rows).reshape(each.value.shape) if rows else torch.zeros_like(each.value.data)
        else:
            torchs = _torchs(y, x, again.cotangent if each.order == 1 else None)
            below[each.order, each.by] = torchs
        ours, torchs = each.value.data, torchs.detach()
        epsilon = torch.finfo(x.dtype).eps
        tolerance = max(8 * epsilon, min(100 * epsilon, 0.001))
        size = max(largest(torchs[torchs.isfinite()]), largest(ours[ours.isfinite()]))
        apart = largest((ours - torchs)[~(ours == torchs)])
        if torch.isclose(ours, torchs, rtol=0.0, atol=tolerance * size, equal_nan=True).all():
            verdict = "agree"
        elif size <= tolerance * largest(y.detach()) / max(1.0, largest(x.detach())):  # what rounding alone would leave
            verdict = "rough"
        else:
            verdict = "disagree"
        name = label_of(each, rerun.request, found).text
        notes.append(f"{name}: the largest difference from torch.autograd is {apart:.2g}: {_VERDICTS[verdict]}")
    return notes


def _torchs(y: torch.Tensor, x: torch.Tensor, cotangent: Any = None) -> torch.Tensor:
    """What torch.autograd finds for the derivative of `y`, or of its sum, by `x`."""
    if not y.requires_grad:
        return torch.zeros_like(x)
    seed = torch.ones_like(y) if cotangent is None else torch.as_tensor(cotangent).to(y)
    (found,) = torch.autograd.grad(y, x, seed, create_graph=True, materialize_grads=True, allow_unused=True)
    return found
