"""`g.graph(target)`: the recorded graph as data and as text."""

import pytest
import torch

import tensorad as ts


def test_nodes_operands_shapes_and_lines() -> None:
    x, w = ts.tensor([1.0, 2.0], name="x"), ts.tensor(3.0)
    with ts.Grad() as g:
        y = torch.cat([x, x * w]).sum()
    nodes = g.graph(y).nodes
    assert [(node.op, node.name, node.shape) for node in nodes] == [
        (None, "x", (2,)), (None, None, ()), ("mul", None, (2,)), ("cat", None, (4,)), ("sum", None, ()),
    ]  # fmt: skip
    assert nodes[2].inputs == [("input", 1), ("other", 2)]
    assert nodes[3].inputs == [("0", 1), ("1", 3)]
    assert all("test_graph.py" in node.line for node in nodes[2:])
    assert str(nodes[0]) == "#1  x = leaf, shape (2,)"


def test_what_the_context_did_not_record_is_a_leaf() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as outer:
        h = x.exp()
        with ts.Grad() as inner:
            y = h.sin()
    assert [node.op for node in inner.graph(y).nodes] == [None, "sin"]
    assert [node.op for node in outer.graph(y).nodes] == [None, "exp", "sin"]


def test_the_graph_of_a_gradient() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as outer:
        with ts.Grad() as inner:
            y = x**3
        dx = inner.gradient(y, x)
    nodes = outer.graph(dx).nodes
    assert nodes[-1].op == "gradient"
    assert {"pow", "mul"} & {node.op for node in nodes}
    matrix = ts.tensor(torch.eye(2))
    with ts.Grad() as g:
        values = torch.linalg.svd(matrix)[1].sum()
    assert ((2, 2), (2,), (2, 2)) in [node.shape for node in g.graph(values).nodes]


def test_a_target_of_another_context() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        pass
    for target in (x, x * 2):
        with pytest.raises(ts.NotRecordedError):
            g.graph(target)
    with pytest.raises(ts.ContextError):
        ts.Grad().graph(x)
