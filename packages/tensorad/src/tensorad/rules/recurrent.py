"""Recurrent layers: LSTM, GRU, and the plain ones of tanh and relu.

An op is one direction of one layer, over all of its steps. Its forward pass keeps the gates, and its rule is
backpropagation through time (Werbos 1990), with everything that does not wait for the next step done for all steps at
once. Both run on Tensors too, which is how the higher orders get the gates as functions of the operands.

The steps are stacked along the first dimension: step t holds `sizes[t]` sequences, the longest first, as torch packs
them. A padded input is one whose sizes are all alike.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tensorad.op import composed, defrule
from tensorad.operands import plain
from tensorad.tensor import Tensor

aten = torch.ops.aten
linear: Any = torch.nn.functional.linear
MKLDNN_LSTM = 2  # torch's number for it among the modes of mkldnn_rnn_layer

# fmt: off

lstm_layer = defrule(
    "lstm_layer(input, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse)", outputs=True, function=lambda *args: run_lstm_layer(*args),
    joint=("input h c w_ih w_hh b_ih b_hh w_hr", lambda g, input, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse, wanted, out, residuals:
           pull_lstm_layer(g, (input, h, c, w_ih, w_hh, b_ih, b_hh, w_hr), sizes, reverse, wanted, out, residuals))).call
gru_layer = defrule(
    "gru_layer(input, h, w_ih, w_hh, b_ih, b_hh, sizes, reverse)", outputs=True, function=lambda *args: run_gru(*args),
    joint=("input h w_ih w_hh b_ih b_hh", lambda g, input, h, w_ih, w_hh, b_ih, b_hh, sizes, reverse, wanted, out, residuals:
           gru_pulls(g, (input, h, w_ih, w_hh, b_ih, b_hh), sizes, reverse, wanted, out, residuals))).call

# fmt: on


class States:
    """A state as it goes from step to step, of as many sequences as the step has.

    Where the next step has more, they begin with their rows of `first`; where it has less, the others have ended.
    """

    def __init__(self, first: Any, size: int) -> None:
        self.first, self.now, self.ended = first, first[:size] if size < first.shape[0] else first, []

    def before(self, size: int) -> Any:
        """The state before a step of `size` sequences."""
        had = self.now.shape[0]
        if size < had:
            self.ended.append(self.now[size:])
            self.now = self.now[:size]
        elif size > had:
            self.now = torch.cat([self.now, self.first[had:size]])
        return self.now

    def last(self) -> Any:
        """The state that each sequence ended with."""
        return torch.cat([self.now, *reversed(self.ended)]) if self.ended else self.now


def order(sizes: Sequence[int], reverse: bool) -> range:
    """The steps in the order in which they are taken."""
    return range(len(sizes))[:: -1 if reverse else 1]


def room(sizes: Sequence[int]) -> list[Any]:
    """A place for something of each step."""
    return [None] * len(sizes)


def previous(stacked: Any, first: Any, sizes: Sequence[int], reverse: bool) -> Any:
    """The states before each step, stacked, from those after it and the first."""
    after, found = stacked.split(sizes), [first] * len(sizes)
    steps = order(sizes, reverse)
    states = States(first, sizes[steps[0]])
    for t in steps:
        found[t] = states.before(sizes[t])
        states.now = after[t]
    return torch.cat(found)


def stacked(kept: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """What each step kept, thing by thing, for all steps."""
    return tuple(map(torch.cat, zip(*kept, strict=True)))


def run_lstm(
    input: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, sizes: Any, reverse: bool
) -> Any:
    """Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; `w_hr` projects, as Sak et al. 2014."""
    driven, outs, kept = linear(input, w_ih, b_ih).split(sizes), room(sizes), room(sizes)
    steps = order(sizes, reverse)
    hs, cs = States(h, sizes[steps[0]]), States(c, sizes[steps[0]])
    for t in steps:
        i, f, new, o = (linear(hs.before(sizes[t]), w_hh, b_hh) + driven[t]).chunk(4, -1)
        i, f, new, o = i.sigmoid(), f.sigmoid(), new.tanh(), o.sigmoid()
        cs.now = f * cs.before(sizes[t]) + i * new
        kept[t] = i, f, new, o, cs.now
        hs.now = o * cs.now.tanh()
        outs[t] = hs.now = hs.now if w_hr is None else hs.now @ w_hr.mT
    return (torch.cat(outs), hs.last(), cs.last()), stacked(kept)


def lstm_pulls(g: Any, operands: Any, sizes: Any, reverse: bool, wanted: Any, out: Any, residuals: Any) -> Any:
    """What each step pulls back to its gates, with slopes found for all steps at once; and from there to the operands."""
    input, h, c, w_ih, w_hh, _, _, w_hr = operands
    i, f, new, o, cells = (
        run_lstm(*operands, sizes=sizes, reverse=reverse)[1] if isinstance(g[0], Tensor) else residuals
    )
    bent = cells.tanh()
    by_c, before = o * (1 - bent * bent), previous(cells, c, sizes, reverse)
    slopes = [new * i * (1 - i), before * f * (1 - f), i * (1 - new * new), bent * o * (1 - o)]
    slopes = torch.cat(slopes, -1).split(sizes)
    by_c, f, by_out = by_c.split(sizes), f.split(sizes), g[0].split(sizes)
    pulled, projected = room(sizes), room(sizes)
    steps = order(sizes, not reverse)
    hs, cs = States(g[1], sizes[steps[0]]), States(g[2], sizes[steps[0]])
    for t in steps:
        projected[t] = g_h = hs.before(sizes[t]) + by_out[t]
        g_h = g_h if w_hr is None else g_h @ w_hr
        g_c = torch.addcmul(cs.before(sizes[t]), g_h, by_c[t])
        pulled[t] = g_gates = torch.cat([g_c, g_c, g_c, g_h], -1) * slopes[t]
        hs.now, cs.now = g_gates @ w_hh, g_c * f[t]
    by_gates = torch.cat(pulled)
    by_input = by_gates @ w_ih if wanted[0] else None
    by_w_ih = by_gates.mT @ input if wanted[3] else None
    by_w_hh = by_gates.mT @ previous(out[0], h, sizes, reverse) if wanted[4] else None
    by_b = by_gates.sum(0) if wanted[5] or wanted[6] else None
    by_w_hr = torch.cat(projected).mT @ (o * bent) if wanted[7] else None
    return by_input, hs.last(), cs.last(), by_w_ih, by_w_hh, by_b, by_b, by_w_hr


def run_lstm_layer(*args: Any) -> Any:
    """By oneDNN's kernel where torch takes it, about twice as fast: its workspace is then the residual."""
    input, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse = args
    if (
        input.dtype is not torch.float32 or w_hr is not None or not input.is_cpu or not torch._C._get_mkldnn_enabled()
        or not input.numel() or len(sizes) == 1 or sizes[0] != sizes[-1] or not torch.backends.mkldnn.is_available()
    ):  # fmt: skip
        return run_lstm(*args)
    weights, options = for_kernel(w_ih, w_hh, b_ih, b_hh)
    out, h_n, c_n, space = aten.mkldnn_rnn_layer.default(
        in_steps(input, sizes), *weights, h.contiguous(), c.contiguous(), reverse, (), *options, False, False, True
    )
    return (out.flatten(0, 1), h_n, c_n), space


