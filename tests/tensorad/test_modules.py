"""torch.nn modules, unmodified: their own parameters are sources, and others can take their place."""

import copy
import gc
from typing import Any

import pytest
import torch
from torch import nn

import tensorad as ts


def expected(module: Any, *inputs: Any) -> dict[str, Any]:
    """The gradients of the squares' sum by all parameters, by torch.autograd, on a copy."""
    module = copy.deepcopy(module)
    torch.manual_seed(1)
    out = module(*inputs)
    (out[0] if isinstance(out, tuple) else out).square().sum().backward()
    return {name: value.grad for name, value in module.named_parameters() if value.grad is not None}


def loss_of(module: Any, *inputs: Any) -> Any:
    torch.manual_seed(1)
    out = module(*inputs)
    return (out[0] if isinstance(out, tuple) else out).square().sum()


def same(found: Any, torchs: dict[str, Any]) -> None:
    assert {name for name, value in found.items() if value is not None} >= set(torchs)
    for name, value in torchs.items():
        torch.testing.assert_close(found[name].data, value, rtol=1e-4, atol=1e-5)


MODULES = {
    "linear": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), (5, 4)),
    "convolution": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()), (2, 2, 6, 6)),
    "batch norm": (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), (5, 4)),
    "layer norm": (lambda: nn.Sequential(nn.LayerNorm(4), nn.GELU()), (5, 4)),
    "dropout": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)), (5, 4)),
    "lstm": (lambda: nn.LSTM(4, 3, 2), (5, 2, 4)),
    "gru": (lambda: nn.GRU(4, 3, bidirectional=True), (5, 2, 4)),
    "transformer": (lambda: nn.TransformerEncoderLayer(4, 2, 8), (5, 2, 4)),
    "prelu": (lambda: nn.Sequential(nn.Linear(4, 3), nn.PReLU(3)), (5, 4)),
}


def made(name: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    make, shape = MODULES[name]
    return make(), torch.randn(shape)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODULES)
def test_the_parameters_of_a_module_are_sources(name: str, training: bool) -> None:
    module, x = made(name)
    module.train(training)
    torchs = expected(module, x)
    with ts.Grad() as g:
        loss = loss_of(module, ts.tensor(x))
    same(g.gradient(loss, dict(module.named_parameters())), torchs)
    as_list = g.gradient(loss, [*module.parameters(), loss])[:-1]
    same(dict(zip(dict(module.named_parameters()), as_list, strict=True)), torchs)
    assert all(value.grad is None for value in module.parameters())


@pytest.mark.parametrize("name", MODULES)
def test_a_functional_call(name: str) -> None:
    module, x = made(name)
    torchs = expected(module, x)
    params = {key: ts.tensor(value) for key, value in module.named_parameters()}
    own = dict(module.named_parameters())
    with ts.Grad() as g:
        loss = loss_of(lambda x: ts.functional_call(module, params, x), x)
        loss_by_own = loss_of(lambda x: ts.functional_call(module, own, (x,)), x)
    same(g.gradient(loss, params), torchs)
    same(g.gradient(loss_by_own, own), torchs)
    assert all(value is own[key] for key, value in module.named_parameters())
    torch.testing.assert_close(loss_of(module.train(), x), loss_by_own.data)


def test_the_second_order_by_parameters() -> None:
    layer = nn.Linear(2, 1, bias=False)
    x = ts.tensor([[1.0, 2.0]])
    with ts.Grad() as outer:
        with ts.Grad() as inner:
            loss = (layer(x) ** 3).sum()
        first = inner.gradient(loss, [layer.weight])
        total = first.sum()
    out = float(layer(x.data).detach())
    torch.testing.assert_close(outer.gradient(total, layer.weight).data, 6 * out * 3 * x.data)


def test_batch_norm_updates_its_running_buffers() -> None:
    ours, torchs = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with ts.Grad():
        ours(ts.tensor(x))
    torchs(x)
    for mine, other in zip(ours.buffers(), torchs.buffers(), strict=True):
        assert torch.equal(mine, other)


