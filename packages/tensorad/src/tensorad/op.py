"""The table of ops: which call answers for which torch function, and how a row is added."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from tensorad.call import Op
from tensorad.call import scope as call_scope
from tensorad.conversions import note_cut
from tensorad.errors import RuleError
from tensorad.operands import INERT, keywords, lifted, plain, torchs_names
from tensorad.several import JointOp, JointOpWithOutputs, OpWithOutputs
from tensorad.tensor import TABLE, Tensor

Rule = Callable[..., Any]
KINDS = {(False, False): Op, (False, True): OpWithOutputs, (True, False): JointOp, (True, True): JointOpWithOutputs}
OPS: dict[str, Callable[..., Any]] = {}  # the public name of an op -> its call
SETTLED = {Tensor, *INERT}  # types of arguments that a function made of ops is given as they are
ROWS: dict[Callable[..., Any], Any] = {}  # a call -> its Op; the function, if it is composed; None, for a constant


def spaces() -> tuple[Any, ...]:
    """Where torch keeps functions under one name that mean one thing."""
    return torch, torch.nn.functional, torch.special, torch.Tensor


def find(name: str) -> list[Any]:
    """Every torch callable that `name` means: `sin` is torch.sin and torch.Tensor.sin; `linalg.det` is only itself."""
    if "." in name:
        path, found = name.split("."), torch
        for part in path:
            found = getattr(found, part, None)
        return [found] if found is not None else []
    return [getattr(space, name) for space in spaces() if hasattr(space, name)]


def typed(name: str) -> str:
    """The name, or signature, as users type it: without the path to what torch's Python function of that name calls."""
    if not name.startswith("_C."):
        return name
    short = name.removeprefix("_C._nn.").removeprefix("_C._VariableFunctions.")
    return short if find(short.partition("(")[0]) else name


def register(name: str, call: Callable[..., Any], *aliases: str) -> None:
    """Let `call` answer for `name` and `aliases`: as torch's functions, as Tensor methods and as `ts.name`."""
    if call.__doc__ is None:
        describe(call, name)
    for each in (name, *aliases):
        for function in find(each):
            TABLE[function] = call
        OPS[each] = call
        if not each.startswith("ops."):
            OPS.setdefault(each.rpartition(".")[2], call)  # nn.functional.linear is tensorad.linear
        if hasattr(torch.Tensor, each):
            setattr(Tensor, each, call)


def describe(call: Callable[..., Any], form: str, notes: str | None = None) -> None:
    """Give a call its name, and its docstring: what is torch's about it, and where its derivative is shown."""
    form = typed(form)
    name = call.__name__ = call.__qualname__ = form.partition("(")[0]
    same = "with the same arguments, shapes and dtypes, and the same errors"
    first = f"torch's `{form}`, on Tensors: {same}." if find(name) else f"`{form}`, on Tensors."
    about = f"""The contexts that are open record each result of a floating or complex dtype, unless all operands are
    constants. `tensorad.rule("{name}")` shows the derivative: its formulas, their source, what a corner gets."""
    call.__doc__ = "\n\n    ".join(filter(None, [first, notes, about]))


def take_over(old: Callable[..., Any], new: Callable[..., Any]) -> None:
    """Let `new` answer wherever `old` did, under its other names and as an operator."""
    for table in TABLE, OPS:
        table.update({key: new for key, value in table.items() if value is old})
    for attribute in [key for key, value in vars(Tensor).items() if value is old]:
        setattr(Tensor, attribute, new)


