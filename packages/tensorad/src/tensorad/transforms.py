"""Derivatives of functions, as functions: what torch.func and JAX call transforms, over contexts and forward mode.

Each call of a transformed function opens a context of its own around the function, and nothing else: nested transforms
are nested contexts. Arguments are handed on as fresh values. What a function reaches past its arguments, through a
closure, is a constant to its derivative, even where it is the very Tensor that is an argument too: that keeps nests
apart.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import torch

from tensorad import tree
from tensorad.arguments import unalias
from tensorad.errors import ArgumentError, ShapeError
from tensorad.forward import Forward
from tensorad.run import (
    Argnums,
    Function,
    Run,
    directions,
    fresh,
    kind_of,
    name_of,
    outputs_of,
    released,
    split,
    tangent_of,
)


def grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """A function that gives the gradient of `f`, which returns a scalar, where `f` gives its value.

    Args:
        f: a function of Tensors, and of nests of them; what else it takes is handed on as it is.
        argnums: which argument to differentiate by, or a tuple of them.
        has_aux: whether `f` returns a pair, of which only the first is differentiated.

    Returns:
        A function of the arguments of `f`: it gives the gradient in the structure of the argument (a tuple of gradients
        for a tuple of argnums); with `has_aux`, that and the second result of `f`. Torch tensors and floats are taken
        for Tensors.

    Raises:
        ShapeError: when called, if `f` returns no scalar.
        ArgumentError: when called, if `f` returns a complex value or no Tensor, or has no such argument.
        NotDifferentiableError: when called, if the argument has an integer or boolean dtype.
        NotRecordedError: when called, if the result depends on nothing that was recorded, and something was cut on the
            way to it.

    Examples:
        >>> import tensorad as ts
        >>> ts.grad(lambda x: x**3)(ts.tensor(2.0))
        Tensor(12.)
        >>> ts.grad(ts.grad(lambda x: x**3))(ts.tensor(2.0))
        Tensor(12.)
    """
    both = value_and_grad(f, argnums, has_aux)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def value_and_grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """A function that gives the value of `f` and its gradient, from one run; `f` returns a scalar.

    Args:
        f: a function of Tensors, and of nests of them; what else it takes is handed on as it is.
        argnums: which argument to differentiate by, or a tuple of them.
        has_aux: whether `f` returns a pair, of which only the first is differentiated.

    Returns:
        A function of the arguments of `f`: it gives `(value, gradient)`, with `has_aux` `((value, aux), gradient)`. The
        gradient is as by `grad`.

    Raises:
        TensorADError: when called, the errors of `grad`.

    Examples:
        >>> import tensorad as ts
        >>> both = ts.value_and_grad(lambda w, x: (w * x).sum(), argnums=(0, 1))
        >>> both(ts.tensor([1.0, 2.0]), 3.0)
        (Tensor(9.), (Tensor([3., 3.]), Tensor(3.)))
    """

    @functools.wraps(f)
    def both(*args: Any, **kwargs: Any) -> Any:
        run = Run("grad", f, args, kwargs, argnums, has_aux)
        if any(each.dtype.is_complex for each in run.outputs):
            raise ArgumentError(
                f"grad is of a real value, and {name_of(f)} returned a complex one: take its .real or .abs(), or "
                "vjp(f, ...) with a cotangent for it"
            )
        if len(run.outputs) != 1 or run.outputs[0].data.numel() != 1:
            raise ShapeError(
                f"grad is of a function that returns a scalar, and {name_of(f)} returned {kind_of(run.value)}: take "
                "its sum(), or jacobian(f), or vjp(f, ...) with a cotangent for it"
            )
        (value,) = run.outputs
        gradient = run.pull(tree.unflatten(run.out_structure, [torch.ones_like(value.data)]))
        return (run.value, *run.aux) if has_aux else run.value, gradient

    return both


def vjp(f: Function, *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `f` at `primals`, and a function that takes a cotangent of it back to the primals.

    Args:
        f: a function of Tensors, and of nests of them, which returns a Tensor or a nest of them.
        primals: its arguments: Tensors, torch tensors, arrays and floats, and nests of them, all differentiated by.
        has_aux: whether `f` returns a pair, of which only the first is differentiated.

    Returns:
        `(out, vjp_fn)`, with `has_aux` also what `f` returned beside `out`. `vjp_fn(cotangents)` takes a nest like
        `out`, any number of times, and gives a tuple with a cotangent for each primal, in its structure.

    Raises:
        NotDifferentiableError: if a primal has an integer or boolean dtype.
        ArgumentError: if `f` returns no Tensors; by `vjp_fn`, if the cotangents have another structure than `out`.
        ShapeError: by `vjp_fn`, if a cotangent has another shape than its value.

    Examples:
        >>> import tensorad as ts
        >>> x, y = ts.tensor([1.0, 2.0]), ts.tensor([3.0, 4.0])
        >>> out, vjp_fn = ts.vjp(lambda x, y: x * y, x, y)
        >>> vjp_fn(ts.tensor([1.0, 0.0]))
        (Tensor([3., 0.]), Tensor([1., 0.]))
    """
    run = Run("vjp", f, primals, {}, tuple(range(len(primals))), has_aux)

    def vjp_fn(*cotangents: Any) -> tuple[Any, ...]:
        if len(cotangents) != 1:
            raise ArgumentError(
                f"the function of vjp takes one nest of cotangents, like the value, not {len(cotangents)}"
            )
        return run.pull(cotangents[0])

    return run.value, vjp_fn, *run.aux


