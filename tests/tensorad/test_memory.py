"""`g.memory()` counts what is saved, once where it is shared, and only while it is."""

import torch

import tensorad as ts


def test_bytes_of_nodes_and_in_all() -> None:
    x = ts.tensor(torch.rand(100, 100))
    with ts.Grad() as g:
        y = (x.exp() * x).sum()
    found = g.memory()
    # exp saves its output; the product saves both its operands, of which one is that very output.
    assert [row.op for row in found.rows] == ["mul", "exp"]
    assert [row.bytes for row in found.rows] == [80_000, 40_000]
    assert found.bytes == 80_000
    assert found.nodes == 3
    assert found.rows[0].values == {"other": [(100, 100)], "input": [(100, 100)]}
    assert "test_memory.py" in found.rows[0].line
    assert y.shape == ()


def test_it_reads_well() -> None:
    x = ts.tensor(torch.rand(1024))
    with ts.Grad() as g:
        y = x
        for _ in range(30):
            y = y.exp()
    lines = repr(g.memory()).splitlines()
    assert lines[0] == "120 KiB saved by 30 of 30 nodes"
    assert len(lines) == 22
    assert lines[1].split()[:3] == ["4", "KiB", "exp"]
    assert lines[-1].split() == ["40", "KiB", "10", "more"]


def test_shared_memory_is_said() -> None:
    x = ts.tensor(torch.rand(256))
    with ts.Grad() as g:
        y = x.sin() + x.cos()
    assert "1 KiB saved by 2 of 3 nodes (1 KiB of the sizes below are memory that several of them share)" in repr(
        g.memory()
    )
    assert y is not None


def test_what_is_dropped_is_gone_and_other_contexts_do_not_count() -> None:
    x = ts.tensor(torch.rand(10))
    with ts.Grad() as outer:
        y = x.exp()
        with ts.Grad() as inner:
            z = y.exp()
    assert (outer.memory().bytes, inner.memory().bytes) == (80, 40)
    del z
    assert (outer.memory().bytes, inner.memory().bytes) == (40, 0)
    del y
    assert repr(outer.memory()) == "0 bytes saved by 0 of 0 nodes"


def test_several_outputs_lists_and_parameters() -> None:
    layer = torch.nn.Linear(4, 4)
    with ts.Grad() as g:
        y = torch.linalg.qr(torch.cat([layer(ts.tensor(torch.rand(4, 4)))] * 2))[0].sum()
    assert {row.op for row in g.memory().rows} >= {"linalg.qr", "nn.functional.linear"}
    assert y is not None