def test_a_frozen_parameter_is_a_constant() -> None:
    layer = nn.Linear(2, 1)
    layer.weight.requires_grad_(False)
    with ts.Grad() as g:
        loss = layer(ts.tensor([[1.0, 2.0]])).sum()
    assert g.gradient(loss, layer.bias).tolist() == [1.0]
    with pytest.raises(ts.ArgumentError, match=r"\['weight'\].*require grad"):
        g.gradient(loss, dict(layer.named_parameters()))


def test_a_parameter_that_is_not_used_gets_zeros() -> None:
    layer, other = nn.Linear(2, 1), nn.Linear(1, 1)
    with ts.Grad() as g:
        loss = layer(ts.tensor([[1.0, 2.0]])).sum()
    assert g.gradient(loss, other.weight).tolist() == [[0.0]]
    with pytest.raises(ts.UnconnectedError):
        g.gradient(loss, other.weight, unconnected="raise")


def test_what_torch_computes_of_parameters_alone_is_not_lost() -> None:
    class LowRank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.ones(2, 1)), nn.Parameter(torch.full((1, 2), 3.0))

        def forward(self, x: Any) -> Any:
            return x @ (self.a @ self.b)

    module, x = LowRank(), ts.tensor([1.0, 2.0])
    with ts.Grad() as g, pytest.raises(ts.ArgumentError, match="functional_call"):
        module(x)
    params = dict(module.named_parameters())
    with ts.Grad() as g:
        loss = ts.functional_call(module, params, x).sum()
    same(g.gradient(loss, params), {"a": torch.tensor([[6.0], [12.0]]), "b": torch.tensor([[3.0, 3.0]])})
    assert torch.equal(module(x).data, loss_free(module, x))  # nothing is recorded, so nothing can be lost


def test_a_view_of_a_parameter_is_a_part_of_it() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places = nn.Parameter(torch.arange(12.0).reshape(1, 4, 3))
            self.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))

        def forward(self, x: Any) -> Any:
            x = x + self.places[:, 1 : 1 + x.shape[1]]
            first, second = self.weight.T.unsqueeze(0).chunk(2, dim=2)
            return (x @ first + x @ second + self.weight.view(-1)[::2][1] * x).square()

    module = Views()
    x = torch.ones(2, 2, 3)
    torchs = expected(module, x)
    with ts.Grad() as g:
        loss = loss_of(module, ts.tensor(x))
    same(g.gradient(loss, dict(module.named_parameters())), torchs)


def loss_free(module: Any, x: Any) -> Any:
    with torch.no_grad():
        return module(x.data)


def test_tied_parameters_stay_tied() -> None:
    module = nn.ModuleDict({"encode": nn.Linear(2, 2, bias=False), "decode": nn.Linear(2, 2, bias=False)})
    module["decode"].weight = module["encode"].weight
    module.forward = lambda x: module["decode"](module["encode"](x))
    params = {"encode.weight": ts.tensor([[1.0, 0.0], [0.0, 2.0]])}
    with ts.Grad() as g:
        loss = ts.functional_call(module, params, torch.ones(2)).sum()
    assert loss.item() == 5.0
    assert g.gradient(loss, params)["encode.weight"].tolist() == [[2.0, 3.0], [3.0, 4.0]]


def test_a_functional_call_that_fails_leaves_the_module_as_it_was() -> None:
    layer = nn.Linear(2, 1)
    weight = layer.weight
    with pytest.raises(RuntimeError, match="shape"):
        ts.functional_call(layer, {"weight": ts.tensor([[1.0, 2.0]])}, torch.ones(3))
    assert layer.weight is weight
    with pytest.raises(ts.ArgumentError, match=r"no parameter or buffer \['wieght'\]; it has \['bias', 'weight'\]"):
        ts.functional_call(layer, {"wieght": weight}, torch.ones(2))


