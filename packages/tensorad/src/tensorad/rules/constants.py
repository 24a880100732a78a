"""Ops whose results have no derivative, declared so: comparisons, tests, places, counts, random draws."""

from tensorad.op import constant

constant(*"eq ne lt le gt ge equal not_equal less less_equal greater greater_equal isclose allclose".split())
constant(*"isnan isinf isfinite isposinf isneginf isreal isin signbit is_nonzero".split())
constant(*"logical_and logical_or logical_xor logical_not".split())
constant(*"bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift bitwise_right_shift".split())
constant(*"argmax argmin argsort nonzero argwhere searchsorted bucketize count_nonzero any all".split())
constant(*"gcd lcm nonzero_static bincount histc unique unique_consecutive floor_divide one_hot".split())
constant(*"bernoulli binomial multinomial normal poisson randint_like tril_indices triu_indices".split())
