"""Tensors as values: what they show, how they convert, what replaces them, what they refuse."""

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import tensorad as ts


def test_attributes() -> None:
    t = ts.tensor([[1.0, 2.0, 3.0]], dtype=ts.float64, name="t")
    assert (t.shape, t.dtype, t.device, t.ndim, t.name) == ((1, 3), torch.float64, torch.device("cpu"), 2, "t")
    assert (t.T.shape, t.mT.shape, len(t), t.numel(), t.size(1), t.dim()) == ((3, 1), (3, 1), 1, 3, 3, 2)
    assert isinstance(t.data, torch.Tensor)
    assert ts.tensor(1.0).name is None


def test_repr_is_torchs_with_a_capital() -> None:
    for data in (torch.arange(3), torch.rand(2, 40), torch.tensor(1.5, dtype=torch.float64), torch.tensor(True)):
        assert repr(ts.tensor(data)) == repr(data).replace("tensor(", "Tensor(", 1)


def test_format() -> None:
    assert f"{ts.tensor(math.pi):.3f}" == "3.142"
    assert f"{ts.tensor([1.0])}" == "Tensor([1.])"


def test_numbers() -> None:
    t = ts.tensor(2.5)
    assert (float(t), int(t), complex(t), bool(t), t.item(), t.tolist()) == (2.5, 2, 2.5 + 0j, True, 2.5, 2.5)
    assert list(range(ts.tensor(3))) == [0, 1, 2]
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(ts.tensor([1.0, 2.0]))
    with pytest.raises(RuntimeError, match="cannot be converted"):
        ts.tensor([1.0, 2.0]).item()


def test_iteration_and_membership() -> None:
    t = ts.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert [row.tolist() for row in t] == [[1, 2], [3, 4]]
    assert 3.0 in t
    assert 5.0 not in t
    assert [i.item() for i in ts.tensor([1, 2])] == [1, 2]
    with pytest.raises(TypeError, match="0-d"):
        list(ts.tensor(1.0))
    with pytest.raises(TypeError):
        len(ts.tensor(1.0))


def test_equality_is_elementwise_and_hashing_by_identity() -> None:
    a, b = ts.tensor([1.0, 2.0]), ts.tensor([1.0, 3.0])
    assert (a == b).tolist() == [True, False]
    assert (a != b).tolist() == [False, True]
    assert {a: 1, b: 2}[a] == 1


def test_comparisons_on_both_sides() -> None:
    a = ts.tensor([1.0, 2.0])
    assert (a > 1.5).tolist() == (a > 1.5).tolist() == [False, True]
    assert (a >= 2).tolist() == (a.ge(2)).tolist() == [False, True]
    assert (torch.tensor([1.5, 1.5]) < a).tolist() == [False, True]
    assert ((a > 1) & ~(a > 5) | (a < 0)).tolist() == [False, True]
    assert isinstance(a == 1, ts.Tensor)


def test_numpy() -> None:
    t = ts.tensor([1.0, 2.0])
    array = t.numpy()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 5
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    np.array(t)[0] = 7  # a copy
    assert t.tolist() == [1, 2]
    assert isinstance(np.ones(2, dtype=np.float32) * t, ts.Tensor)
    with pytest.raises(TypeError, match="ufunc"):
        np.sin(t)


def test_dlpack() -> None:
    t = ts.tensor([1.0, 2.0])
    other = torch.from_dlpack(t)
    other.add_(1)
    assert (other.tolist(), t.tolist()) == ([2, 3], [1, 2])


def test_pickle_and_copies() -> None:
    x = ts.tensor([1.0, 2.0], name="x")
    with ts.Grad() as g:
        y = x * x
        shallow, deep, pickled = copy.copy(y), copy.deepcopy(y), pickle.loads(pickle.dumps(y))
        z = [each * 3 for each in (shallow, deep, pickled)]
    assert g.gradient(z[0], x).tolist() == [6, 12]
    assert g.gradient(z[1], x, unconnected="none") is None
    assert g.gradient(z[2], x, unconnected="none") is None
    assert deep.tolist() == pickled.tolist() == [1, 4]
    assert (copy.copy(x).name, copy.deepcopy(x).name, pickle.loads(pickle.dumps(x)).name) == ("x", "x", "x")
    deep.data.add_(1)
    assert y.tolist() == [1, 4]