def test_a_module_called_on_torch_tensors_says_what_is_missing() -> None:
    layer = nn.Linear(2, 1)
    with ts.Grad() as g:
        loss = layer(torch.ones(2)).sum()
    with pytest.raises(ts.ArgumentError, match=r"model\(tensorad.tensor\(x\)\)"):
        g.gradient(loss, list(layer.parameters()))


def test_a_module_that_changes_its_dtype_or_shape() -> None:
    layer = nn.Linear(2, 1, bias=False)
    for change in (layer.float, layer.double, lambda: setattr(layer.weight, "data", torch.ones(3, 2).double())):
        change()
        with ts.Grad() as g:
            loss = layer(ts.ones(1, 2, dtype=layer.weight.dtype)).sum()
        found = g.gradient(loss, layer.weight)
        assert (found.dtype, found.shape) == (layer.weight.dtype, layer.weight.shape)


def test_views_are_no_sources_and_iterators_neither() -> None:
    layer = nn.Linear(2, 2)
    with ts.Grad() as g:
        loss = layer(ts.ones(2)).sum()
    with pytest.raises(ts.ArgumentError, match=r"the source\[0\].*view"):
        g.gradient(loss, [layer.weight[:1], layer.bias])
    with pytest.raises(ts.ArgumentError, match="make a list"):
        g.gradient(loss, layer.parameters())
    with pytest.raises(ts.ArgumentError, match="a dict by name"):
        ts.functional_call(layer, layer.parameters(), ts.ones(2))
    assert "nn.functional.linear at test_modules.py" in g.why(loss, layer.weight)


def test_a_view_under_no_grad() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad(), ts.Grad() as g:
        loss = (ts.ones(1, 2) @ layer.weight.T).sum()
    assert g.gradient(loss, layer.weight).tolist() == [[1.0, 1.0]]


def test_different_values_for_what_is_tied() -> None:
    layer = nn.Linear(2, 2)
    pair = nn.ModuleList([layer, layer])
    with pytest.raises(ts.ArgumentError, match=r"'0.weight', '1.weight'"):
        ts.functional_call(pair, {"0.weight": ts.ones(2, 2), "1.weight": ts.zeros(2, 2)}, ts.ones(2))


def test_a_step_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    with ts.Grad() as g:
        loss = (ts.tensor([3.0, 4.0]) * weight).sum()
    gradient = g.gradient(loss, weight)
    with pytest.raises(ts.InPlaceError, match="no_grad"):
        weight.sub_(0.1 * gradient)
    with torch.no_grad():
        weight -= 0.1 * gradient
        weight.sub_(gradient)
    torch.testing.assert_close(weight.detach(), torch.tensor([-2.3, -2.4]))


def test_a_function_with_a_backward_of_its_own_is_refused() -> None:
    class Reversed(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            return x.view_as(x)

        @staticmethod
        def backward(context: Any, g: Any) -> Any:
            return -g

    with ts.Grad(), pytest.raises(ts.NoRuleError, match=r"Reversed.*primitive"):
        Reversed.apply(ts.ones(2))
    x = torch.ones(2, requires_grad=True)
    assert torch.autograd.grad(Reversed.apply(x).sum(), x)[0].tolist() == [-1.0, -1.0]


def test_a_step_of_torchs_optimizer() -> None:
    layer = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    before = layer.weight.detach().clone()
    with ts.Grad() as g:
        loss = layer(ts.tensor([[1.0, 2.0]])).sum()
    for name, gradient in g.gradient(loss, dict(layer.named_parameters())).items():
        layer.get_parameter(name).grad = gradient.data
    optimizer.step()
    del optimizer
    gc.collect()  # it is part of a cycle of its own
    torch.testing.assert_close(layer.weight.detach(), before - 0.1 * torch.tensor([[1.0, 2.0]]))


def test_a_parameter_changed_before_its_gradient_is_noticed() -> None:
    layer = nn.Linear(2, 2, bias=False)
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        loss = layer(x).sum()
    with torch.no_grad():
        layer.weight.mul_(2)
    with pytest.raises(ts.MutationError):
        g.gradient(loss, x)
