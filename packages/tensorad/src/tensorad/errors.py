"""What can go wrong, as types: each error is also the builtin that a user would catch."""


class TensorADError(Exception):
    """The base of every error that tensorad raises on purpose: `except ts.TensorADError` catches them all.

    Each is also the builtin that a user would catch. Its message says what happened, where, and what to do.
    """


class NoRuleError(TensorADError, NotImplementedError):
    """A torch function that has no derivative rule was applied to a Tensor; a NotImplementedError too.

    What to do: write it in functions that have rules, or add its rule with `defrule`, as the message shows. Functions
    of torch's own autograd are refused by it as well: ask a `Grad`.

    Examples:
        >>> import torch, tensorad as ts
        >>> try:
        ...     torch.autograd.grad(ts.tensor(1.0), ts.tensor(1.0))
        ... except ts.NoRuleError as error:
        ...     print(str(error).partition(",")[0])
        torch.autograd.grad is torch's own autograd
    """


class MutationError(TensorADError, RuntimeError):
    """A value that a rule needs was changed in place after it was saved; a RuntimeError too.

    What to do: change a copy, or ask for the gradient before the change. The message has the line that saved the value,
    and the one that changed it, as far as the program shows it.

    Examples:
        >>> import tensorad as ts
        >>> x = ts.tensor([1.0, 2.0])
        >>> with ts.Grad() as g:
        ...     y = x.square()
        >>> _ = x.data.mul_(2)
        >>> try:
        ...     g.gradient(y, x)
        ... except ts.MutationError as error:
        ...     print(str(error).partition(" at ")[0])
        a value that square saved
    """


class NotDifferentiableError(TensorADError, TypeError):
    """A target or a source whose values are integers or booleans; a TypeError too.

    What to do: make it with `dtype=ts.float32`, write `3.0` for `3`, or differentiate what it is computed from.
    """


class NotRecordedError(TensorADError, ValueError):
    """The target was not recorded by the context that is asked for its gradient; a ValueError too.

    What to do: compute it inside the block of this context, or ask the one that recorded it. The message says whether
    it was made before the context opened, after it closed, or under none. `unconnected="zero"` gives zeros instead.
    """


class UnconnectedError(TensorADError, ValueError):
    """The target does not depend on a source, and `unconnected="raise"` was asked for; a ValueError too.

    What to do: the message is what `Grad.why` says: the line that cut the path, as far as it is known.
    """


class ContextError(TensorADError, ValueError):
    """A context that was never entered, or was entered while it is open, or is asked for what it did not look for.

    It is a ValueError too. What to do: `with ts.Grad() as g: ...`; inside an open context, open another one.
    """


class RuleError(TensorADError, ValueError):
    """A rule that does not fit its op: it names what the op does not have, or returns what no cotangent can be.

    It is a ValueError too. What to do: the message says which rule, and what it should be like; `check_rule` looks for
    everything that can be wrong with one.
    """


class ArgumentError(TensorADError, TypeError):
    """An argument of the wrong kind: a foreign object as source, a list as target, an unknown option; a TypeError too.

    What to do: the message has the value, and what is taken in its place.
    """


class ShapeError(TensorADError, ValueError):
    """An argument of the wrong shape: a cotangent that does not match its target; a ValueError too.

    What to do: the message has both shapes. A cotangent has the target's shape, a tangent that of its primal.
    """


class InPlaceError(NoRuleError, TypeError):
    """A torch function that would change a Tensor in place, or write one into a torch tensor; a TypeError too.

    Tensors are values. What to do: write `t = t.exp()` for `t.exp_()`, `t[i] = v` to replace a part (`t` is a new value
    then), and leave `out=` away. To change the memory behind a Tensor, and nothing else, change `t.data`.
    """


class MissingPackageError(TensorADError, ImportError):
    """What was asked for needs a package that is not installed; an ImportError too.

    What to do: the message has the command: `pip install 'tensorad[pictures]'`, say.
    """


class NonFiniteError(TensorADError, FloatingPointError):
    """An op, or its rule, made a NaN or an infinity of finite numbers, under `Grad(check="nan")`.

    It is a FloatingPointError too. What to do: the message has the op, the line, the entries and what stood there.
    """


class ConventionWarning(UserWarning):
    """A gradient relied on conventions: it met entries on a corner or in a tie, under `Grad(check="corners")`.

    What to do: `Grad.corners` lists them; `override` gives an op another convention.
    """


class UnconnectedWarning(UserWarning):
    """A gradient came back as zeros although a path exists, or is likely to have been meant.

    What to do: compute inside the context what the message names; or say `unconnected="zero"`, if zeros are meant.
    """


class PrecisionWarning(UserWarning):
    """A derivative is compared with finite differences in a dtype that has too few digits to tell much.

    What to do: give `gradcheck` and `check_rule` float64: `x.double()`, or `dtype=ts.float64`.
    """
