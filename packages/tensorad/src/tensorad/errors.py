"""What can go wrong, as types: each error is also the builtin that a user would catch."""


class TensorADError(Exception):
    """The base of every error that tensorad raises on purpose."""


class NoRuleError(TensorADError, NotImplementedError):
    """A torch function that has no derivative rule was applied to a Tensor."""


class MutationError(TensorADError, RuntimeError):
    """A value that a rule needs was changed in place after it was saved."""


class NotDifferentiableError(TensorADError, TypeError):
    """A target or a source whose values are integers or booleans."""


class NotRecordedError(TensorADError, ValueError):
    """The target was not recorded by the context that is asked for its gradient."""


class UnconnectedError(TensorADError, ValueError):
    """The target does not depend on a source, and `unconnected="raise"` was asked for."""


class ContextError(TensorADError, ValueError):
    """A context that was never entered, or that was entered while it is open."""


class RuleError(TensorADError, ValueError):
    """A rule that does not fit its op: a name the op does not have, or a cotangent of the wrong shape."""


class ArgumentError(TensorADError, TypeError):
    """An argument of the wrong kind: a foreign object as source, a list as target."""


class ShapeError(TensorADError, ValueError):
    """An argument of the wrong shape: a cotangent that does not match its target."""


class InPlaceError(NoRuleError, TypeError):
    """A torch function that ends in an underscore has no rule: Tensors are values and are not changed in place."""


class MissingPackageError(TensorADError, ImportError):
    """What was asked for needs a package that is not installed: the message says which."""


class NonFiniteError(TensorADError, FloatingPointError):
    """An op made a NaN or an infinity, under `Grad(check="nan")`."""


class ConventionWarning(UserWarning):
    """A gradient relied on conventions: it went through entries on a corner or in a tie (`Grad(check="corners")`)."""


class UnconnectedWarning(UserWarning):
    """A gradient came back as zeros although a path exists, or is likely to have been meant."""


class PrecisionWarning(UserWarning):
    """A derivative is compared with finite differences in a dtype that has too few digits to tell much."""
