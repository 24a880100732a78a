"""torch's own databases of operators and modules as the yardstick: every sample of each, against torch.autograd.

Forward mode is held against reverse mode, <c, J t> = <J* c, t>, and against torch.func.jvp where torch has it.

`python tests/tensorad/databases.py` judges all of it; `--cap 3` three samples of each entry, and words name entries.
"""

import argparse
import copy
import functools
import itertools
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
from oracle import differentiable, project
from torch.testing._internal import common_utils
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.utils import _pytree as pytree

import tensorad as ts

common_utils.extract_test_fn = lambda: None  # at each sample it would go through the stack, for a unittest to tell
COVERAGE = Path(__file__).parents[2] / "docs" / "coverage.md"


@dataclass
class Verdict:
    """What the samples of an entry came to: how many passed at each order, and what is wrong with the others.

    In forward mode, those that agree with reverse mode, and of these the ones that torch.func.jvp was there to judge.
    """

    name: str
    first: int = 0
    second: int = 0
    forward: int = 0
    forward_as_torch: int = 0
    norule: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return "wrong" if self.wrong else "norule" if self.norule else "pass"


def operators(dtype: torch.dtype = torch.float64) -> list[Any]:
    """The entries of torch's database of operators that are differentiable in `dtype` on the CPU."""
    return [op for op in op_db if op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")]


def name_of(op: Any) -> str:
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name


def judge_operator(op: Any, dtype: torch.dtype = torch.float64, cap: int | None = None) -> Verdict:
    """Compare values and gradients, at second order too where torch has it, on the first `cap` samples."""
    verdict = Verdict(name_of(op))
    for sample, function, values, wanted in samples_of(op, dtype, cap):
        compare(verdict, sample, function, values, wanted, 2 if op.supports_gradgrad else 1)
    return verdict


def judge_forward(op: Any, dtype: torch.dtype = torch.float64, cap: int | None = None) -> Verdict:
    """Compare forward mode with reverse mode, and with torch's where it has one, on the first `cap` samples."""
    verdict = Verdict(name_of(op))
    for sample, function, values, wanted in samples_of(op, dtype, cap):
        compare_modes(verdict, sample, function, values, wanted, op.supports_forward_ad)
    return verdict


def samples_of(op: Any, dtype: torch.dtype, cap: int | None) -> Iterator[tuple[str, Any, list[Any], list[bool]]]:
    """Each sample's name, the operator as a function of values, these, and which of them to differentiate by."""
    seed()
    for number, sample in enumerate(itertools.islice(op.sample_inputs("cpu", dtype, requires_grad=True), cap)):
        values, form = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))

        def function(*values: Any, form: Any = form, sample: Any = sample) -> list[Any]:
            given, args, kwargs = pytree.tree_unflatten(list(values), form)
            out = method(op.op, given)(given, *args, **kwargs)
            process = sample.output_process_fn_grad
            return pytree.tree_leaves(process(out) if process else out)

        wanted = [isinstance(value, torch.Tensor) and value.requires_grad for value in values]
        yield f"sample {number}", function, values, wanted


def method(function: Any, given: Any) -> Any:
    """`function`, or what is called by its name if it is a method of torch.Tensor that only torch tensors may call."""
    if isinstance(given, ts.Tensor) and hasattr(function, "__objclass__"):
        return lambda self, *args, **kwargs: getattr(self, function.__name__)(*args, **kwargs)
    return function


def judge_module(info: Any, cap: int | None = None) -> Verdict:
    """Compare the gradients by inputs and parameters, and the buffers after the call, in training and evaluation."""
    verdict = Verdict(info.name)
    for training in (True, False) if info.train_and_eval_differ else (True,):
        seed()
        options = {"device": "cpu", "dtype": torch.float64, "requires_grad": True, "training": training}
        for number, sample in enumerate(itertools.islice(info.module_inputs_func(info, **options), cap)):
            made, given = sample.constructor_input, sample.forward_input
            module = info.module_cls(*made.args, **made.kwargs).to(torch.float64).train(training)
            values, form = pytree.tree_flatten((given.args, given.kwargs))
            # The module runs on Tensors: at least one of its inputs is one, if only an index.
            wanted = [isinstance(value, torch.Tensor) and value.requires_grad for value in values]
            if not any(wanted):
                wanted = [isinstance(value, torch.Tensor) for value in values]
            judge_call(verdict, f"sample {number}, training {training}", module, values, form, wanted)
    return verdict


