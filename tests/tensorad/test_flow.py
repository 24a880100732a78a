"""`g.flow(target, sources)`: the sizes of cotangents along a pass."""

import gc
import json
import math
import sys
from pathlib import Path

import pytest
import torch

import tensorad as ts


def test_norms_are_those_of_the_gradients() -> None:
    x, w = ts.tensor([[1.0, 2.0], [3.0, 4.0]]), ts.tensor([[0.5], [2.0]])
    with ts.Grad() as g:
        h = x @ w
        y = (h * h).sum()
    flow = g.flow(y, [x, w])
    gradients = g.gradient(y, [x, w, h])
    assert [size.label for size in flow.sources] == ["x", "w"]
    for size, gradient in zip(flow.sources, gradients, strict=False):
        assert size.norm == pytest.approx(gradient.data.norm().item())
    assert [size.label for size in flow.nodes] == ["y (sum)", "v4 (mul)", "h (matmul)"]
    assert flow.nodes[2].norm == pytest.approx(gradients[2].data.norm().item())
    assert repr(flow).splitlines()[0] == "gradients of y:"
    assert "on the way, at 3 nodes, nothing vanishing" in repr(flow)


def test_what_is_wrong_is_said() -> None:
    small, large, dead, broken, unused = (ts.tensor([1.0, -1.0]) for _ in range(5))
    with ts.Grad() as g:
        y = (small * 1e-7 + large * 1e6 + dead.clamp(min=5.0) + (broken * 0).sqrt() * 2).sum()
    flow = g.flow(y, {"small": small, "large": large, "dead": dead, "broken": broken, "unused": unused})
    states = {size.label: size.state for size in flow.sources}
    assert states == {
        "small": "vanishing",
        "large": "exploding",
        "dead": "dead",
        "broken": "not finite",
        "unused": "dead",
    }
    broken_size = next(size for size in flow.sources if size.label == "broken")
    assert (broken_size.strange, broken_size.norm) == (2, 0)
    assert "broken: norm 0, 2 entries not finite  (not finite)" in repr(flow)
    assert "not healthy" in repr(flow)


def test_shares_of_zeros_and_several_outputs() -> None:
    x = ts.tensor([1.0, -1.0, -2.0, -3.0])
    with ts.Grad() as g:
        low, _ = x.relu().split(2)
        y = low.sum()
    flow = g.flow(y, x)
    assert flow.sources[0].zeros == 0.75
    assert flow.sources[0].norm == 1
    assert "75% zeros" in repr(flow)
    assert math.isclose(flow.nodes[0].norm, 1)


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    x = ts.tensor([1.0, 2.0], name="$x_{$ <b>")
    with ts.Grad() as g:
        y = x
        for _ in range(60):
            y = y.sin()
        z = y.sum()
    flow = g.flow(z, x)
    assert flow.save(tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
    assert flow.save(tmp_path / "flow.pdf").read_bytes().startswith(b"%PDF")
    assert json.loads(flow.save(tmp_path / "flow.json").read_text()) == flow.trace()
    shown = flow._repr_mimebundle_()
    assert "<svg" in shown["image/svg+xml"]
    assert shown["text/plain"] == repr(flow)
    above, below = flow.figure().axes
    assert list(above.lines[0].get_ydata()) == [size.norm for size in flow.nodes]
    assert [each.get_text() for each in below.get_yticklabels()] == [r"\$x_{\$ <b>"]
    with pytest.raises(ts.ArgumentError, match=r"\.png.* and not as 'flow.html'"):
        flow.save(tmp_path / "flow.html")
    gc.collect()  # what matplotlib leaves behind when it is first used


def test_many_sources_are_cut_short() -> None:
    sources = [ts.tensor(float(place)) for place in range(100)]
    with ts.Grad() as g:
        y = torch.stack(sources).sum()
    flow = g.flow(y, sources)
    assert "  and 80 more" in repr(flow)
    assert len(flow.sources) == 100


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    x = ts.tensor(1.0)
    with ts.Grad() as g:
        y = x * 2
    flow = g.flow(y, x)
    assert flow._repr_mimebundle_() == {"text/plain": repr(flow)}
    with pytest.raises(ts.MissingPackageError, match=r"pip install 'tensorad\[pictures\]'"):
        flow.figure()


def test_no_size_overflows_and_nothing_is_not_dead() -> None:
    x, empty = ts.tensor([1.0, 1.0], dtype=ts.float64), ts.tensor([])
    with ts.Grad() as g:
        y = (x * 1e200).sum() + empty.sum()
    flow = g.flow(y, {"x": x, "empty": empty})
    sizes = {size.label: size for size in flow.sources}
    assert sizes["x"].norm == pytest.approx(math.sqrt(2) * 1e200)
    assert sizes["empty"].state == ""
    assert "Infinity" not in json.dumps(flow.trace())
    meta = ts.tensor(torch.empty(2, device="meta"))
    with ts.Grad() as g:
        y = meta.sum()
    with pytest.raises(ts.ArgumentError, match="a meta tensor has no values"):
        g.flow(y, meta)
    repr(g.steps(y, meta))