def linearize(f: Function, *primals: Any) -> tuple[Any, Function]:
    """The value of `f` at `primals`, and the linear function that is its derivative there: `(out, jvp_fn)`.

    `f` itself runs once, and what it does is kept; for one tangent, `jvp` takes less memory.

    Args:
        f: a function of Tensors, and of nests of them, which returns a Tensor or a nest of them.
        primals: its arguments: Tensors, torch tensors, arrays and floats, and nests of them, all differentiated by.

    Returns:
        `(out, jvp_fn)`. `jvp_fn(*tangents)` takes a tangent for each primal, any number of times, and gives that of
        `out`, in its structure.

    Raises:
        NotDifferentiableError: if a primal has an integer or boolean dtype.
        ArgumentError: if `f` returns no Tensors; by `jvp_fn`, if the tangents have another structure than the primals.
        ShapeError: by `jvp_fn`, if a tangent has another shape than its primal.

    Examples:
        >>> import tensorad as ts
        >>> out, jvp_fn = ts.linearize(ts.sin, ts.tensor(0.0))
        >>> jvp_fn(ts.tensor(2.0))
        Tensor(2.)
    """
    run = Run("linearize", f, primals, {}, tuple(range(len(primals))), False)

    def jvp_fn(*tangents: Any) -> Any:
        return run.push(tangents)

    return run.value, jvp_fn


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `f` at `primals`, and its derivative along `tangents`, in forward mode.

    The tangents are worked out beside the values, op by op, and no graph is kept: memory does not grow with the depth
    of `f`. An op's tangent comes of its rule, transposed: that is linear in the cotangent, and its derivative by the
    cotangent takes tangents forward (Radul et al.: You Only Linearize Once, 2022, the other way round).

    Args:
        f: a function of Tensors, and of nests of them, which returns a Tensor or a nest of them.
        primals: its arguments, as a tuple: Tensors, torch tensors, arrays and floats, and nests of them.
        tangents: a nest like `primals`, of the same shapes.
        has_aux: whether `f` returns a pair, of which only the first is differentiated.

    Returns:
        `(out, tangent)`, with `has_aux` also what `f` returned beside `out`; the tangent has the structure of `out`.

    Raises:
        NotDifferentiableError: if a primal has an integer or boolean dtype.
        ArgumentError: if `f` returns no Tensors, or the tangents have another structure than the primals.
        ShapeError: if a tangent has another shape than its primal.

    Examples:
        >>> import tensorad as ts
        >>> ts.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.5))
        (Tensor(6.), Tensor(4.))
    """
    _check_tuples("jvp", primals, tangents)
    args, sources = fresh(f, primals, tuple(range(len(primals))))
    with Forward(directions(*tree.flatten(sources), tuple(tangents))) as mode:
        returned, aux = split(f, f(*args), has_aux)
        outputs, structure = outputs_of(f, returned)
        reached = [mode.tangent(each.node) for each in outputs]
    found = list(map(tangent_of, outputs, reached))
    unalias(found, tree.flatten(tangents)[0])
    return released(returned), tree.unflatten(structure, found), *released(aux)


def jacobian(
    f: Function, argnums: Argnums = 0, mode: Literal["auto", "reverse", "forward"] = "auto",
    chunk_size: int | None = None, has_aux: bool = False,
) -> Function:  # fmt: skip
    """A function that gives the Jacobian of `f`: the derivative of each entry of its value by each of its argument.

    Args:
        f: a function of Tensors, and of nests of them, which returns a Tensor or a nest of them, of real values.
        argnums: which argument to differentiate by, or a tuple of them.
        mode: `"reverse"` goes back once for each entry of the value, `"forward"` forward once for each entry of the
            argument, all of them in one batch; `"auto"` takes what there is less of.
        chunk_size: how many rows, or columns, at a time; by default, all.
        has_aux: whether `f` returns a pair, of which only the first is differentiated.

    Returns:
        A function of the arguments of `f`. For a Tensor by a Tensor it gives one of the shape of the value followed by
        that of the argument; else, in the structure of the value, such results in the structure of the argument (a
        tuple of them for a tuple of argnums). With `has_aux`, that and the second result of `f`.

    Raises:
        ArgumentError: for an unknown mode; when called, for complex values, or if `f` returns no Tensors.
        NotDifferentiableError: when called, if the argument has an integer or boolean dtype.

    Examples:
        >>> import tensorad as ts
        >>> ts.jacobian(lambda x: x**2 * 3)(ts.tensor([1.0, 2.0]))
        Tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    if mode not in ("auto", "reverse", "forward"):
        raise ArgumentError(f"mode is 'auto', 'reverse' or 'forward', not {mode!r}")

    @functools.wraps(f)
    def matrix(*args: Any, **kwargs: Any) -> Any:
        run = Run("jacobian", f, args, kwargs, argnums, has_aux)
        tall = sum(each.data.numel() for each in run.outputs) > sum(each.data.numel() for each in run.sources)
        found = run.jacobian(mode == "forward" or (mode == "auto" and tall), chunk_size)
        return (found, *run.aux) if has_aux else found

    return matrix


