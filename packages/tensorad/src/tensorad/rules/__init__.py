"""The derivative rules, as tables: one file per family of ops.

A row is `defrule(signature, operand=rule, ...)`; `tensorad.op.defrule` says what a rule may name. Two conventions hold
in every file. A rule reads as plain mathematics on real numbers and, unchanged, on complex ones: cotangents travel
unconjugated, and `Grad.gradient` conjugates at both ends to give torch's convention. And where a method does the same
as a function (`input.cos()`, `torch.cos(input)`), the method is written, since Tensors answer it with one call less.
"""

import gc

# Thousands of objects that stay for good are made here: no use to look among them, and all of torch's, for garbage.
_collecting = gc.isenabled()
gc.disable()
try:
    from tensorad.rules import (
        activations,
        attention,
        constants,
        convolution,
        copies,
        elementwise,
        fft,
        indexing,
        linalg,
        linear,
        losses,
        normalization,
        pooling,
        recurrent,
        reductions,
        resampling,
        segments,
        shapes,
    )
finally:
    if _collecting:
        gc.enable()

__all__ = [
    "activations",
    "attention",
    "constants",
    "convolution",
    "copies",
    "elementwise",
    "fft",
    "indexing",
    "linalg",
    "linear",
    "losses",
    "normalization",
    "pooling",
    "recurrent",
    "reductions",
    "resampling",
    "segments",
    "shapes",
]
