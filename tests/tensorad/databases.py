"""torch's own databases of operators and modules as the yardstick: every sample of each, against torch.autograd.

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
    """What the samples of an entry came to: how many passed at each order, and what is wrong with the others."""

    name: str
    first: int = 0
    second: int = 0
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
    seed()
    for number, sample in enumerate(itertools.islice(op.sample_inputs("cpu", dtype, requires_grad=True), cap)):
        values, form = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))

        def function(*values: Any, form: Any = form, sample: Any = sample) -> list[Any]:
            given, args, kwargs = pytree.tree_unflatten(list(values), form)
            out = method(op.op, given)(given, *args, **kwargs)
            process = sample.output_process_fn_grad
            return pytree.tree_leaves(process(out) if process else out)

        wanted = [isinstance(value, torch.Tensor) and value.requires_grad for value in values]
        compare(verdict, f"sample {number}", function, values, wanted, 2 if op.supports_gradgrad else 1)
    return verdict


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
    order, missing = listed("Different on purpose").get(verdict.name), verdict.name in listed("Without a rule")
    wrong = [each for each in verdict.wrong if order is None or not each.endswith(f": {order} order")]
    return wrong + verdict.norule * (not missing)


def verdicts(cap: int | None, words: list[str]) -> Iterator[tuple[str, Verdict]]:
    """Each database's name with the verdict on each of its entries."""
    wanted = lambda name: not words or any(word in name for word in words)  # noqa: E731
    for title, dtype in (("real", torch.float64), ("complex", torch.complex128)):
        for op in operators(dtype):
            if wanted(name_of(op)):
                yield title, judge_operator(op, dtype, cap)
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
        counts[title, "entries that pass at second order"] += verdict.kind == "pass" and verdict.second > 0
        if problems:
            print(f"{title:8} {verdict.name:44} {verdict.first} samples pass; {problems[0][:200]}")
    for (title, kind), count in sorted(counts.items()):
        print(f"{title}: {count} {kind}")
    print(f"{faults} entries that no page lists; {time.perf_counter() - started:.0f} s")
    return faults > 0


if __name__ == "__main__":
    sys.exit(main())