def pull_lstm_layer(g: Any, operands: Any, sizes: Any, reverse: bool, wanted: Any, out: Any, residuals: Any) -> Any:
    """By the kernel's own backward pass, if the forward pass was the kernel's, and for the first order."""
    if isinstance(g[0], Tensor) or isinstance(residuals, tuple):
        return lstm_pulls(g, operands, sizes, reverse, wanted, out, residuals)
    input, h, c, w_ih, w_hh, b_ih, b_hh, _ = operands
    weights, options = for_kernel(w_ih, w_hh, b_ih, b_hh)
    by_input, by_w_ih, by_w_hh, by_b_ih, by_b_hh, by_h, by_c = aten.mkldnn_rnn_layer_backward.default(
        in_steps(input, sizes), *weights, h.contiguous(), c.contiguous(), in_steps(out[0], sizes), *out[1:],
        in_steps(g[0], sizes), g[1].contiguous(), g[2].contiguous(), reverse, *options, True, False, (), False, residuals,
    )  # fmt: skip
    biases = (None, None) if b_ih is None else (by_b_ih, by_b_hh)
    return by_input.flatten(0, 1), by_h, by_c, by_w_ih, by_w_hh, *biases, None


def in_steps(stacked: Any, sizes: Sequence[int]) -> Any:
    """Steps of one size, each as a slice of its own."""
    return stacked.contiguous().view(len(sizes), sizes[0], -1)