def defrule(
    signature: str,
    *aliases: str,
    function: Callable[..., Any] | None = None,
    outputs: bool = False,
    joint: tuple[str, Rule] | None = None,
    needed_for: Mapping[str, str] | None = None,
    linear: bool = False,
    forward: Mapping[str, Rule] | None = None,
    **rules: Rule,
) -> Op:
    """Add an op to the table: its signature in torch's own names, and a rule per operand that has a derivative.

    A rule is linear in its first parameter `g`, the cotangent of the op's output, and returns the operand's cotangent.
    Its other parameters say what it needs: arguments of the op by name, `out`, or `<argument>_shape`. Broadcasting and
    dtype promotion are undone by the engine. A rule runs on torch tensors, and on Tensors when it is itself recorded,
    so it must be written in functions that have rules.

    Args:
        signature: such as `"sum(input, dim=None, keepdim=False)"`. The name is looked up in torch, torch.nn.functional,
            torch.special and torch.Tensor, unless `function` is given.
        aliases: other names of the same function.
        function: what computes the op on torch tensors; by default torch's own function of that name.
        outputs: the function returns several tensors; `g` is then a tuple with one cotangent for each.
        joint: instead of one rule per operand, the operands' names in one string and a rule that returns one cotangent
            for each of them. The name `tensors` stands for an operand that is a list. Such a rule may also name
            `wanted`: a bool for each operand, whether its cotangent is of use (None will do where it is not).
        needed_for: operands that a joint rule needs for the cotangent of one operand only, which is the other name:
            they are saved where that one is no constant.
        linear: the op is linear in its operands, taken together; `linear(...)` is `defrule(..., linear=True)`.
        forward: rules of forward mode, where the transposed ones would be slow: from the operand's tangent, in the
            place of `g`, to its share of the output's. They name nothing that the reverse rule of the same operand
            does not. For a joint rule, one that takes the list of tangents (None for a constant).
        rules: one rule per operand.

    Returns:
        The `Op`. It is called as `ts.name`, as `Tensor.name` where torch has such a method, and by torch's functions.

    Raises:
        RuleError: if a rule names something that the op does not have, or no function has that name; if the rule of a
            linear op needs the value of an operand.

    Examples:
        >>> import torch, tensorad as ts
        >>> op = ts.defrule(
        ...     "cube(input)", function=lambda x: x**3, input=lambda g, input: 3 * g * input**2
        ... )
        >>> x = ts.tensor(2.0)
        >>> with ts.Grad() as g:
        ...     y = ts.cube(x)
        >>> g.gradient(y, x)
        Tensor(12.)
    """
    op, call, ours = made(signature, function, outputs, joint, needed_for, linear, rules, forward)
    name = op.name
    if not ours and name in OPS:
        take_over(OPS[name], call)
    describe(call, signature)
    register(name, call, *aliases)
    ROWS[call] = op
    return op


def made(
    signature: str,
    function: Callable[..., Any] | None,
    outputs: bool,
    joint: tuple[str, Rule] | None,
    needed_for: Mapping[str, str] | None,
    linear: bool,
    rules: dict[str, Rule],
    forward: Mapping[str, Rule] | None = None,
) -> tuple[Op, Callable[..., Any], bool]:
    """The op of a row that `defrule` describes, its call, and whether it is one of our own tables."""
    name = signature.partition("(")[0]
    found = [function] if function else find(name)
    if not found:
        raise RuleError(f"torch has no function {name!r}; pass function= to say what computes it")
    _check_form(signature, joint, rules)
    kind = KINDS[bool(joint), outputs]
    op = kind(signature, dict([joint]) if joint else rules, found[0])
    op.linear = linear
    op.pushes = _in_order(op, forward) if forward else {}
    if isinstance(op, JointOp) and needed_for:
        op.needed_for = needed_for
    # The rows of our own tables are tested, so they are not checked at each import.
    modules = {rule.__module__ or "" for rule in op.rules.values()}
    ours = all(module.startswith("tensorad.rules.") for module in modules)
    op.elementwise = kind is Op and modules <= {"tensorad.rules.elementwise", "tensorad.rules.activations"}
    op.own_tangent = ours and linear and not forward
    if not ours:
        check_row(op)
    # What comes before an operand is a parameter of the call itself, under its own name: dim there is called axis too.
    names = [each.partition("=")[0] for each in op.arguments.split(", ")]
    leading = names[: max(map(names.index, op.operands))]
    return op, _with_numpy_names(op.call) if "dim" in leading else op.call, ours


linear = functools.partial(defrule, linear=True)


def check_row(op: Op) -> None:
    """That the arguments in a row's signature are what its rules name, and what its function takes."""
    try:
        declared = inspect.signature(eval(f"lambda {op.arguments}: 0")).parameters
    except (SyntaxError, NameError) as error:
        raise RuleError(f"{op.signature!r} is no signature: {error}") from error
    if clash := _RESERVED & {*declared}:
        raise RuleError(f"{op.signature}: an argument cannot be called {', '.join(sorted(clash))}; choose another name")
    for rule in op.rules.values():
        if (first := rule.__code__.co_varnames[0]) in declared and first != "g":
            raise RuleError(
                f"{op.signature}: the first parameter of a rule is the cotangent, and this one calls it {first}"
            )
    named = {name.removesuffix("_shape") for name in op.saves} | {*op.operands}
    if unknown := named - {*declared, "out", "residuals", *["wanted"] * op.joint}:
        unknown_names, known = ", ".join(sorted(unknown)), ", ".join(declared)
        raise RuleError(f"a rule of {op.signature} names {unknown_names}: no such argument, there is {known}")
    if op.linear and (values := {*op.operands, "out"} & {*op.saves}):
        raise RuleError(f"{op.signature} is said to be linear, but its rule needs {', '.join(sorted(values))}")
    for (key, rule), pushed in zip(op.rules.items(), op.pushes.values(), strict=False):
        if missing := {*_names(pushed)} - {*_names(rule)}:
            raise RuleError(
                f"{op.signature}: the forward rule of {key} names {', '.join(sorted(missing))}, and its reverse rule "
                "does not: only what that one names is saved"
            )
    _check_defaults(op, declared)


