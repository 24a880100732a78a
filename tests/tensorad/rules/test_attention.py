"""Attention against torch.autograd: its own formula, to the second order, and its kernel, which has no second order."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracle import agree, by_tensorad, by_torch, rand
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

import tensorad as ts

KEPT = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]).bool()  # a row sees nothing
OPTIONS: list[dict[str, Any]] = [
    {},
    {"is_causal": True},
    {"scale": 0.7},
    {"scale": -0.7},
    {"attn_mask": KEPT},
    {"attn_mask": rand(5, 4, seed=9)},
    {"attn_mask": rand(2, 2, 5, 4, seed=9)},
    {"enable_gqa": True},
    {"enable_gqa": True, "is_causal": True},
]


def attend(**options: Any) -> Callable[..., Any]:
    def function(query: Any, key: Any, value: Any) -> Any:
        torch.manual_seed(3)
        return functional.scaled_dot_product_attention(query, key, value, **options)

    return function


def operands(options: dict[str, Any]) -> list[Any]:
    heads = 4 if options.get("enable_gqa") else 2
    return [rand(2, heads, 5, 3), rand(2, 2, 4, 3, seed=1), rand(2, 2, 4, 3, seed=2)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_attention(options: dict[str, Any]) -> None:
    function, arguments = attend(**options), operands(options)
    agree(function, *arguments, order=1)
    with sdpa_kernel(SDPBackend.MATH):
        agree(function, *arguments)
        _, expected = by_torch(function, arguments, 2)
    torch.testing.assert_close(by_tensorad(function, arguments, 2)[1], expected)  # by the kernel, then by the formula


BELOW: list[dict[str, Any]] = [{}, {"dropout_p": 0.4}, {"is_causal": True}, {"attn_mask": rand(5, 4) > 0}]


@pytest.mark.parametrize("options", BELOW, ids=str)
@pytest.mark.parametrize("shapes", ["4,5,3 4,4,3 4,4,3", "2,1,5,3 3,4,3 4,3", "5,3 4,3 4,2", "0,5,3 0,4,3 0,4,3"])
def test_attention_that_torchs_kernel_does_not_take(shapes: str, options: dict[str, Any]) -> None:
    sizes = [[int(size) for size in shape.split(",")] for shape in shapes.split()]
    agree(attend(**options), *(rand(*shape, seed=seed) for seed, shape in enumerate(sizes)))


def test_a_mask_may_be_differentiated_by() -> None:
    query, key, value = operands({})
    agree(lambda q, mask: functional.scaled_dot_product_attention(q, key, value, mask), query, rand(5, 4))


def test_self_attention() -> None:
    agree(attend(), *[rand(2, 5, 3)] * 3)
    agree(lambda x: functional.scaled_dot_product_attention(x, x, x), rand(2, 5, 3), order=3)


def test_a_mask_and_is_causal_are_both_followed_where_torch_takes_its_kernel_and_refused_elsewhere() -> None:
    arguments = operands({})
    both = KEPT & torch.ones(5, 4).tril().bool()
    _, (first, second) = by_tensorad(attend(attn_mask=KEPT, is_causal=True), arguments, 2)
    _, (expected_first, expected_second) = by_tensorad(attend(attn_mask=both), arguments, 2)
    torch.testing.assert_close([first, second], [expected_first, expected_second])
    with pytest.raises(ts.ArgumentError, match="is_causal"):
        attend(attn_mask=KEPT, is_causal=True)(*(ts.tensor(each[0]) for each in arguments))


def test_a_row_that_is_masked_whole_has_no_gradient_and_no_nan() -> None:
    query, key, value = map(ts.tensor, operands({}))
    with ts.Grad() as g:
        out = functional.scaled_dot_product_attention(query, key, value, KEPT)
    for gradient in g.gradient(out, (query, key, value)):
        assert gradient.data.isfinite().all()
    assert (g.gradient(out, query).data[:, :, 2] == 0).all()


@pytest.mark.parametrize("name", ["_safe_softmax(x, 1)", "_softmax(x, 1, False)", "_log_softmax(x, 1, False)"])
def test_softmaxes_of_the_lower_level(name: str) -> None:
    for space in (torch, torch.ops.aten):
        agree(lambda x, space=space: eval(f"space.{name}", {"space": space, "x": x}), rand(2, 3))


CAUSAL = torch.ones(5, 5).triu(1).bool()
CALLS: list[dict[str, Any]] = [
    {},
    {"need_weights": False},
    {"average_attn_weights": False},
    {"attn_mask": CAUSAL},
    {"key_padding_mask": torch.tensor([[0, 0, 0, 0, 1]] * 3).bool()},
    {"need_weights": False, "is_causal": True, "attn_mask": CAUSAL},
]
MODULES: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"add_bias_kv": True},
    {"add_zero_attn": True},
    {"dropout": 0.3},
    {"kdim": 8, "vdim": 6},
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: ",".join(call))
@pytest.mark.parametrize("options", MODULES, ids=str)
def test_multihead_attention(options: dict[str, Any], call: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = fixed(torch.nn.MultiheadAttention(8, 2, **options))

    def function(query: Any, key: Any, value: Any) -> Any:
        torch.manual_seed(1)
        return [each for each in module(query, key, value, **call) if each is not None]

    with sdpa_kernel(SDPBackend.MATH):
        agree(function, rand(5, 3, 8), rand(5, 3, 8, seed=1), rand(5, 3, options.get("vdim", 8), seed=2))


def fixed(module: Any) -> Any:
    return module.double().requires_grad_(False)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("kind", ["TransformerEncoderLayer", "TransformerDecoderLayer"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_transformer_layers(kind: str, norm_first: bool, train: bool) -> None:
    torch.manual_seed(0)
    module = fixed(getattr(torch.nn, kind)(8, 2, 16, norm_first=norm_first)).train(train)

    def function(*arguments: Any) -> Any:
        torch.manual_seed(1)
        return module(*arguments)

    with sdpa_kernel(SDPBackend.MATH):
        agree(function, rand(5, 3, 8), *([rand(4, 3, 8, seed=1)] if "Decoder" in kind else []))