def for_kernel(w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> tuple[Any, Any]:
    """The weights and the options of a layer as oneDNN's kernels take them: something must stand for biases."""
    weights = [each.contiguous() for each in (w_ih, w_hh, *((w_ih, w_hh) if b_ih is None else (b_ih, b_hh)))]
    return weights, (MKLDNN_LSTM, w_hh.shape[1], 1, b_ih is not None)


def run_gru(input: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, sizes: Any, reverse: bool) -> Any:
    """Cho et al. 2014, with the reset gate after the product, as cuDNN has it."""
    driven = linear(input, w_ih, b_ih).split(sizes)
    outs, kept, width = room(sizes), room(sizes), h.shape[-1]
    steps = order(sizes, reverse)
    hs = States(h, sizes[steps[0]])
    for t in steps:
        before = hs.before(sizes[t])
        hidden = linear(before, w_hh, b_hh)
        fed = hidden[:, 2 * width :]
        r, z = (hidden[:, : 2 * width] + driven[t][:, : 2 * width]).chunk(2, -1)
        r, z = r.sigmoid(), z.sigmoid()
        new = (driven[t][:, 2 * width :] + fed * r).tanh()
        kept[t] = r, z, new, fed
        outs[t] = hs.now = (before - new) * z + new
    return (torch.cat(outs), hs.last()), stacked(kept)


def gru_pulls(g: Any, operands: Any, sizes: Any, reverse: bool, wanted: Any, out: Any, residuals: Any) -> Any:
    """As `lstm_pulls`. The new state's gate is pulled at twice: from the input, and from the state through `r`."""
    input, h, w_ih, w_hh, _, _ = operands
    r, z, new, fed = run_gru(*operands, sizes=sizes, reverse=reverse)[1] if isinstance(g[0], Tensor) else residuals
    before = previous(out[0], h, sizes, reverse)
    by_new = (1 - z) * (1 - new * new)
    by_gates = torch.cat([by_new * fed * r * (1 - r), (before - new) * z * (1 - z)], -1)
    slopes, kept, by_out = torch.cat([by_gates, by_new * r], -1).split(sizes), z.split(sizes), g[0].split(sizes)
    pulled, outer = room(sizes), room(sizes)
    steps = order(sizes, not reverse)
    hs = States(g[1], sizes[steps[0]])
    for t in steps:
        outer[t] = g_h = hs.before(sizes[t]) + by_out[t]
        pulled[t] = g_gates = torch.cat([g_h, g_h, g_h], -1) * slopes[t]
        hs.now = torch.addmm(g_h * kept[t], g_gates, w_hh)
    by_hidden = torch.cat(pulled)
    width = h.shape[-1]
    by_driven = torch.cat([by_hidden[:, : 2 * width], torch.cat(outer) * by_new], -1)
    return (
        by_driven @ w_ih if wanted[0] else None,
        hs.last(),
        by_driven.mT @ input if wanted[2] else None,
        by_hidden.mT @ before if wanted[3] else None,
        by_driven.sum(0) if wanted[4] else None,
        by_hidden.sum(0) if wanted[5] else None,
    )


def run_simple(
    input: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, sizes: Any, reverse: bool, bend: Any
) -> Any:
    """Elman 1990."""
    driven = linear(input, w_ih, b_ih).split(sizes)
    outs = room(sizes)
    steps = order(sizes, reverse)
    hs = States(h, sizes[steps[0]])
    for t in steps:
        outs[t] = hs.now = bend(linear(hs.before(sizes[t]), w_hh, b_hh) + driven[t])
    return torch.cat(outs), hs.last()


def simple_pulls(g: Any, operands: Any, sizes: Any, reverse: bool, wanted: Any, out: Any, slope: Any) -> Any:
    """As `lstm_pulls`, with a slope that is a function of the output."""
    input, h, w_ih, w_hh, _, _ = operands
    slopes, by_out = slope(out[0]).split(sizes), g[0].split(sizes)
    pulled = room(sizes)
    steps = order(sizes, not reverse)
    hs = States(g[1], sizes[steps[0]])
    for t in steps:
        pulled[t] = (hs.before(sizes[t]) + by_out[t]) * slopes[t]
        hs.now = pulled[t] @ w_hh
    total = torch.cat(pulled)
    by_b = total.sum(0) if wanted[4] or wanted[5] else None
    by_w_ih = total.mT @ input if wanted[2] else None
    by_w_hh = total.mT @ previous(out[0], h, sizes, reverse) if wanted[3] else None
    return total @ w_ih if wanted[0] else None, hs.last(), by_w_ih, by_w_hh, by_b, by_b


def simple_layer(kind: str, bend: Callable[..., Any], slope: Callable[..., Any]) -> Callable[..., Any]:
    """The layer that bends its sums by a function whose slope is known from its value."""
    return defrule(
        f"{kind}_layer(input, h, w_ih, w_hh, b_ih, b_hh, sizes, reverse)",
        outputs=True,
        function=lambda *args: run_simple(*args, bend=bend),
        joint=(
            "input h w_ih w_hh b_ih b_hh",
            lambda g, input, h, w_ih, w_hh, b_ih, b_hh, sizes, reverse, wanted, out: simple_pulls(
                g, (input, h, w_ih, w_hh, b_ih, b_hh), sizes, reverse, wanted, out, slope
            ),
        ),
    ).call


def network(layer: Callable[..., Any], state_count: int) -> Callable[..., Any]:
    """Layers on layers, of one direction or two, called as torch's modules do: on padded sequences or packed ones."""

    def call(*args: Any, **kwargs: Any) -> Any:
        second = args[1] if len(args) > 1 else kwargs.get("batch_sizes", ())
        packed = not isinstance(second, tuple | list) and not second.is_floating_point()
        given = dict(zip(PACKED if packed else PADDED, args, strict=False)) | kwargs
        return run_network(layer, state_count, **given)

    return call


PADDED = "input", "hx", "params", "has_biases", "num_layers", "dropout", "train", "bidirectional", "batch_first"
PACKED = "data", "batch_sizes", "hx", "params", "has_biases", "num_layers", "dropout", "train", "bidirectional"


def run_network(
    layer: Callable[..., Any], state_count: int, hx: Any, params: Any, has_biases: bool, num_layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool = False, input: Any = None, data: Any = None,
    batch_sizes: Any = None,
) -> Any:  # fmt: skip
    """The layers of every direction, each fed with what those below it gave."""
    if data is None:
        input = input.transpose(0, 1) if batch_first else input
        shape = tuple(input.shape[:2])
        data, sizes = input.flatten(0, 1), torch.Size([shape[1]]) * shape[0]
    else:
        shape, sizes = None, torch.Size(plain(batch_sizes).tolist())
    directions = 1 + bidirectional
    each = len(params) // (num_layers * directions)  # weights and biases of one layer and direction
    firsts = list(zip(*(state.unbind(0) for state in (hx if state_count > 1 else [hx])), strict=True))
    lasts: list[Any] = []
    for number in range(num_layers):
        found = []
        for backwards in range(directions):
            place = number * directions + backwards
            weights = list(params[place * each : (place + 1) * each])
            if not has_biases:
                weights[2:2] = [None, None]
            if state_count > 1 and len(weights) == 4:
                weights.append(None)  # no projection
            out, *last = layer(data, *firsts[place], *weights, sizes, bool(backwards))
            found.append(out)
            lasts.append(last)
        data = torch.cat(found, -1) if bidirectional else found[0]
        if dropout and train and number < num_layers - 1:
            data = torch.nn.functional.dropout(data, dropout)
    if shape:
        data = data.unflatten(0, shape)
        data = data.transpose(0, 1) if batch_first else data
    return data, *(torch.stack(state) for state in zip(*lasts, strict=True))


def cell(layer: Callable[..., Any], state_count: int) -> Callable[..., Any]:
    """One step of a layer, on a batch or on a single vector."""

    def call(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
        states = list(hx) if state_count > 1 else [hx]
        weights = [w_ih, w_hh, b_ih, b_hh] + [None] * (state_count - 1)
        _, *last = layer(input, *states, *weights, torch.Size(input.shape[:1]), False)
        return tuple(last) if state_count > 1 else last[0]

    return call


tanh_layer = simple_layer("tanh", torch.tanh, lambda h: 1 - h * h)
relu_layer = simple_layer("relu", torch.relu, lambda h: plain(h > 0).to(h.dtype))
for _name, _layer in {"lstm": lstm_layer, "gru": gru_layer, "rnn_tanh": tanh_layer, "rnn_relu": relu_layer}.items():
    composed(_name)(network(_layer, 1 + (_name == "lstm")))
    composed(f"{_name}_cell")(cell(_layer, 1 + (_name == "lstm")))


@composed("_pack_padded_sequence")
def pack_padded_sequence(input: Any, lengths: Any, batch_first: bool) -> Any:
    """The rows that torch keeps, found by packing their numbers."""
    numbers = torch.arange(input.shape[0] * input.shape[1]).view(*input.shape[:2], 1)
    kept, sizes = torch._VF._pack_padded_sequence(numbers, plain(lengths), batch_first)
    return input.flatten(0, 1).index_select(0, kept.flatten().to(input.device)), sizes


@composed("_pad_packed_sequence")
def pad_packed_sequence(
    data: Any, batch_sizes: Any, batch_first: bool, padding_value: float = 0.0, total_length: int = -1
) -> Any:
    """The rows where torch puts them, found by padding their numbers."""
    numbers = torch.arange(data.shape[0]).unsqueeze(-1)
    places, lengths = torch._VF._pad_packed_sequence(numbers, plain(batch_sizes), batch_first, -1, total_length)
    shape, places = places.shape[:2], places.flatten().to(data.device)
    padding = (places < 0).view(-1, *[1] * (data.ndim - 1))
    return data.index_select(0, places.clamp(min=0)).masked_fill(padding, padding_value).unflatten(0, shape), lengths


@composed("_C._nn.pad_sequence")
def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Any:
    longest = max(each.shape[0] for each in sequences)
    padded = []
    for each in sequences:
        padding = each.new_full((longest - each.shape[0], *each.shape[1:]), padding_value)
        padded.append(torch.cat([each, padding] if padding_side == "right" else [padding, each]))
    return torch.stack(padded, 0 if batch_first else 1)
