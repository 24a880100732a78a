"""Shapes, dimensions, joining and cutting, types, padding: against torch.autograd, to second order."""

import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, rand

import tensorad as ts

# An expression in x (and y, z), as a user types it, and the shapes of its arguments.
ROWS = """
torch.reshape(x, (3, 2))                                | 2,3 ; 6
torch.reshape(x, shape=(-1,))                           | 2,3 ;  ; 0,2
x.reshape(3, 2)                                         | 2,3 ; 6
x.reshape((3, -1))                                      | 2,3
x.reshape(0, 5)                                         | 0,2
x.view(3, -1)                                           | 2,3
x.view_as(torch.zeros(3, 2))                            | 2,3
x.reshape_as(torch.zeros(3, 2))                         | 2,3
torch.flatten(x)                                        | 2,3,2 ;  ; 0,2
x.flatten(1)                                            | 2,3,2
x.flatten(start_dim=0, end_dim=-2)                      | 2,3,2
torch.unflatten(x, 1, (2, -1))                          | 3,4
x.unflatten(-1, (2, 2))                                 | 3,4
torch.ravel(x)                                          | 2,3
x.ravel()                                               | 2,3
torch.squeeze(x)                                        | 1,3,1 ; 2 ;
torch.squeeze(x, 0)                                     | 1,3,1 ; 2,3
torch.squeeze(x, (0, -1))                               | 1,3,1 ; 1,3,2
x.squeeze(dim=-1)                                       | 1,3,1
x.squeeze(axis=-1)                                      | 1,3,1
torch.unsqueeze(x, 0)                                   | 2,3 ;  ; 0
x.unsqueeze(dim=-1)                                     | 2,3
torch.atleast_1d(x)                                     |  ; 3 ; 2,3
torch.atleast_2d(x)                                     |  ; 3 ; 2,3
torch.atleast_3d(x)                                     |  ; 3 ; 2,3 ; 2,3,1,2
torch.atleast_2d(x, y)                                  | 3 & 1,2
torch.atleast_3d([x, y])                                | 3 & 1,2
x.expand(2, 3)                                          | 1,3 ; 2,1 ;  ; 3
x.expand(4, -1, 3)                                      | 2,1 ; 2,3
x.expand((0, 3))                                        | 3
x.expand_as(torch.zeros(2, 3))                          | 1,3 ;
torch.broadcast_to(x, (2, 3))                           | 1,3 ; 2,1 ;
x.broadcast_to((2, 3))                                  | 3
torch.broadcast_tensors(x, y)                           | 3,1 & 2 ;  & 2,2 ; 1 & 0,1
x.sum_to_size(1, 3)                                     | 2,3 ; 4,2,3
x.sum_to_size((3,))                                     | 2,3 ; 3
x.sum_to_size(())                                       | 2,3
x.repeat(2)                                             | 3 ;
x.repeat(2, 1, 3)                                       | 2,2 ;  ; 0,2
x.repeat((0, 2))                                        | 3
torch.tile(x, (2,))                                     | 2,3
torch.tile(x, dims=(2, 1, 2))                           | 2,3 ;
x.tile(2, 3)                                            | 3 ; 2,1,2
torch.repeat_interleave(x, 2)                           | 2,3
torch.repeat_interleave(x, 3, dim=1)                    | 2,3,2
x.repeat_interleave(2, -1)                              | 2,3 ; 0,3
x.repeat_interleave(torch.tensor([2, 0, 1]), 0)         | 3,2
x.repeat_interleave(torch.tensor([3]), dim=1)           | 2,3
torch.transpose(x, 0, 1)                                | 2,3 ; 2,0,3
x.transpose(-1, 0)                                      | 2,3,2
torch.swapdims(x, 0, 2)                                 | 2,3,2
torch.swapaxes(x, axis0=0, axis1=2)                     | 2,3,2
x.swapaxes(0, 1)                                        | 2,3
torch.permute(x, (2, 0, 1))                             | 2,3,4
torch.permute(x, dims=(-1, 0, 1))                       | 2,3,4
x.permute(1, 2, 0)                                      | 2,3,4
x.permute([1, 2, 0])                                    | 2,3,4
x.permute(0)                                            | 3
torch.movedim(x, 0, -1)                                 | 2,3,4
torch.moveaxis(x, (0, 1), (2, 0))                       | 2,3,4
x.movedim((0, 1), (1, 2))                               | 2,3,4
torch.t(x)                                              | 2,3 ; 3 ;
x.t()                                                   | 2,3
x.T                                                     | 2,3
x.mT                                                    | 2,3 ; 2,3,4
x.H                                                     | 2,3
x.mH                                                    | 2,3,4
torch.adjoint(x)                                        | 2,3,4
x.adjoint()                                             | 2,3
torch.flip(x, (0,))                                     | 2,3
torch.flip(x, dims=[0, -1])                             | 2,3,2
x.flip(0, 1)                                            | 2,3 ; 0,2
torch.fliplr(x)                                         | 2,3
x.flipud()                                              | 2,3
torch.roll(x, 1)                                        | 2,3 ; 3
torch.roll(x, shifts=(1, -2), dims=(0, 1))              | 2,3
x.roll(2, 0)                                            | 3,2
x.roll(1, dims=-1)                                      | 3,2
torch.rot90(x)                                          | 2,3
torch.rot90(x, 3, (0, 2))                               | 2,3,2
x.rot90(k=-1, dims=[1, 0])                              | 2,3
torch.cat([x, y])                                       | 2,3 & 1,3 ; 2 & 0 ; 0,3 & 2,3 ; 0 & 2,2
torch.cat((x, y, x), dim=1)                             | 2,3 & 2,1
torch.cat([x, torch.ones(2, 1)], -1)                    | 2,3
torch.cat(tensors=[x, y], axis=1)                       | 2,3 & 2,1
torch.concat([x, y])                                    | 2,3 & 1,3
torch.concatenate([x, y], axis=-1)                      | 2,3 & 2,2
torch.stack([x, y])                                     | 2,3 & 2,3 ;  & ; 0 & 0
torch.stack((x, y, x), dim=-1)                          | 2,3 & 2,3
torch.hstack([x, y])                                    | 2 & 3 ; 2,1 & 2,2 ;  & ; 0 & 2
torch.vstack((x, y))                                    | 2 & 2 ; 1,2 & 2,2 ;  &
torch.row_stack((x, y))                                 | 2 & 2
torch.dstack([x, y])                                    | 2 & 2 ; 2,3 & 2,3 ; 2,3,1 & 2,3,2
torch.column_stack([x, y])                              | 2 & 2 ; 2 & 2,3 ;  &
torch.block_diag(x, y)                                  | 2,3 & 1,2 ; 2 &
torch.block_diag(x)                                     | 2,3
torch.split(x, 2)                                       | 5,2 ; 3 ; 0,2
torch.split(x, [1, 3], dim=1)                           | 2,4
x.split(split_size=2, dim=-1)                           | 2,3
x.split([2, 0, 1])                                      | 3,2
torch.split_with_sizes(x, [1, 2])                       | 3,2
x.split_with_sizes([1, 2], -1)                          | 2,3
torch.tensor_split(x, 2)                                | 5,2
torch.tensor_split(x, (1, 3), dim=1)                    | 2,4 ; 0,3
torch.tensor_split(x, indices=[3], dim=1)               | 2,3
x.tensor_split(3, 1)                                    | 2,0 ; 2,2
torch.chunk(x, 2)                                       | 5,2
x.chunk(3, dim=-1)                                      | 2,5
torch.hsplit(x, 2)                                      | 4 ; 2,4
x.vsplit([1, 2])                                        | 4,2
torch.dsplit(x, 2)                                      | 2,2,4
torch.unbind(x)                                         | 3,2 ; 2 ; 2,0
x.unbind(dim=-1)                                        | 3,2
x.unbind(1)[1]                                          | 3,2
torch.narrow(x, 0, 1, 2)                                | 4,2
x.narrow(-1, -2, 1)                                     | 2,3
x.narrow(0, torch.tensor(1), 2)                         | 3
torch.select(x, 0, 1)                                   | 3,2
x.select(dim=-1, index=-1)                              | 3,2
x.unfold(0, 2, 1)                                       | 5 ; 3,2
x.unfold(-1, size=3, step=2)                            | 2,7
x.unfold(1, 2, 3)                                       | 2,6,2
x.unfold(0, 1, 1)                                       |
torch.diagonal(x)                                       | 3,3 ; 2,3 ; 2,3,4
torch.diagonal(x, offset=1, dim1=-1, dim2=0)            | 2,3,4
x.diagonal(-1)                                          | 3,2
torch.linalg.diagonal(x, offset=-1)                     | 2,3,4
torch.diag(x)                                           | 3 ; 3,3 ; 2,3
x.diag(-1)                                              | 2 ; 3,3
torch.diag_embed(x)                                     | 3 ; 2,3
x.diag_embed(offset=1, dim1=0, dim2=-1)                 | 2,3
torch.diagflat(x, 1)                                    | 2,2 ; 3
torch.tril(x)                                           | 3,3 ; 2,2,3
x.tril(-1)                                              | 3,3
torch.triu(x, diagonal=1)                               | 3,3 ; 2,2,3
torch.meshgrid(x, y, indexing="ij")                     | 2 & 3 ;  & 2
torch.meshgrid([x, y], indexing="xy")                   | 2 & 3
torch.meshgrid(x, y, x, indexing="xy")                  | 2 & 3
torch.meshgrid(x, indexing="xy")                        | 2
torch.cartesian_prod(x, y)                              | 2 & 3
torch.cartesian_prod(x)                                 | 2
torch.combinations(x)                                   | 4
torch.combinations(x, 3, with_replacement=True)         | 3
torch.clone(x)                                          | 2,3 ;
x.clone(memory_format=torch.contiguous_format)          | 2,3
x.mT.contiguous()                                       | 2,3
x.resolve_conj().resolve_neg()                          | 2
torch.conj(x)                                           | 2
torch.conj_physical(x)                                  | 2
torch.real(x)                                           | 2
x.real                                                  | 2
torch.view_as_real(torch.complex(x, y))                 | 2,3 & 2,3 ;  &
torch.view_as_real(torch.complex(x, y).conj().resolve_conj()) | 2,3 & 2,3
torch.view_as_complex(x).imag                           | 3,2
torch.imag(torch.view_as_complex(x).conj_physical())    | 3,2
torch.complex(x, y).real                                | 3 & 1
torch.complex(x, y).angle()                             | 3 & 3
torch.angle(x)                                          | 3
torch.view_as_real(torch.polar(x.abs(), y))                   | 3 & 3
torch.view_as_real(torch.complex(x, y).mH.resolve_conj()) | 2,3 & 2,3
torch.view_as_real(torch.complex(x, y).H.resolve_conj()) | 2,3 & 2,3
functional.pad(x, (1, 2))                               | 2,3 ; 3 ; 0
functional.pad(x, (1, -1, 0, 2), value=1.5)             | 3,4
functional.pad(x, pad=[-1, -1], mode="constant")        | 2,3
functional.pad(x, (2, 1), mode="reflect")               | 2,3 ; 2,2,4
functional.pad(x, (1, 2, 2, 0), "reflect")              | 1,3,4
functional.pad(x, (3, 1), "replicate")                  | 2,3
functional.pad(x, (1, 2, 0, 3), mode="replicate")       | 2,1,2,3
functional.pad(x, (2, 3), mode="circular")              | 1,3
functional.pad(x, (-1, 1, -2, 1), mode="circular")      | 1,3,4,4
functional.pad(x, (2, -1), mode="circular")             | 1,4
functional.pad(x, (1, 0, 2, 1), mode="circular")        | 1,2,2,3
"""


