"""tensorad: automatic differentiation that can be read.

PyTorch holds the numbers; every derivative is worked out here, in contexts that nest, to any order.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from tensorad import creation, operators, pieces, random, rules, tree
from tensorad.checkpoint import checkpoint
from tensorad.creation import tensor
from tensorad.errors import (
    ArgumentError,
    ContextError,
    ConventionWarning,
    InPlaceError,
    MissingPackageError,
    MutationError,
    NonFiniteError,
    NoRuleError,
    NotDifferentiableError,
    NotRecordedError,
    PrecisionWarning,
    RuleError,
    ShapeError,
    TensorADError,
    UnconnectedError,
    UnconnectedWarning,
)
from tensorad.grad import Grad
from tensorad.modules import functional_call
from tensorad.notebook import load_ipython_extension, unload_ipython_extension
from tensorad.op import OPS as _OPS
from tensorad.op import defrule
from tensorad.op import find as _find
from tensorad.override import override
from tensorad.primitive import primitive
from tensorad.rule import rule
from tensorad.stop import stop_gradient
from tensorad.tensor import Tensor
from tensorad.transforms import grad, hessian, hvp, jacobian, jvp, linearize, value_and_grad, vjp

if TYPE_CHECKING:
    from tensorad.compare import gradcheck
    from tensorad.examine import check_rule

creation.attach()
pieces.attach()
operators.attach()

__version__ = "0.1.0"

_TOOLS = {"check_rule": "tensorad.examine", "gradcheck": "tensorad.compare"}  # imported when they are asked for
_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
__all__ = [
    "ArgumentError",
    "ContextError",
    "ConventionWarning",
    "Grad",
    "InPlaceError",
    "MissingPackageError",
    "MutationError",
    "NoRuleError",
    "NonFiniteError",
    "NotDifferentiableError",
    "NotRecordedError",
    "PrecisionWarning",
    "RuleError",
    "ShapeError",
    "Tensor",
    "TensorADError",
    "UnconnectedError",
    "UnconnectedWarning",
    "check_rule",
    "checkpoint",
    "defrule",
    "functional_call",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "linearize",
    "load_ipython_extension",
    "override",
    "primitive",
    "random",
    "rule",
    "rules",
    "stop_gradient",
    "tensor",
    "tree",
    "unload_ipython_extension",
    "value_and_grad",
    "vjp",
]


def __getattr__(name: str) -> Any:
    """The ops of the table under torch's names (`sin`, `matmul`, ...), the functions that make tensors, the dtypes."""
    if name in _TOOLS:
        return getattr(import_module(_TOOLS[name]), name)
    if name in _OPS:
        return _OPS[name]
    if name in _DTYPES:
        return _DTYPES[name]
    raise AttributeError(f"module 'tensorad' has no attribute {name!r}")


def __dir__() -> list[str]:
    torchs = {call for name, call in _OPS.items() if _find(name)}  # not what rules alone are written in
    ops = [name for name, call in _OPS.items() if name.isidentifier() and not name.startswith("_") and call in torchs]
    return sorted({*__all__, *_DTYPES, *ops})