def judge_call(verdict: Verdict, sample: str, module: Any, values: Any, form: Any, wanted: list[bool]) -> None:
    modules = []

    def function(*values: Any) -> list[Any]:
        modules.append(copy.deepcopy(module))  # which has parameters, buffers and draws of its own
        args, kwargs = pytree.tree_unflatten(list(values), form)
        return pytree.tree_leaves(modules[-1](*args, **kwargs))

    compare(verdict, sample, function, values, wanted, 1, lambda: modules[-1].parameters())
    ours = not verdict.norule and [
        wish and isinstance(value, torch.Tensor) and differentiable(value)
        for wish, value in zip(wanted, values, strict=True)
    ]
    if ours and any(ours):
        compare_modes(verdict, sample, lambda *values: function(*values), values, ours, False)
        del modules[2:]
    if len(modules) == 2:
        for mine, torchs in zip(modules[1].buffers(), modules[0].buffers(), strict=True):
            if not close(mine, torchs):
                verdict.wrong.append(f"{sample}: a buffer")


def compare(
    verdict: Verdict, sample: str, function: Any, values: list[Any], wanted: list[bool], order: int,
    parameters: Any = lambda: (),
) -> None:  # fmt: skip
    """Add to `verdict` how the gradients of `function` by the wanted values compare."""
    try:
        expected = by_torch(function, values, wanted, order, parameters)
    except (RuntimeError, NotImplementedError, TypeError, IndexError):  # torch itself has no such derivative
        return compare(verdict, sample, function, values, wanted, 1, parameters) if order == 2 else None
    if expected is None:
        return
    try:
        found = by_tensorad(function, values, wanted, order, parameters)
    except ts.NoRuleError as error:
        verdict.norule.append(f"{sample}: {str(error).splitlines()[0]}")
        return
    except Exception as error:
        verdict.wrong.append(f"{sample}: {type(error).__name__}: {error}")
        return
    for what, mine, torchs in zip(("shape", "value", "first order", "second order"), found, expected, strict=False):
        if not (mine == torchs if what == "shape" else len(mine) == len(torchs) and all(map(close, mine, torchs))):
            verdict.wrong.append(f"{sample}: {what}")
            return
    verdict.first += 1
    verdict.second += order == 2


def compare_modes(
    verdict: Verdict, sample: str, function: Any, values: list[Any], wanted: list[bool], torch_has_it: bool
) -> None:
    """Add to `verdict` how forward mode compares with reverse mode, and with torch's forward mode."""
    primals = [value.detach() for value, wish in zip(values, wanted, strict=True) if wish]
    tangents = [drawn(each, place) for place, each in enumerate(primals)]

    def of_primals(*primals: Any) -> list[Any]:
        given = iter(primals)
        torch.manual_seed(7)
        return tensors(
            function(*[next(given) if wish else copied(each, False) for each, wish in zip(values, wanted, strict=True)])
        )

    try:
        out, pull = ts.vjp(of_primals, *map(ts.tensor, primals))
    except (ts.NoRuleError, ts.NotRecordedError, ts.ArgumentError, RuntimeError):  # as the judge of reverse mode says
        return
    if not (primals and any(map(differentiable, out))):
        return
    # What is infinite or NaN has no derivative to compare.
    cotangents = [drawn(each.data, place).where(each.data.isfinite(), 0) for place, each in enumerate(out)]
    pulled = pull(cotangents)
    try:
        again, pushed = ts.jvp(of_primals, [*map(ts.tensor, primals)], tangents)
    except Exception as error:
        verdict.wrong.append(f"{sample}: {type(error).__name__}: {error}")
        return
    here = [each.data.where(value.data.isfinite(), 0) for each, value in zip(pushed, out, strict=True)]
    alike = all(map(close, data(again), data(out))) and shapes(again) == shapes(out) == shapes(pushed)
    back = inner(data(pulled), tangents)
    if back.isnan() and not all(each.data.isfinite().all() for each in out):  # by 0 * NaN
        return
    single = any(each.dtype in (torch.float32, torch.complex64) for each in [*primals, *out])
    precision = torch.float32 if single else torch.float64
    if not alike or not close(inner(cotangents, here).to(precision), back.to(precision)):
        verdict.wrong.append(f"{sample}: forward against reverse")
        return
    verdict.forward += 1
    if torch_has_it:
        try:
            _, expected = torch.func.jvp(of_primals, tuple(primals), tuple(tangents))
        except (RuntimeError, NotImplementedError, TypeError, IndexError, ValueError):
            return
        if not all(map(close, data(pushed), expected)):
            verdict.wrong.append(f"{sample}: forward against torch")
            return
        verdict.forward_as_torch += 1