def _in_order(op: Op, forward: Mapping[str, Rule]) -> dict[str, Rule]:
    """The forward rules in the order of the reverse ones; there must be one for each, that can be read."""
    if {*forward} != {*op.rules}:
        raise RuleError(
            f"{op.signature}: forward= has a rule for each of {', '.join(op.rules)}, and not for {', '.join(forward)}"
        )
    if isinstance(op, OpWithOutputs):
        raise RuleError(f"{op.signature}: forward= is for ops with one output")
    for rule in forward.values():
        _check_function(op.signature, rule)
    return {key: forward[key] for key in op.rules}


def _names(rule: Rule) -> tuple[str, ...]:
    return rule.__code__.co_varnames[1 : rule.__code__.co_argcount]


# Names that mean something else in a written call, or that callers may write for `dim` and `keepdim`.
_RESERVED = {
    *call_scope,
    "op",
    "function",
    "contexts",
    "out",
    "residuals",
    "wanted",
    "args",
    "kwargs",
    "axis",
    "keepdims",
}


def _check_form(signature: str, joint: tuple[str, Rule] | None, rules: dict[str, Rule]) -> None:
    name, bracket, _ = signature.partition("(")
    if not (joint or rules) or not bracket or not signature.endswith(")"):
        raise RuleError(f"{signature!r}: a row is 'name(arguments)' with at least one rule")
    if not all(part.isidentifier() for part in name.split(".")):
        raise RuleError(f"{signature!r}: {name!r} is no name")
    if joint and rules:
        raise RuleError(f"{signature}: joint= stands for all rules")
    for rule in [joint[1]] if joint else rules.values():
        _check_function(signature, rule)


def _check_function(signature: str, rule: Any) -> None:
    code = getattr(rule, "__code__", None)
    if code is None or code.co_kwonlyargcount or not code.co_argcount:
        raise RuleError(f"{signature}: a rule is a Python function of g, and of what it needs by position: {rule!r}")


def _check_defaults(op: Op, declared: Mapping[str, inspect.Parameter]) -> None:
    """That the function has the defaults of the signature: those it runs with, these are what the rules are given."""
    try:
        actual = inspect.signature(op.function).parameters
    except ValueError:  # torch's own, builtins mostly, have none
        return
    if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in actual.values()):
        return
    for each in declared.values():
        if each.default is not each.empty and each.name not in op.operands:
            found = actual.get(each.name)
            if found is None or found.default != each.default:
                raise RuleError(f"{op.signature}: its function has no parameter {each}, of that name and default")


def composed(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let the decorated Python function, written in other ops, answer for torch's functions of these names."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        code = inspect.unwrap(function).__code__  # asking inspect.signature of each would take a quarter of the import
        takes_dim = "dim" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not SETTLED.issuperset(map(type, args)):
                args = lifted(args)
            if not SETTLED.issuperset(map(type, kwargs.values())):
                kwargs = lifted(kwargs)
            return function(*args, **torchs_names(kwargs) if takes_dim else kwargs)

        describe(call, names[0], function.__doc__)
        register(names[0], call, *names[1:])
        ROWS[call] = function
        return function

    return decorate


def _with_numpy_names(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **torchs_names(kwargs))

    return call


def constant(*names: str, function: Callable[..., Any] | None = None) -> None:
    """Declare ops whose results have no derivative (comparisons, argmax): never recorded, and so never saved for."""
    for name in names:
        call = _constant(name, function or find(name)[0])
        register(name, call)
        ROWS[call] = None


def _constant(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        note_cut(name)
        return wrapped(function(*plain(args), **keywords(kwargs)))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"torch's `{name}`, on Tensors. The result is a constant, since it has no derivative."
    return call


def wrapped(out: Any) -> Any:
    """Tensors for tensors, in tuples and lists too; sizes, bools and numbers as they are."""
    if isinstance(out, torch.Tensor):
        return Tensor(out)
    return type(out)(map(wrapped, out)) if isinstance(out, tuple | list) and type(out) is not torch.Size else out


def fused(kernel: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let `kernel`, one of torch's own, compute the decorated formula of a rule on torch tensors.

    Such a kernel does in one pass over memory what takes the formula one pass per operation. On Tensors, for higher
    orders, the formula itself runs.
    """

    def decorate(formula: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(formula)
        def either(g: Any, *args: Any) -> Any:
            return formula(g, *args) if isinstance(g, Tensor) else kernel(g, *args)

        return either

    return decorate