def hessian(f: Function, argnums: Argnums = 0, chunk_size: int | None = None) -> Function:
    """A function that gives the Hessian of `f`, the Jacobian of its gradient: the derivative by each two entries.

    Args:
        f: a function of Tensors, and of nests of them, which returns a Tensor or a nest of them, of real values.
        argnums: which argument to differentiate by, or a tuple of them.
        chunk_size: how many rows at a time; by default, all.

    Returns:
        A function of the arguments of `f`. It gives what `jacobian` gives, with the structure and the shape of the
        argument twice: for a scalar by a Tensor, a Tensor of the shape of the argument followed by the same.

    Raises:
        TensorADError: when called, the errors of `jacobian`.

    Examples:
        >>> import tensorad as ts
        >>> ts.hessian(lambda x: x[0] ** 2 * x[1])(ts.tensor([3.0, 5.0]))
        Tensor([[10.,  6.],
                [ 6.,  0.]])
    """
    return jacobian(jacobian(f, argnums, "reverse", chunk_size), argnums, "reverse", chunk_size)


def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of `f`, a function that returns a scalar, times a vector, without the Hessian.

    It is the gradient of a gradient: at a few times the cost of `f`, whatever the number of entries (Pearlmutter: Fast
    Exact Multiplication by the Hessian, 1994).

    Args:
        f: a function of Tensors, and of nests of them, which returns a real scalar.
        primals: its arguments, as a tuple: Tensors, torch tensors, arrays and floats, and nests of them.
        tangents: the vector, as a nest like `primals`, of the same shapes.

    Returns:
        The product, for each primal, in its structure; the bare one if there is one primal.

    Raises:
        NotDifferentiableError: if a primal has an integer or boolean dtype.
        ArgumentError: if `f` returns a complex value or no Tensor, or the tangents have another structure than the
            primals.
        ShapeError: if `f` returns no scalar, or a tangent has another shape than its primal.

    Examples:
        >>> import tensorad as ts
        >>> x, along = ts.tensor([1.0, 2.0]), ts.tensor([1.0, 1.0])
        >>> ts.hvp(lambda x: (x**3).sum(), (x,), (along,))
        Tensor([ 6., 12.])
    """
    _check_tuples("hvp", primals, tangents)
    # The Hessian is symmetric, so a row vector from the left will do, and reverse mode is the quicker one here.
    _, vjp_fn = vjp(grad(f, tuple(range(len(primals)))), *primals)
    found = vjp_fn(tuple(tangents))
    return found[0] if len(found) == 1 else found


def _check_tuples(name: str, primals: Any, tangents: Any) -> None:
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise ArgumentError(
            f"{name}(f, primals, tangents) takes a tuple of primals and a tuple of tangents: {name}(f, (x,), (t,))"
        )