def drawn(like: torch.Tensor, number: int) -> torch.Tensor:
    """Random numbers in the shape and the dtype of `like`, such as half precision has too; zeros for integers."""
    if not differentiable(like):
        return torch.zeros_like(like)
    dtype = torch.complex128 if like.is_complex() else torch.float64
    numbers = torch.randn(like.shape, generator=torch.Generator().manual_seed(number), dtype=dtype)
    parts = torch.view_as_real(numbers) if like.is_complex() else numbers
    parts.copy_((8 * parts).round() / 8)
    return numbers.to(like.dtype)


def inner(some: Any, others: Any) -> torch.Tensor:
    """The real part of the inner product of two lists of tensors."""
    pairs = [(one.to(torch.complex128), other.to(torch.complex128)) for one, other in zip(some, others, strict=True)]
    return sum([(one.conj() * other).sum() for one, other in pairs], torch.zeros(())).real


def by_torch(function: Any, values: list[Any], wanted: list[bool], order: int, parameters: Any) -> Any:
    inputs = [copied(value, wish) for value, wish in zip(values, wanted, strict=True)]
    torch.manual_seed(7)
    outputs = tensors(function(*inputs))
    sources = [value for value in [*inputs, *parameters()] if isinstance(value, torch.Tensor) and value.requires_grad]
    total = project(outputs, 1)
    if not differentiable(total) or not total.requires_grad:
        return None
    first = torch.autograd.grad(total, sources, create_graph=order == 2, allow_unused=True)
    found = [shapes(outputs), [total.detach()], [None if each is None else each.detach() for each in first]]
    if order == 2:
        again = project([each for each in first if each is not None], 2)
        connected = differentiable(again) and again.requires_grad
        second = torch.autograd.grad(again, sources, allow_unused=True) if connected else [None] * len(sources)
        found.append(list(second))
    return found


def by_tensorad(function: Any, values: list[Any], wanted: list[bool], order: int, parameters: Any) -> Any:
    inputs = [
        ts.tensor(value.detach()) if wish else copied(value, False) for value, wish in zip(values, wanted, strict=True)
    ]
    torch.manual_seed(7)
    with ts.Grad() as outer:
        with ts.Grad() as inner:
            outputs = tensors(function(*inputs))
            total = project(outputs, 1)
        sources = [value for value in inputs if isinstance(value, ts.Tensor) and differentiable(value)]
        sources += [each for each in parameters() if each.requires_grad]
        first = gradients(inner, total, sources)
        again = project([each for each in first if each is not None], 2) if order == 2 else 0.0
    plain = gradients(inner, total, sources)
    assert all(map(close, data(plain), data(first))), "the first order depends on whether it is recorded"
    found = [shapes(outputs), [total.data], data(plain)]
    if order == 2:
        found.append(data(gradients(outer, again, sources) if differentiable(again) else [None] * len(sources)))
    return found


