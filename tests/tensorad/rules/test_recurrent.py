"""Recurrent layers against torch.autograd, to the second order, padded and packed, by every operand."""

from typing import Any

import pytest
import torch
from oracle import agree, by_tensorad, by_torch, rand
from torch.nn.utils import rnn

import tensorad as ts

KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lstm": (torch.nn.LSTM, {}),
    "gru": (torch.nn.GRU, {}),
    "rnn_tanh": (torch.nn.RNN, {}),
    "rnn_relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
]


def layers(kind: str, options: dict[str, Any], batch: int, sizes: Any = None) -> tuple[Any, list[Any]]:
    """A function of the states and weights of a network, on padded sequences or packed ones, and values for these."""
    torch.manual_seed(0)
    make, extra = KINDS[kind]
    module = make(3, 4, **extra, **options).double()
    count = module.num_layers * (1 + module.bidirectional)
    states = [rand(count, batch, module.proj_size or 4, seed=8)]
    if kind == "lstm":
        states.append(rand(count, batch, 4, seed=9))
    settings = module.bias, module.num_layers, module.dropout, True, module.bidirectional

    def function(input: Any, *rest: Any) -> list[Any]:
        torch.manual_seed(5)
        hx, weights = list(rest[: len(states)]) if kind == "lstm" else rest[0], list(rest[len(states) :])
        if sizes is not None:
            return list(getattr(torch, kind)(input, sizes, hx, weights, *settings))
        return list(getattr(torch, kind)(input, hx, weights, *settings, module.batch_first))

    return function, [*states, *(weight.detach() for weight in module.parameters())]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [None, torch.tensor([2, 2, 1])], ids=["padded", "packed"])
def test_recurrent_layers(kind: str, options: dict[str, Any], sizes: Any) -> None:
    function, values = layers(kind, options, 2, sizes)
    agree(function, rand(3, 2, 3) if sizes is None else rand(5, 3), *values)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("sizes", [None, torch.tensor([2, 2, 1])], ids=["padded", "packed"])
def test_projections(options: dict[str, Any], sizes: Any) -> None:
    function, values = layers("lstm", options | {"proj_size": 2}, 2, sizes)
    agree(function, rand(3, 2, 3) if sizes is None else rand(5, 3), *values)


@pytest.mark.parametrize("kind", KINDS)
def test_batch_first(kind: str) -> None:
    function, values = layers(kind, {"batch_first": True}, 2)
    (ours, mine), (theirs, torchs) = (by(function, [rand(2, 3, 3), *values], 2) for by in (by_tensorad, by_torch))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(mine, torchs)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_lstm_by_torchs_kernel_for_float32(options: dict[str, Any], place: int) -> None:
    function, values = layers("lstm", options, 2)
    values = [value.float() for value in (rand(3, 2, 3), *values)]

    def output(*arguments: Any) -> Any:
        return function(*arguments)[place]

    (ours, mine), (theirs, torchs) = (by(output, values, 2) for by in (by_tensorad, by_torch))
    assert torch.equal(ours[0], theirs[0])
    torch.testing.assert_close(mine, torchs, rtol=1e-4, atol=1e-5)


def test_third_order() -> None:
    function, values = layers("gru", {}, 2)
    agree(function, rand(2, 2, 3), *values, order=3, rtol=1e-8)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_modules(kind: str) -> None:
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(3, 4, 2).double().requires_grad_(False)

    def function(input: Any) -> list[Any]:
        out, last = module(input)
        return [out, *(last if isinstance(last, tuple) else [last])]

    agree(function, rand(3, 2, 3))
    agree(function, rand(3, 3))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_packed_sequences(kind: str, batch_first: bool) -> None:
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(3, 4).double().requires_grad_(False)

    def of_padded(input: Any) -> Any:
        packed = rnn.pack_padded_sequence(input, torch.tensor([2, 4, 1]), batch_first, enforce_sorted=False)
        return rnn.pad_packed_sequence(module(packed)[0], batch_first, padding_value=0.5, total_length=5)[0]

    def of_several(*inputs: Any) -> Any:
        return rnn.pad_packed_sequence(module(rnn.pack_sequence(inputs))[0])[0]

    agree(of_padded, rand(3, 4, 3) if batch_first else rand(4, 3, 3))
    agree(of_several, rand(4, 3), rand(2, 3), rand(2, 3, seed=1))


@pytest.mark.parametrize(
    "options", [{}, {"batch_first": True}, {"padding_value": 2.0, "padding_side": "left"}], ids=str
)
def test_pad_sequence(options: dict[str, Any]) -> None:
    agree(lambda *inputs: rnn.pad_sequence(inputs, **options).sin(), rand(3, 2), rand(1, 2), rand(3, 2, seed=1))


CELLS = [(kind, {"bias": bias}) for kind in ("LSTMCell", "GRUCell", "RNNCell") for bias in (True, False)]


@pytest.mark.parametrize(("kind", "options"), [*CELLS, ("RNNCell", {"nonlinearity": "relu"})], ids=str)
def test_cells(kind: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(3, 4, **options).double().requires_grad_(False)
    states = [rand(2, 4, seed=1), rand(2, 4, seed=2)] if kind == "LSTMCell" else [rand(2, 4, seed=1)]
    agree(lambda x, *hx: module(x, hx if len(hx) > 1 else hx[0]), rand(2, 3), *states)
    agree(module, rand(3))


def test_weights_of_a_cell_are_operands() -> None:
    weights = rand(12, 3), rand(12, 4, seed=1), rand(12, seed=2), rand(12, seed=3)
    agree(torch.gru_cell, rand(2, 3), rand(2, 4), *weights)


def test_states_that_are_constants_take_no_part() -> None:
    function, values = layers("lstm", {}, 2)
    weight = ts.tensor(values[2])
    with ts.Grad() as g:
        out = function(rand(3, 2, 3), *values[:2], weight, *values[3:])[0]
    assert g.gradient(out, weight).shape == weight.shape