@pytest.mark.parametrize(("expression", "sizes"), cases(ROWS))
def test_agrees_with_torch(expression, sizes):
    arguments = [rand(*size, seed=seed) for seed, size in enumerate(sizes)]
    agree(bent(expression, "xyz"[: len(sizes)]), *arguments)


@pytest.mark.parametrize(
    "expression",
    ["x[0].expand(3, 4)", "x.tile(2, 1)", "x.unfold(1, 2, 1)", "torch.cat(x.split(1)[::-1])", "x.diagonal()",
     "functional.pad(x, (1, 1), 'circular')", "x.unbind(1)[2]"],
)  # fmt: skip
def test_third_order(expression):
    agree(bent(expression, "x"), rand(3, 4), order=3)


COMPLEX_ROWS = """
x.reshape(3, 2)                   | 2,3
x.expand(2, 2, 3)                 | 1,3
x.repeat(2, 1)                    | 1,3
x.permute(1, 0)                   | 2,3
x.H                               | 2,3
x.mH                              | 2,2,3
x.adjoint()                       | 2,3
x.conj()                          | 2,3
x.conj_physical()                 | 2,3
x.conj().resolve_conj()           | 2,3
x.real                            | 2,3
torch.real(x)                     | 2,3
x.imag                            | 2,3
torch.view_as_real(x)             | 2,3
torch.angle(x)                    | 2,3
torch.cat([x, y.real])            | 2,3 & 1,3
torch.stack([x, y], 1)            | 2,3 & 2,3
x.chunk(2)                        | 3,2
x.diagonal()                      | 2,3
x.roll(1, 0)                      | 2,3
functional.pad(x, (1, 1))         | 2,3
"""


