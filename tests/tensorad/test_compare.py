"""`gradcheck` says True of right derivatives and False of wrong ones, names the worst entry, and changes nothing."""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from oracle import rand

import tensorad as ts
from tensorad.compare import LIMIT

Printed = pytest.CaptureFixture[str]


def own(function: Callable[..., Any], fwd: Any, bwd: Any) -> Any:
    return ts.primitive(function).defvjp(fwd, bwd)


def square(bwd: Any) -> Any:
    return own(lambda x: x**2, lambda x: (x**2, x), bwd)


@dataclass
class Pair:
    left: Any
    right: Any


def lstm(x: Any, h: Any, c: Any, weight: Any) -> Any:
    i, f, o, z = torch.cat([x, h], 1).matmul(weight).chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(z)
    return torch.sigmoid(o) * torch.tanh(c), c


RIGHT: dict[str, tuple[Any, ...]] = {
    "float": (lambda x: x**3, 2.0),
    "two floats": (lambda x, y: x * y.exp(), 2.0, -0.3),
    "complex number": (lambda z: (z * z.conj()).real + z.sin().imag, 0.3 + 0.4j),
    "matmul": (torch.matmul, rand(2, 3), rand(3, 2, seed=1)),
    "broadcast": (torch.mul, rand(2, 3), rand(3, seed=1)),
    "nest": (lambda p, x: {"y": p["w"] @ x + p["b"]}, {"w": rand(2, 3), "b": [rand(2)][0]}, rand(3, seed=2)),
    "list in a dict": (lambda p: p["a"][0] * p["a"][1], {"a": [rand(2), rand(2, seed=1)]}),
    "dataclass": (lambda p: p.left * p.right.sin(), Pair(rand(2), rand(2, seed=1))),
    "several outputs": (lambda x: (x.sin(), [x.exp(), None, x > 0]), rand(3)),
    "integer beside": (lambda x, i: x[i] ** 2, rand(4), torch.tensor([0, 2])),
    "number beside": (lambda x, n: x**n, rand(4), 3),
    "complex": (lambda z: z.abs() * z.exp() + z.conj(), rand(3, dtype=torch.complex128)),
    "complex of real": (lambda x: torch.complex(x, x * x).exp(), rand(3)),
    "relu away from 0": (torch.relu, torch.tensor([1.0, -2.0], dtype=torch.float64)),
    "lstm": (lstm, rand(2, 3), rand(2, 2, seed=1), rand(2, 2, seed=2), rand(5, 8, seed=3)),
    "constant": (lambda x: x * 0 + 3, rand(2)),
    "does not use one": (lambda x, y: x * 2, rand(2), rand(2)),
    "linear": (lambda x: 3 * x, rand(2)),
    "cholesky": (lambda a: torch.linalg.cholesky(a @ a.T + 3 * torch.eye(3, dtype=a.dtype)), rand(3, 3)),
    "large values": (lambda x: x**2, 1e6 * rand(3)),
    "small values": (lambda x: x.log(), 1e-6 * rand(3, low=1.0, high=2.0)),
    "a transposed input": (lambda x: x.sin().sum(0), rand(2, 3).T),
    "an expanded input": (lambda x: x.sin(), rand(1, 3).expand(2, 3)),
    "a parameter": (lambda w: w.sin(), torch.nn.Parameter(rand(3))),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_derivatives(name: str, capsys: Printed) -> None:
    function, *inputs = RIGHT[name]
    assert ts.gradcheck(function, *inputs)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed] == ["order 1", "order 2"]
    assert "DISAGREE" not in "".join(printed)


@pytest.mark.parametrize("order", [1, 3, 4])
def test_other_orders(order: int, capsys: Printed) -> None:
    assert ts.gradcheck(lambda x: x.sin() * x.exp(), rand(2), order=order)
    assert len(capsys.readouterr().out.splitlines()) == order


