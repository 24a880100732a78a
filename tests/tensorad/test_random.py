"""Random tensors: shape first, values of the distribution, a stream of one's own."""

from typing import Any

import pytest
import torch

import tensorad as ts

DRAWS: dict[str, Any] = {
    "uniform": lambda shape, g: ts.random.uniform(shape, -2, 3, generator=g, dtype=ts.float64),
    "normal": lambda shape, g: ts.random.normal(shape, 5, 0.5, generator=g),
    "bernoulli": lambda shape, g: ts.random.bernoulli(shape, 0.25, generator=g),
    "randint": lambda shape, g: ts.random.randint(shape, 2, 7, generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_shapes_and_streams(name: str) -> None:
    draw = DRAWS[name]
    for shape in [(), (3,), (2, 3), 4, [2, 2]]:
        values = draw(shape, torch.Generator().manual_seed(0))
        assert isinstance(values, ts.Tensor)
        assert values.shape == ((shape,) if isinstance(shape, int) else tuple(shape))
        assert values.tolist() == draw(shape, torch.Generator().manual_seed(0)).tolist()


def test_distributions() -> None:
    generator = torch.Generator().manual_seed(1)
    uniform, normal, bernoulli, integers = (draw(20_000, generator).data.double() for draw in DRAWS.values())
    assert -2 <= uniform.min() < -1.99
    assert 2.99 < uniform.max() < 3
    assert normal.mean().item() == pytest.approx(5, abs=0.02)
    assert normal.std().item() == pytest.approx(0.5, abs=0.02)
    assert bernoulli.mean().item() == pytest.approx(0.25, abs=0.02)
    assert set(integers.tolist()) == {2, 3, 4, 5, 6}