@pytest.mark.parametrize(("expression", "sizes"), cases(COMPLEX_ROWS))
def test_complex_agrees_with_torch(expression, sizes):
    arguments = [torch.complex(rand(*size, seed=seed), rand(*size, seed=9)) for seed, size in enumerate(sizes)]
    agree(bent(expression, "xyz"[: len(sizes)]), *arguments)


def test_complex_angle_0():
    assert by_tensorad(torch.angle, [torch.zeros(1, dtype=torch.complex128)])[1][0][0].tolist() == [0]


def test_real_part_of_z_squared_at_1_plus_2j():
    z = ts.tensor([1 + 2j], dtype=ts.complex128)
    with ts.Grad() as g:
        y = (z * z).real
    assert g.gradient(y, z).tolist() == [2 - 4j]


def test_polar_of_a_negative_radius():
    # torch's gradient has the wrong sign here: the slope of r cos(a) by r is cos(a) for any r.
    r, a = ts.tensor(-2.0, dtype=ts.float64), ts.tensor(0.5, dtype=ts.float64)
    with ts.Grad() as g:
        y = torch.polar(r, a).real
    torch.testing.assert_close(g.gradient(y, r).data, a.cos().data)


def gradient_of_sum(function, value):
    """A Tensor of `value`, what `function` makes of it, and the gradient of the sum of that."""
    x = ts.tensor(value)
    with ts.Grad() as g:
        y = function(x)
    return x, y, g.gradient(y, x)