def gradients(context: ts.Grad, target: Any, sources: list[Any]) -> list[Any]:
    """The gradients as a list, that of a single source too."""
    return context.gradient(target, {"": sources}, unconnected="none")[""]


def copied(value: Any, wish: bool) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    copy = value.detach().clone()
    return copy.requires_grad_() if wish and differentiable(value) else copy


def tensors(outputs: list[Any]) -> list[Any]:
    return [each for each in outputs if isinstance(each, torch.Tensor | ts.Tensor)]


def shapes(outputs: list[Any]) -> list[Any]:
    return [(tuple(each.shape), each.dtype) for each in outputs]


def data(found: list[Any]) -> list[Any]:
    return [None if each is None else each.data for each in found]


def close(mine: Any, torchs: Any) -> bool:
    if mine is None or torchs is None:  # which is the same gradient as zeros
        return all(each is None or close(each, torch.zeros_like(each)) for each in (mine, torchs))
    same = mine.shape == torchs.shape and mine.dtype == torchs.dtype
    loose = 1000 if mine.dtype in (torch.float32, torch.complex64) else 1
    return same and torch.allclose(mine, torchs, rtol=loose * 1e-6, atol=loose * 1e-7, equal_nan=True)


def seed() -> None:
    torch.manual_seed(0)
    numpy.random.seed(0)


@functools.cache
def listed(heading: str) -> dict[str, str]:
    """The entries in the table under `heading` in docs/coverage.md, and at which order they differ."""
    section = COVERAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    return {name.strip(" `"): order.strip() for names, order in rows for name in names.split(",")}


def unlisted(verdict: Verdict) -> list[str]:
    """What is wrong, or has no rule, and is not what the page says of this entry."""
    orders = listed("Different on purpose").get(verdict.name, "").split(", ")
    allowed = tuple([f": {order} {'against torch' if order == 'forward' else 'order'}" for order in orders])
    wrong = [each for each in verdict.wrong if not each.endswith(allowed)]
    return wrong + verdict.norule * (verdict.name not in listed("Without a rule"))


def verdicts(cap: int | None, words: list[str]) -> Iterator[tuple[str, Verdict]]:
    """Each database's name with the verdict on each of its entries."""
    wanted = lambda name: not words or any(word in name for word in words)  # noqa: E731
    for title, dtype in (("real", torch.float64), ("complex", torch.complex128)):
        for op in operators(dtype):
            if wanted(name_of(op)):
                yield title, judge_operator(op, dtype, cap)
                yield f"{title}, forward", judge_forward(op, dtype, cap)
    for info in module_db:
        if wanted(info.name):
            yield "modules", judge_module(info, cap)


def main() -> int:
    """Judge all that is asked for; the exit status says whether there was a wrong answer that no page lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cap", type=int, help="how many samples of each entry (by default, all)")
    parser.add_argument("words", nargs="*", help="parts of the names of the entries (by default, all)")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    started = time.perf_counter()
    counts: Counter[tuple[str, str]] = Counter()
    faults = 0
    for title, verdict in verdicts(given.cap, given.words):
        problems = unlisted(verdict) if not given.words else [*verdict.wrong, *verdict.norule]
        faults += bool(problems)
        counts[title, verdict.kind] += 1
        counts[title, "samples at first order"] += verdict.first
        counts[title, "samples at second order"] += verdict.second
        counts[title, "samples in forward mode"] += verdict.forward
        counts[title, "samples in forward mode as torch's"] += verdict.forward_as_torch
        counts[title, "entries that pass at second order"] += verdict.kind == "pass" and verdict.second > 0
        if problems:
            print(f"{title:16} {verdict.name:44} {verdict.first or verdict.forward} samples pass; {problems[0][:200]}")
    for (title, kind), count in sorted((+counts).items()):
        print(f"{title}: {count} {kind}")
    print(f"{faults} entries that no page lists; {time.perf_counter() - started:.0f} s")
    return faults > 0


if __name__ == "__main__":
    sys.exit(main())