class TestMaking:
    def test_from_anything(self) -> None:
        assert ts.tensor(6).dtype == torch.int64
        assert ts.tensor([1.0, 2.0]).tolist() == [1, 2]
        assert ts.tensor(np.ones((2, 2))).dtype == torch.float64
        assert ts.tensor(ts.tensor([1.0]), dtype=ts.float64).dtype == torch.float64
        assert not ts.tensor(torch.ones(2, requires_grad=True)).data.requires_grad
        assert ts.tensor(torch.nn.Parameter(torch.ones(2))).shape == (2,)
        assert ts.tensor(1, dtype=ts.float32, device="cpu").dtype == torch.float32

    def test_nothing_is_aliased(self) -> None:
        array, tensor, own = np.ones(2), torch.ones(2), ts.tensor([1.0, 1.0])
        made = [ts.tensor(array), ts.tensor(tensor), ts.tensor(own)]
        array[:], tensor[:] = 5, 5
        own.data.fill_(5)
        assert [each.tolist() for each in made] == [[1, 1]] * 3

    def test_a_list_of_tensors_is_stacked(self) -> None:
        a, b = ts.tensor(2.0), ts.tensor(3.0)
        with ts.Grad() as g:
            y = ts.tensor([[a, b], [b, 1.0]]) * 2
        assert y.tolist() == [[4, 6], [6, 2]]
        assert [each.item() for each in g.gradient(y, [a, b])] == [2, 4]

    def test_filled(self) -> None:
        assert ts.zeros(2, 3).shape == ts.zeros((2, 3)).shape == (2, 3)
        assert ts.ones([2], dtype=ts.float64).dtype == torch.float64
        assert ts.full((2,), 7.0).tolist() == [7, 7]
        t = ts.tensor([1.0, 2.0])
        assert ts.zeros_like(t).tolist() == [0, 0]
        assert torch.ones_like(t).tolist() == ts.ones_like(t).tolist() == [1, 1]
        assert ts.full_like(t, 3.0).tolist() == [3, 3]
        assert ts.arange(3).tolist() == [0, 1, 2]
        assert ts.linspace(0, 1, 3).tolist() == [0, 0.5, 1]
        assert ts.eye(2).tolist() == [[1, 0], [0, 1]]
        assert isinstance(ts.zeros(2, requires_grad=True), ts.Tensor)
        assert not ts.zeros(2, requires_grad=True).data.requires_grad

    def test_names_of_dtypes_and_ops(self) -> None:
        assert ts.float32 is torch.float32
        assert {"sin", "float64", "Grad", "zeros", "greater", "logical_and"} <= set(dir(ts))
        with pytest.raises(AttributeError, match="'nothing'"):
            ts.nothing


class TestAssignment:
    def test_an_item(self) -> None:
        x = ts.tensor(3.0)
        with ts.Grad() as g:
            b = ts.zeros(3)
            early = b * 2
            b[0] = x
            b[1] = x * x
            late = b * 2
        assert (early.tolist(), late.tolist()) == ([0, 0, 0], [6, 18, 0])
        assert g.gradient(late, x).item() == 2 + 12

    def test_earlier_results_keep_the_old_value(self) -> None:
        x = ts.tensor([2.0, 3.0])
        with ts.Grad() as g:
            y = x * x
            z = x.exp()
            alias = x
            x[0] = 10.0
            w = x * x
        assert alias is x
        assert x.tolist() == [10, 3]
        assert y.tolist() == [4, 9]
        assert g.gradient(w, x).tolist() == [20, 6]
        assert z.data[0].item() == pytest.approx(math.exp(2))

    def test_augmented(self) -> None:
        w, dw = ts.tensor([1.0, 2.0]), ts.tensor([1.0, 1.0])
        params = [w]
        for p in params:
            p -= 0.5 * dw
        assert w.tolist() == [0.5, 1.5]
        with ts.Grad() as g:
            x = ts.tensor([2.0, 2.0])
            y = x * 1
            y *= x
            y += 1
            y /= 2
            y **= 2
        assert g.gradient(y, x).tolist() == [10, 10]
        with pytest.raises(ts.ShapeError, match=r"write x = x \+ y"):
            w += ts.ones(3, 2)

    def test_methods_in_place_refuse(self) -> None:
        t = ts.tensor([1.0])
        for name in ("add_", "mul_", "zero_", "fill_", "copy_"):
            hint = rf"t = t.{name[:-1]}\(...\)" if hasattr(torch.Tensor, name[:-1]) else "t a new value"
            with pytest.raises(ts.InPlaceError, match=hint):
                getattr(t, name)(1)

    def test_into_a_torch_tensor_refuses(self) -> None:
        target, x = torch.zeros(2), ts.tensor(1.0)
        with pytest.raises(ts.InPlaceError, match="make the receiver a Tensor"):
            target[0] = x
        with pytest.raises(ts.InPlaceError, match="make the receiver a Tensor"):
            target.add_(x)