CONVERSIONS = {
    "dtype": (lambda x: x.to(torch.float64), torch.float64),
    "dtype keyword": (lambda x: x.to(dtype=torch.bfloat16), torch.bfloat16),
    "device": (lambda x: x.to("cpu"), torch.float32),
    "device and dtype": (lambda x: x.to("cpu", torch.float64), torch.float64),
    "keywords": (lambda x: x.to(device=torch.device("cpu"), dtype=ts.float16, copy=True), torch.float16),
    "other Tensor": (lambda x: x.to(ts.tensor(1.0, dtype=ts.float64)), torch.float64),
    "other torch tensor": (lambda x: x.to(torch.zeros(1, dtype=torch.float64)), torch.float64),
    "type_as": (lambda x: x.type_as(ts.tensor(1.0, dtype=ts.float64)), torch.float64),
    "type": (lambda x: x.type(torch.float64), torch.float64),
    "type by name": (lambda x: x.type("torch.DoubleTensor"), torch.float64),
    "cpu": (lambda x: x.cpu(), torch.float32),
    "complex": (lambda x: x.to(torch.complex64), torch.complex64),
    "cfloat": (lambda x: x.cfloat(), torch.complex64),
    "cdouble": (lambda x: x.cdouble(), torch.complex128),
    "float": (lambda x: x.float(), torch.float32),
    "double": (lambda x: x.double(), torch.float64),
    "half": (lambda x: x.half(), torch.float16),
    "bfloat16": (lambda x: x.bfloat16(), torch.bfloat16),
    "memory format": (lambda x: x.double(memory_format=torch.contiguous_format), torch.float64),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_a_conversion_gives_the_gradient_in_the_dtype_of_the_source(name):
    convert, dtype = CONVERSIONS[name]
    x, y, gradient = gradient_of_sum(lambda x: convert(x * 2), [1.0, 3.0])
    assert y.dtype == dtype
    assert gradient.dtype == x.dtype
    assert gradient.tolist() == [2, 2]


def test_conversions_at_second_order():
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = x.double() ** 3
        first = g1.gradient(y, x)
    assert (first.dtype, g2.gradient(first, x).tolist()) == (torch.float32, [6, 12])


@pytest.mark.parametrize("name", "int long short char byte bool".split())
def test_a_conversion_to_integers_is_a_constant(name):
    x = ts.tensor([1.0, 3.0])
    with ts.Grad() as g:
        y = getattr(x, name)()
        z = y * x
    assert y.node is None
    assert y.dtype == getattr(x.data, name)().dtype
    assert g.gradient(z, x).tolist() == y.to(torch.float32).tolist()


def test_names_of_dtypes_stay_dtypes():
    for name in "float double half bfloat16 int long short bool".split():
        assert getattr(ts, name) is getattr(torch, name)


def test_type_without_arguments_names_the_type():
    assert ts.tensor(1.0).type() == "torch.FloatTensor"


def test_view_as_another_dtype():
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        bits = x.view(torch.int32)
        y = x.view(torch.float32) * bits
        with pytest.raises(ts.NoRuleError, match="reads the bits"):
            x.view(torch.float16)
    assert bits.tolist() == x.data.view(torch.int32).tolist()
    assert g.gradient(y, x).tolist() == bits.tolist()


@pytest.mark.parametrize("detach", [torch.detach, ts.Tensor.detach, ts.detach])
def test_detach_is_a_constant_that_shares_the_data(detach):
    x, _, gradient = gradient_of_sum(lambda x: x * detach(x), [2.0, 3.0])
    assert gradient.tolist() == [2, 3]
    other = detach(x)
    assert other is not x
    assert other.data.data_ptr() == x.data.data_ptr()


def test_properties_are_no_methods():
    x = ts.tensor([[1.0, 2.0]])
    assert [each.shape for each in (x.T, x.mT, x.H, x.mH, x.real)] == [(2, 1)] * 4 + [(1, 2)]
    assert ts.tensor(1 + 2j).imag.item() == 2


def test_one_node_for_all_pieces():
    x = ts.tensor([[1.0, 2.0], [3.0, 4.0]])
    with ts.Grad():
        for pieces in (x.unbind(), x.split(1), x.chunk(2), list(x)):
            first, second = pieces
            assert first.node.parents == second.node.parents
            assert first.node.parents[0].parents == (x.node,)


def test_pieces_that_are_not_used_get_zeros():
    _, _, gradient = gradient_of_sum(lambda x: x.split([1, 2])[0] * 5, [1.0, 2.0, 3.0])
    assert gradient.tolist() == [5, 0, 0]


def test_an_empty_tensor_has_no_rows():
    assert list(ts.zeros(0, 3)) == []
    assert ts.zeros(2, 0).unbind(1) == ()
    with pytest.raises(IndexError):
        ts.tensor(1.0).unbind()


def test_iteration_over_many_rows():
    def weighted(x):
        return sum(row * number for number, row in enumerate(x))

    _, _, gradient = gradient_of_sum(weighted, torch.ones(2000, 2))
    assert gradient.tolist() == [[number, number] for number in range(2000)]


def test_a_chain_of_views():
    def twist(x):
        for _ in range(500):
            x = x.reshape(3, 2).T.contiguous().unsqueeze(0).squeeze(0)
        return x

    _, _, gradient = gradient_of_sum(lambda x: twist(x) * torch.arange(6.0).reshape(2, 3), torch.ones(2, 3))
    assert sorted(gradient.flatten().tolist()) == [0, 1, 2, 3, 4, 5]


def test_raw_tensors_give_tensors():
    x = torch.ones(2, 2)
    for name in "reshape flatten cat stack hstack unsqueeze atleast_1d diag pad meshgrid repeat_interleave".split():
        arguments = {"reshape": (x, (4,)), "cat": ([x, x],), "stack": ([x, x],), "hstack": ([x, x],)}
        arguments |= {"unsqueeze": (x, 0), "pad": (x, (1, 1)), "meshgrid": (x[0], x[0]), "repeat_interleave": (x, 2)}
        out = getattr(ts, name)(*arguments.get(name, (x,)))
        assert isinstance(out[0] if isinstance(out, tuple) else out, ts.Tensor), name


def test_repeat_interleave_of_counts_is_a_constant():
    assert torch.repeat_interleave(ts.tensor([2, 0, 1])).tolist() == [0, 0, 2]


def test_the_shape_errors_are_torchs():
    x = ts.ones(2, 3)
    for wrong in ("x.reshape(4)", "x.view(7)", "torch.cat([x, ts.ones(2, 2)])", "x.narrow(0, 1, 5)", "x.expand(3, 3)"):
        with pytest.raises(RuntimeError):
            eval(wrong, {"x": x, "ts": ts, "torch": torch})
    with pytest.raises(IndexError):
        x.unsqueeze(4)


# The failures of the first tensorad that concern shapes.
def test_a_bias_gets_a_gradient_of_its_own_shape():
    _, _, gradient = gradient_of_sum(lambda b: ts.zeros(3, 2) + b, [1.0, 2.0])
    assert gradient.tolist() == [3, 3]


def test_broadcast_to_and_back():
    _, _, gradient = gradient_of_sum(lambda x: ts.broadcast_to(x, (4, 2)).squeeze().unsqueeze(0), [1.0, 2.0])
    assert gradient.tolist() == [4, 4]


def test_cat_and_stack_of_one_tensor_twice():
    _, _, gradient = gradient_of_sum(lambda x: ts.cat([ts.stack([x, x]), ts.stack([x, x])], dim=1), [1.0, 2.0])
    assert gradient.tolist() == [4, 4]


def test_a_conversion_does_not_cut_the_tape():
    _, _, gradient = gradient_of_sum(lambda x: x.to(ts.float64).to(ts.float32) * 3, [1.0])
    assert gradient.tolist() == [3]


@pytest.mark.parametrize("shape", [(), (2, 2, 2)])
def test_diag_of_what_is_no_vector_or_matrix_is_torchs_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError, match="Supports 1D or 2D"):
        torch.diag(ts.tensor(rand(*shape)))


@pytest.mark.parametrize("name", ["unique", "unique_consecutive"])
def test_distinct_values_are_constants_that_a_context_refuses(name: str) -> None:
    x = ts.tensor([1.0, 1.0, 2.0])
    assert getattr(torch, name)(x).tolist() == [1, 2]
    assert ts.rule(name).kind == "constant"
    with ts.Grad():
        with pytest.raises(ts.NoRuleError, match=name):
            getattr(x, name)()
        with pytest.raises(ts.NoRuleError, match=name):
            getattr(torch, name)(input=x, return_inverse=True)
        assert getattr(torch, name)(x.long(), return_counts=True)[1].tolist() == [2, 1]
        with ts.stop_gradient():
            assert getattr(torch, name)(x).tolist() == [1, 2]
        with torch.no_grad():
            assert getattr(x, name)().tolist() == [1, 2]