WRONG: dict[str, tuple[Any, ...]] = {
    "sign": (square(lambda g, x: (-2 * g * x,)), rand(3)),
    "factor": (square(lambda g, x: (2.001 * g * x,)), rand(3)),
    "one entry": (square(lambda g, x: (2 * g * x * (1 + 1e-3 * (torch.arange(3) == 1)),)), rand(3)),
    "nothing": (square(lambda g, x: (None,)), rand(3)),
    "second order only": (square(lambda g, x: (2 * g * ts.stop_gradient(x),)), rand(3)),
    "stopped": (lambda x: x * ts.stop_gradient(x), rand(3)),
    "rounded to float32": (lambda x: ts.tensor(float(x)) * 3 + 0 * x, 2.0),
    "complex conjugate": (own(lambda z: z * 1j, lambda z: (z * 1j, None), lambda g, _: (g * -1j,)), 0.3 + 0.4j),
    "nan": (lambda x: torch.where(x > 0.6, (x - 0.6).sqrt(), x), 0.5),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_derivatives(name: str, capsys: Printed) -> None:
    function, *inputs = WRONG[name]
    assert not ts.gradcheck(function, *inputs)
    printed = capsys.readouterr().out
    assert "DISAGREE" in printed
    assert ("order 1: 3 agree" in printed) == (name == "second order only")


def test_the_worst_entry_is_named_with_its_numbers(capsys: Printed) -> None:
    @ts.primitive
    def product(w: Any, x: Any) -> Any:
        return w @ x

    def bwd(g: Any, residuals: Any) -> Any:
        w, x = residuals
        wrong = torch.ones(2, 3, dtype=torch.float64)
        wrong[1, 2] = 3
        return g[:, None] * x * wrong, w.T @ g

    product.defvjp(lambda w, x: (w @ x, (w, x)), bwd)
    assert not ts.gradcheck(lambda p, x: product(p["w"], x), {"w": rand(2, 3)}, rand(3, seed=1))
    first, second = (line for line in capsys.readouterr().out.splitlines() if line.startswith("order"))
    assert first.startswith("order 1: 8 agree, 1 DISAGREE; worst: argument 0['w'], entry [1, 2]: analytic ")
    analytic, numeric, error, step = re.findall(r"(?<=[a-z±] )[-+.e\d]+(?=[, )])", first.partition("worst")[2])[-4:]
    assert float(analytic) == pytest.approx(3 * float(numeric), rel=1e-6)
    assert float(error) < 1e-8
    assert 0 < float(step) < 0.01
    assert second.startswith("order 2: 9 agree")  # with differences of the first order as it is, wrong or not


def test_a_number_stands_for_itself(capsys: Printed) -> None:
    assert ts.gradcheck(lambda x: x**3, 2.0, order=3)
    printed = capsys.readouterr().out
    assert printed.count("analytic 12, numeric 12 ±") == 2
    assert printed.count("analytic 6, numeric 6 ±") == 1


def test_the_parts_of_a_complex_entry(capsys: Printed) -> None:
    assert ts.gradcheck(lambda z: z.abs(), torch.tensor([3 + 4j], dtype=torch.complex128), order=1)
    assert re.search(r"argument 0, entry \[0\], (real|imaginary) part: analytic", capsys.readouterr().out)
    real_twice = own(lambda z: z.abs() ** 2, lambda z: (z.abs() ** 2, z), lambda g, z: (2 * g * z.real + 0j,))
    assert not ts.gradcheck(real_twice, 3 + 4j, order=1)
    assert "argument 0, imaginary part: analytic 0, numeric 8" in capsys.readouterr().out


def test_a_corner_alone_is_no_failure_but_is_told(capsys: Printed) -> None:
    assert ts.gradcheck(torch.relu, torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64))
    assert "order 1: 2 agree, 1 cannot be told; worst: argument 0, entry [0]" in capsys.readouterr().out
    assert not ts.gradcheck(torch.relu, 0.0)
    assert "nothing could be told: a corner, a pole, or too few digits" in capsys.readouterr().out
    assert not ts.gradcheck(torch.sqrt, -1.0)


def test_why_a_gradient_is_zero_that_should_not_be(capsys: Printed) -> None:
    assert not ts.gradcheck(lambda x: ts.stop_gradient(x) * 3, 2.0)
    printed = capsys.readouterr().out
    assert "the target does not depend on the source" in printed
    assert "stop_gradient() at test_compare.py" in printed
    assert not ts.gradcheck(lambda x, y: x * y.item(), 2.0, 3.0)
    assert "item() at test_compare.py" in capsys.readouterr().out
    assert not ts.gradcheck(lambda x: x * x.detach(), 2.0, order=1)
    assert "detach at test_compare.py" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.complex64])