def test_a_function_without_a_rule() -> None:
    ts.tensor(1.0)
    with pytest.raises(ts.NoRuleError, match=r'torch.geqrf has no derivative rule(.|\n)*ts.defrule\("geqrf\(input\)"'):
        torch.geqrf(ts.ones(2, 2))
    with pytest.raises(NotImplementedError, match="geqrf"):
        ts.ones(2, 2).geqrf()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ts.tensor(1.0).nothing
    assert not hasattr(ts.tensor(1.0), "nothing")


class TestMutation:
    @pytest.mark.parametrize("op", [torch.sin, torch.exp, lambda x: x * x, lambda x: x**3])
    def test_of_a_saved_value_raises(self, op: Any) -> None:
        x = ts.tensor([1.0, 2.0])
        with ts.Grad() as g:
            y = op(x)
            z = y * 2
        (y if op is torch.exp else x).data.mul_(2)
        with pytest.raises(ts.MutationError, match=r"test_tensor.py:\d+ .*changed in place"):
            g.gradient(z, x)

    def test_of_a_value_that_nobody_saved_is_fine(self) -> None:
        x = ts.tensor([1.0, 2.0])
        with ts.Grad() as g:
            y = x * 2 + x
        x.data.zero_()
        y.data.zero_()
        assert g.gradient(y, x).tolist() == [3, 3]

    def test_of_a_view_raises(self) -> None:
        x = ts.tensor([1.0, 2.0])
        view = x.data[:1]
        with ts.Grad() as g:
            y = x * x
        view.add_(1)
        with pytest.raises(ts.MutationError):
            g.gradient(y, x)

    def test_of_a_torch_operand_raises(self) -> None:
        x, c = ts.tensor([1.0, 2.0]), torch.ones(2)
        with ts.Grad() as g:
            y = x * c
        c.add_(1)
        with pytest.raises(ts.MutationError):
            g.gradient(y, x)

    def test_of_a_numpy_operand_goes_unnoticed_and_does_no_harm(self) -> None:
        x, array = ts.tensor([1.0, 1.0]), np.ones(2, dtype=np.float32)
        shared = torch.from_numpy(array)
        with ts.Grad() as g:
            y = x * array + x * shared
        array[:] = 0
        assert g.gradient(y, x).tolist() == [2, 2]

    def test_of_a_frozen_parameter_raises(self) -> None:
        x, c = ts.tensor([1.0, 2.0]), torch.nn.Parameter(torch.ones(2), requires_grad=False)
        with ts.Grad() as g:
            y = x * c
        c.add_(1)
        with pytest.raises(ts.MutationError):
            g.gradient(y, x)

    def test_before_it_is_saved_is_fine(self) -> None:
        x = ts.tensor([1.0, 2.0])
        x.data.mul_(2)
        with ts.Grad() as g:
            y = x * x
        assert g.gradient(y, x).tolist() == [4, 8]


def test_what_torch_users_look_for() -> None:
    x = ts.tensor(1.0)
    for name in ("grad", "requires_grad", "backward", "grad_fn", "is_leaf"):
        assert not hasattr(x, name)
        with pytest.raises(AttributeError, match=r"g.gradient\(target, sources\)"):
            getattr(x, name)
    with pytest.raises(ts.NoRuleError, match="torch's own autograd"):
        torch.autograd.grad(x, x)
    with pytest.raises(ts.InPlaceError, match="out="):
        torch.sin(x, out=torch.ones(()))
    with pytest.raises(TypeError, match="sin"):
        ts.sin(x, nonsense=1)
    with pytest.raises(TypeError, match="subclassed"):
        type("Mine", (ts.Tensor,), {})


def test_named_tuples_and_names() -> None:
    pair = ts.tensor([[3.0, 1.0], [2.0, 4.0]]).max(dim=1)
    assert torch.cat([pair.values, pair.values]).tolist() == [3, 4, 3, 4]
    assert torch.stack(tuple(pair)[:1]).shape == (1, 2)
    w = ts.tensor(1.0, name="w")
    w -= 0.5
    assert w.name == "w"


def test_a_copy_of_a_leaf_is_that_leaf() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        y = copy.copy(x) * 3
    assert g.gradient(y, x).item() == 3
