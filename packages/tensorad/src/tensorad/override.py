"""`override`: other rules for an op, for the length of a block."""

import inspect
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from tensorad.call import Op
from tensorad.errors import ArgumentError, RuleError
from tensorad.node import recording
from tensorad.op import ROWS, Rule, made, take_over
from tensorad.pieces import through_pieces
from tensorad.rule import call_of
from tensorad.several import JointOp, OpWithOutputs
from tensorad.tensor import TABLE

Call = Callable[..., Any]
# In this thread and task, innermost last: the call that answers for an op without a block, and the one in the block.
_replaced: ContextVar[tuple[tuple[Call, Call], ...]] = ContextVar("replaced", default=())
_dispatching: dict[Call, Call] = {}  # that call -> what looks up in `_replaced` and stands in its place
_blocks: Counter[Call] = Counter()  # how many blocks are open that need it there
_lock = threading.Lock()


@contextmanager
def override(
    function: Any, *, joint: tuple[str, Rule] | None = None, outputs: bool = False, **rules: Rule
) -> Generator[Op]:  # fmt: skip
    """Give an op other rules for the length of a block: `with ts.override(torch.round, input=lambda g: g): ...`

    What is recorded in the block is differentiated by these rules, whenever that is asked for; values stay what they
    are. So experiments take a line: a straight-through estimator, a clipped gradient, another convention at a corner.
    The block holds for this thread and task, blocks nest, and the innermost counts. It reaches the op by any of its
    names (`torch.relu(x)`, `x.relu()`, `torch.nn.ReLU()`), but not what was taken out of tensorad before (`relu =
    ts.relu`).

    Args:
        function: such as `torch.relu`, `torch.Tensor.relu`, `tensorad.relu` or `"relu"`.
        joint: as for `defrule`, for an op whose operands have one rule together.
        outputs: as for `defrule`, for a function that is made of several ops (`torch.sort`) and has several outputs.
        rules: as for `defrule`, one for each operand that gets another one: a line of PyTorch of `g` and of what it
            names, arguments of the op by name, `<argument>_shape` or `out`. The other operands keep theirs.

    Yields:
        The `Op` that answers in the block.

    Raises:
        ArgumentError: if `function` is no function of torch's that can be called on Tensors.
        RuleError: if a rule names something that the op does not have, as by `defrule`.

    Examples:
        >>> import torch, tensorad as ts
        >>> x = ts.tensor([0.4, 2.6])
        >>> with ts.override(torch.round, input=lambda g: g), ts.Grad() as g:
        ...     y = (x * torch.round(x)).sum()
        >>> g.gradient(y, x)  # round(x) is 0 and 3, and its slope is taken for 1
        Tensor([0.4000, 5.6000])
    """
    old, op, new = _replacement(function, joint, outputs, rules)
    entry = (old, new)
    with _looked_up(old):
        _replaced.set((*_replaced.get(), entry))
        try:
            yield op
        finally:
            # By identity, not by position: a generator that is closed late may leave its block after one inside.
            _replaced.set(tuple([each for each in _replaced.get() if each is not entry]))


@contextmanager
def _looked_up(old: Call) -> Generator[None]:
    """A span in which what answers for an op is looked up in `_replaced`, by all threads."""
    with _lock:
        if not _blocks[old]:
            _put_in_place_of(old)
        _blocks[old] += 1
    try:
        yield
    finally:
        with _lock:
            _blocks[old] -= 1
            if not _blocks[old]:
                del _blocks[old]
                _put_back(old)


@contextmanager
def as_before() -> Generator[None]:
    """A span in which the blocks hold that were open when this context (of contextvars) was copied."""
    with ExitStack() as stack:
        for old, _ in _replaced.get():
            stack.enter_context(_looked_up(old))
        yield


def _replacement(
    function: Any, joint: tuple[str, Rule] | None, outputs: bool, rules: dict[str, Rule]
) -> tuple[Call, Op, Call]:
    """What answers for `function` without a block, the op with the other rules, and its call."""
    found = call_of(function)
    old = next((each for each, by in _dispatching.items() if by is found), found)
    if callable(old):
        old = inspect.unwrap(old, stop=ROWS.__contains__)  # what allows inplace=, say
    if old not in [*_dispatching, *ROWS, *TABLE.values(), *torch.overrides.get_testing_overrides()]:
        raise ArgumentError(f"{function!r} is no function of torch's that tensorad knows of")
    if not joint and not rules:
        raise RuleError(f"which rule? with override({old.__name__}, <argument>=lambda g, ...: ...)")
    row = ROWS.get(old)
    if not isinstance(row, Op):  # it is composed of others, or goes through its pieces: in the block, it is one op
        torchs = next((key for key, value in TABLE.items() if value is found), old)
        name = old.__name__.rpartition(".")[2]

        def alone(*args: Any, **kwargs: Any) -> Any:
            out = torchs(*args, **kwargs)
            if not isinstance(out, torch.Tensor):
                raise RuleError(f"{name} has several outputs: override({name}, outputs=True, ...), and g is a tuple")
            return out

        computed = torchs if outputs else alone
        op, call, _ = made(f"{name}({_parameters(torchs)})", computed, outputs, joint, None, False, rules)
        return old, op, call
    if isinstance(row, JointOp) and not joint:
        (operands,) = row.rules
        raise RuleError(f"{row.signature} has one rule for all operands: give joint=({operands!r}, rule)")
    kept = {} if joint else {**row.rules, **rules}
    named = {name for rule in [*kept.values(), *(joint or ())[1:]] for name in rule.__code__.co_varnames}
    computed = row.computed if isinstance(row, OpWithOutputs) else row.function
    function = computed
    if "residuals" in row.saves and "residuals" not in named:
        function = lambda *args, **kwargs: computed(*args, **kwargs)[0]  # noqa: E731
    op, call, _ = made(row.signature, function, isinstance(row, OpWithOutputs), joint, None, False, kept)
    return old, op, call


def _parameters(torchs: Any) -> str:
    """The parameters of a torch function, as far as torch tells."""
    known = torch.overrides.get_testing_overrides().get(torchs)
    parameters = inspect.signature(known).parameters.values() if known else []
    return ", ".join(str(each) for each in parameters if each.name != "out") or "input"


def _put_in_place_of(old: Call) -> None:
    """Let what looks up in `_replaced` answer wherever `old` does."""
    known = old in ROWS or old in TABLE.values()
    fallback = old if known else through_pieces(old)

    def either(*args: Any, **kwargs: Any) -> Any:
        # Rules are written in ops too: in them, while a derivative is worked out, the table holds as it stands.
        asking = recording.get().site is not None
        new = next((new for each, new in reversed(_replaced.get()) if each is old), fallback)
        return (fallback if asking else new)(*args, **kwargs)

    either.__name__ = old.__name__
    _dispatching[old] = either
    if known:
        take_over(old, either)
    else:
        TABLE[old] = either
    if old in ROWS:
        ROWS[either] = ROWS[old]


def _put_back(old: Call) -> None:
    either = _dispatching.pop(old)
    ROWS.pop(either, None)
    if TABLE.get(old) is either:
        del TABLE[old]
    else:
        take_over(either, old)