def test_few_digits_are_warned_of(dtype: Any, capsys: Printed) -> None:
    x = rand(2, low=0.5).to(dtype)
    with pytest.warns(ts.PrecisionWarning, match=f"{str(dtype)[6:]} tell little: give float64") as warned:
        right = ts.gradcheck(lambda x: x * x, x, order=1)
    assert warned[0].filename == __file__
    assert "DISAGREE" not in capsys.readouterr().out
    assert right or dtype == torch.bfloat16
    with pytest.warns(ts.PrecisionWarning):
        assert not ts.gradcheck(square(lambda g, x: (-3 * g * x,)), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ts.gradcheck(lambda x: x * x, rand(2))


@pytest.mark.parametrize(("function", "inputs", "words"), [
    (lambda x: x, (2,), "no input has a derivative"),
    (lambda: 1, (), "no input has a derivative"),
    (lambda x: x, ({"a": torch.tensor([1, 2])},), "no input has a derivative"),
    (lambda x: x.item(), (2.0,), "returned is no tensorad.Tensor but a float"),
    (lambda x: (x, {"loss": x.data}), (2.0,), r"returned\[1\]\['loss'\] is no tensorad.Tensor but a torch.Tensor"),
    (lambda x: x > 2, (2.0,), "returned no Tensor of floating point"),
    (lambda x: None, (2.0,), "returned no Tensor of floating point"),
    (lambda x: torch.dropout(x, 0.5, True), (rand(99),), "random, or changes what it uses"),
    (lambda x: x if x.data == 2 else x[None], (2.0,), "another shape"),
])  # fmt: skip
def test_what_cannot_be_checked(function: Any, inputs: Any, words: str) -> None:
    with pytest.raises(ts.ArgumentError, match=words):
        ts.gradcheck(function, *inputs)


def test_orders_that_are_none() -> None:
    for order in (0, -1, 1.5, "2"):
        with pytest.raises(ts.ArgumentError, match="order is 1, 2"):
            ts.gradcheck(torch.sin, 1.0, order=order)  # pyright: ignore[reportArgumentType]


def test_an_input_without_entries(capsys: Printed) -> None:
    assert not ts.gradcheck(torch.sin, torch.zeros(0, dtype=torch.float64))
    assert "there are no entries to compare" in capsys.readouterr().out
    assert ts.gradcheck(torch.mul, torch.zeros(0, dtype=torch.float64), 2.0, order=1)


def test_of_large_inputs_a_sample_is_compared(capsys: Printed) -> None:
    x = rand(LIMIT + 1)
    assert ts.gradcheck(lambda x: (x * x).sum(), x, order=1)
    printed = capsys.readouterr().out
    assert f"argument 0: {LIMIT} of its {LIMIT + 1} entries are compared" in printed
    assert f"order 1: {LIMIT} agree" in printed


def test_nothing_is_changed_and_nothing_recorded() -> None:
    data = rand(3)
    x, raw = ts.tensor(data), data.clone()
    raw.requires_grad_()
    before = torch.get_rng_state()
    with ts.Grad() as g:
        y = x * 2
        assert ts.gradcheck(lambda x, raw: x * raw, x, raw)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x.data, data)
    assert torch.equal(raw, data)
    assert x.data._version == raw._version == 0
    assert raw.grad is None
    assert not g.cuts
    assert g.gradient(y, x).tolist() == [2, 2, 2]


def test_an_error_of_the_function_comes_through_and_leaves_nothing_open() -> None:
    def broken(x: Any) -> Any:
        raise KeyError("broken")

    with pytest.raises(KeyError):
        ts.gradcheck(broken, 1.0)


def test_where_the_function_is_not_defined_nearby_nothing_is_told() -> None:
    edge = torch.diag(torch.tensor([1.0, 1e-300], dtype=torch.float64))
    ts.gradcheck(lambda a: torch.linalg.cholesky(a), edge)
