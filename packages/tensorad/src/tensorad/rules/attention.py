"""Attention: scaled dot products, their softmax, and torch's own kernel for the whole, which never makes the scores."""

import math
from typing import Any

import torch

from tensorad.errors import ArgumentError
from tensorad.op import composed, defrule, fused
from tensorad.operands import plain
from tensorad.rules.activations import drop
from tensorad.rules.reductions import softmax_pull
from tensorad.tensor import Tensor

aten = torch.ops.aten
choose = torch._fused_sdp_choice  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
attend_by_blocks: Any = torch._scaled_dot_product_flash_attention_for_cpu  # pyright: ignore[reportPrivateImportUsage]
FLASH = 1  # torch's number for the kernel that goes through the keys block by block

# fmt: off

safe_softmax = defrule("_safe_softmax(self, dim, dtype=None)", "ops.aten._safe_softmax.default",
                       self=lambda g, dim, out: softmax_pull(g, out, dim, g.dtype))
attention = defrule("attention(query, key, value, mask, dropout_p, scale)", function=lambda *args: attend(*args),
                    joint=("query key value mask", lambda g, query, key, value, mask, scale, wanted, residuals:
                           attention_pulls(g, query, key, value, mask, scale, wanted, *residuals))).call
flash = defrule("flash(query, key, value, dropout_p, is_causal, *, attn_mask, scale)", function=attend_by_blocks,
                joint=("query key value", lambda g, query, key, value, attn_mask, is_causal, scale, wanted, out, residuals:
                       flash_pulls(g, query, key, value, attn_mask, is_causal, scale, wanted, out, residuals))).call

# fmt: on


@composed("scaled_dot_product_attention", "ops.aten.scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """By torch's kernel where torch takes it: on a CPU, in four dimensions, and with a mask that is a constant."""
    q, k, v, mask = plain(query), plain(key), plain(value), plain(attn_mask)
    chosen = choose(q, k, v, mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    if scale is None:
        scale = 1 / math.sqrt(q.shape[-1] or 1)
    if mask is not None and mask.dtype == torch.bool:
        attn_mask = mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -math.inf)
    if chosen == FLASH and q.is_cpu and type(attn_mask) is not Tensor:
        return flash(query, key, value, 0.0, is_causal, attn_mask=mask, scale=scale)
    if enable_gqa:
        key, value = (repeated(each, q.shape[-3]) for each in (key, value))
    if is_causal and attn_mask is not None:
        raise ArgumentError("is_causal=True is a mask of its own: give it or attn_mask, or one mask that is both")
    return attention(query, key, value, causal(q, k) if is_causal else attn_mask, dropout_p, scale)


def causal(query: Any, key: Any) -> Any:
    """The mask that lets no query see a key after it."""
    return query.new_full((query.shape[-2], key.shape[-2]), -math.inf).triu(1)


def repeated(each: Any, heads: int) -> Any:
    """Keys or values, of which several heads of queries share one."""
    return each if each.shape[-3] == heads else each.repeat_interleave(heads // each.shape[-3], -3)


def attention_weights(query: Any, key: Any, mask: Any, scale: float) -> Any:
    """What each query takes of each value; nothing at all where the mask leaves no key."""
    root = math.sqrt(abs(scale))  # to both, as torch does, so that neither grows large
    scores = (query * math.copysign(root, scale)) @ (key * root).mT
    return scores.softmax(-1) if mask is None else safe_softmax(scores + mask, -1)


def attend(query: Any, key: Any, value: Any, mask: Any, dropout_p: float, scale: float) -> Any:
    """The output, with the weights and the noise that dropout multiplied them by."""
    weights = attention_weights(query, key, mask, scale)
    kept, noise = drop(weights, dropout_p, None, False) if dropout_p else (weights, None)
    return kept @ value, (weights, noise)


def attention_pulls(
    g: Any, query: Any, key: Any, value: Any, mask: Any, scale: float, wanted: Any, weights: Any, noise: Any
) -> Any:
    """Back through both products and the softmax; the weights are made again where their own derivative is wanted."""
    weights = attention_weights(query, key, mask, scale) if isinstance(g, Tensor) else weights
    by_value = (weights if noise is None else weights * noise).mT @ g if wanted[2] else None
    if not any((wanted[0], wanted[1], *wanted[3:])):
        return None, None, by_value, None
    by_kept = g @ value.mT
    by_scores = softmax_pull(by_kept if noise is None else by_kept * noise, weights, -1, g.dtype)
    by_query = by_scores @ key * scale if wanted[0] else None
    return by_query, by_scores.mT @ query * scale if wanted[1] else None, by_value, by_scores


@fused(
    lambda g, query, key, value, mask, is_causal, scale, wanted, out, totals:
    aten._scaled_dot_product_flash_attention_for_cpu_backward.default(
        g, query, key, value, out, totals, 0.0, is_causal, attn_mask=mask, scale=scale
    )
)  # fmt: skip
def flash_pulls(
    g: Any, query: Any, key: Any, value: Any, mask: Any, is_causal: bool, scale: float, wanted: Any, out: Any,
    totals: Any,
) -> Any:  # fmt: skip
    if is_causal:
        mask = causal(query, key) if mask is None else causal(query, key) + mask
    heads = query.shape[-3]
    pulls = attention_pulls(g, query, repeated(key, heads), repeated(value, heads), mask, scale, wanted, None, None)
    groups = key.shape[-3], -1
    return pulls[0], *(each if each is None else each.unflatten(-3, groups).sum(-3) for each in pulls[1:3])
