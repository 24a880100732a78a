"""`g.graph(target)`: the recorded graph as data, as text, for other programs, and as a picture."""

import json
import sys
import xml.etree.ElementTree as Xml
from pathlib import Path
from typing import Any

import pytest
import torch

import tensorad as ts
from tensorad.looking.folding import SEEN, Group

EVIL = '<img src=x onerror=alert(1)>"]; --> \\"'


def chain(count: int) -> tuple[ts.Grad, ts.Tensor]:
    x = ts.tensor(1.0, name="x")
    with ts.Grad() as g:
        y = x
        for _ in range(count):
            y = (y * 0.5).sin() + x
    return g, y


def groups(group: Group) -> list[Group]:
    return [group, *(each for part in group.parts if isinstance(part, Group) for each in groups(part))]


def test_nodes_operands_shapes_and_lines() -> None:
    x, w = ts.tensor([1.0, 2.0], name="x"), ts.tensor(3.0)
    with ts.Grad() as g:
        y = torch.cat([x, x * w]).sum()
    nodes = g.graph(y).nodes
    assert [(node.op, node.name, node.shape, node.value) for node in nodes] == [
        (None, "x", (2,), "[1, 2]"), (None, "w", (), "3"), ("mul", None, (2,), None), ("cat", None, (4,), None),
        ("sum", "y", (), "12"),
    ]  # fmt: skip
    assert nodes[2].inputs == [("input", 1), ("other", 2)]
    assert nodes[3].inputs == [("0", 1), ("1", 3)]
    assert nodes[2].formulas == {"input": "g · other", "other": "g · input"}
    assert nodes[2].code == "x * w"
    assert nodes[2].contexts == ("g",)
    assert all("test_graph.py" in node.line for node in nodes[2:])
    assert str(nodes[0]) == "#1  x = leaf, shape (2,)"
    assert str(nodes[4]).startswith("#5  y = sum(input=#4), shape ()  at test_graph.py:")


def test_what_the_context_did_not_record_is_a_leaf() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as outer:
        h = x.exp()
        with ts.Grad() as inner:
            y = h.sin()
    assert [node.op for node in inner.graph(y).nodes] == [None, "sin"]
    assert [node.op for node in outer.graph(y).nodes] == [None, "exp", "sin"]
    assert [node.contexts for node in outer.graph(y).nodes] == [(), ("outer",), ("outer", "inner")]


def test_the_graph_of_a_gradient_has_a_box_for_each_context() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as outer:
        with ts.Grad() as inner:
            y = (x * x).exp()
        dx = inner.gradient(y, x)
    graph = outer.graph(dx)
    assert graph.nodes[-1].op == "gradient"
    whole, own, its, asked = groups(graph.groups)
    assert [each.kind for each in (whole, own, its, asked)] == ["whole", "context", "context", "gradient"]
    assert (own.title, its.title, asked.title) == ("outer", "inner", "inner.gradient(y, x)")
    # The leaves stand in no context: none has recorded them.
    assert all(graph.nodes[part - 1].op is None for part in whole.parts if isinstance(part, int))
    assert its.numbers == [node.number for node in graph.nodes if "inner" in node.contexts]
    assert sorted(whole.numbers) == [node.number for node in graph.nodes]
    with ts.Grad() as second:
        with ts.Grad() as first:
            y = x.exp() * x
        dx = first.gradient(y, x)
    d2x = second.gradient(dx, x)
    titles = [each.title for each in groups(second.graph(dx).groups)]
    assert "first.gradient(y, x)" in titles
    assert d2x.item() == pytest.approx(4 * 2.718281828**2, rel=1e-5)


def test_several_outputs() -> None:
    matrix = ts.tensor(torch.eye(2))
    with ts.Grad() as g:
        u, s, v = torch.linalg.svd(matrix)
        y, z = s.sum(), (u + v).sum()
    assert ((2, 2), (2,), (2, 2)) in [node.shape for node in g.graph(y).nodes]
    assert [node.name for node in g.graph(y).nodes] == ["matrix", None, "s", "y"]
    assert [node.name for node in g.graph(z).nodes] == ["matrix", None, "u", "v", None, "z"]


def test_only_what_lies_between_sources_and_target() -> None:
    x, w = ts.tensor(2.0), ts.tensor(3.0)
    with ts.Grad() as g:
        h = x.exp()
        y = h * w.sin()
    graph = g.graph(y, [x])
    assert [node.name or node.op for node in graph.nodes] == ["x", "h", "y"]
    assert graph.sources == [("x", 1)]
    assert "exp" not in [node.op for node in g.graph(y, w).nodes]


def test_names_are_those_of_the_program() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    params = {"scale": ts.tensor(2.0), "shifts": [ts.tensor(1.0)]}

    def inside(value: Any) -> Any:
        hidden = torch.tanh(value)
        hidden = hidden * params["scale"]
        hidden += params["shifts"][0]
        return hidden

    with ts.Grad() as g:
        x = ts.tensor([[1.0, 2.0]])
        y = inside(model(x)).sum()
        for _ in range(2):
            y = y * 2
    names = [node.name for node in g.graph(y).nodes]
    assert names == [
        "x", "model.0.weight", "model.0.bias", None, "hidden", "params['scale']", "hidden", "params['shifts'][0]",
        "hidden", "y", "y", "y",
    ]  # fmt: skip
    symbols = [node.symbol for node in g.graph(y).nodes]
    assert symbols[3:5] + symbols[-3:] == ["v4", "hidden₁", "y₁", "y₂", "y₃"]
    assert len({*symbols}) == len(symbols)


def test_a_composed_function_names_only_its_result() -> None:
    logits, labels = ts.tensor(torch.randn(2, 3)), torch.tensor([0, 1])
    with ts.Grad() as g:
        loss = torch.nn.functional.cross_entropy(logits, labels)
    names = [node.name for node in g.graph(loss).nodes]
    assert names[0] == "logits"
    assert names[-1] == "loss"
    assert set(names[1:-1]) <= {None}


def test_a_program_without_its_text() -> None:
    space: dict[str, Any] = {"ts": ts}
    exec("x = ts.tensor(2.0)\nwith ts.Grad() as g:\n    y = x * x", space)
    nodes = space["g"].graph(space["y"]).nodes
    assert [(node.op, node.code) for node in nodes] == [(None, ""), ("mul", "")]


def test_large_graphs_are_folded_whatever_they_are_made_of() -> None:
    g, y = chain(1000)
    graph = g.graph(y)
    assert len(graph.nodes) == 3001
    text = repr(graph)
    assert len(text.splitlines()) <= SEEN + 5
    assert "1000 × (mul, sin, add)" in text
    assert sorted(graph.groups.numbers) == list(range(1, 3002))
    assert all(len(each.parts) <= SEEN for each in groups(graph.groups))


def test_loops_functions_and_modules() -> None:
    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.norm = torch.nn.Linear(4, 4), torch.nn.LayerNorm(4)

        def forward(self, x: Any) -> Any:
            return x + self.inner(self.norm(x).tanh())

    blocks = torch.nn.ModuleList(Block() for _ in range(12))

    def run(x: Any) -> Any:
        for block in blocks:
            x = block(x)
        return x

    x = ts.tensor(torch.randn(2, 4))
    with ts.Grad() as g:
        loss = (run(x) ** 2).mean()
    graph = g.graph(loss)
    found = groups(graph.groups)
    loop = next(each for each in found if each.kind == "repeat")
    assert loop.title == "12 × Block.forward"
    assert [each.title for each in loop.parts if isinstance(each, Group)] == [
        f"blocks.{place} (round {place + 1})" for place in range(12)
    ]
    first = loop.parts[0]
    assert isinstance(first, Group)
    assert first.open
    assert [graph.nodes[number - 1].op for number in first.numbers if graph.nodes[number - 1].op] == [
        "layer_norm", "tanh", "nn.functional.linear", "add",
    ]  # fmt: skip
    assert "#1 to #9" in repr(graph) or "blocks.0 (round 1):" in repr(graph)
    with ts.Grad() as g:
        y = x
        for _ in range(3):
            for _ in range(20):
                y = y.sin()
            y = y.exp() * 2
        y = y.sum()
    repeats = [each.title for each in groups(g.graph(y).groups) if each.kind == "repeat"]
    assert repeats == ["3 × (20 sin, exp, mul)", "20 × (sin)", "20 × (sin)", "20 × (sin)"]


def test_a_group_is_never_between_itself() -> None:
    """Folded groups and the edges between them have no cycle, whatever is open."""
    g, y = chain(200)
    with ts.Grad() as outer:
        g, y = chain(40)
        dx = g.gradient(y, ts.tensor(1.0), unconnected="zero")
        z = dx + y
    for graph in (g.graph(y), outer.graph(z)):
        for group in groups(graph.groups):
            standing = {
                number: place
                for place, part in enumerate(group.parts)
                for number in (part.numbers if isinstance(part, Group) else [part])
            }
            for node in graph.nodes:
                for _, number in node.inputs:
                    if node.number in standing and number in standing:
                        assert standing[number] <= standing[node.number]


def test_dot_and_mermaid() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = x * x.sin()
        dx = g1.gradient(y, x)
    assert g1.graph(y).to_dot() == (
        "digraph {\n"
        "  node [fontsize=11]; edge [fontsize=9];\n"
        '  n0 [label="x\\n() float32", shape=ellipse];\n'
        '  n1 [label="sin\\n() float32", shape=box];\n'
        '  n2 [label="y = mul\\n() float32", shape=doubleoctagon];\n'
        "  n0 -> n1;\n"
        '  n0 -> n2 [label="input"];\n'
        '  n1 -> n2 [label="other"];\n'
        "}"
    )
    assert g1.graph(y).to_mermaid() == (
        "flowchart TD\n"
        '  n0("x<br>() float32")\n'
        '  n1["sin<br>() float32"]\n'
        '  n2(["y = mul<br>() float32"])\n'
        "  n0 --> n1\n"
        '  n0 -->|"input"| n2\n'
        '  n1 -->|"other"| n2'
    )
    dot, mermaid = g2.graph(dx).to_dot(), g2.graph(dx).to_mermaid()
    assert dot.count("subgraph") == mermaid.count("subgraph") == 3
    assert dot.count("{") == dot.count("}")
    assert mermaid.count("subgraph") == mermaid.splitlines().count("  end") + mermaid.splitlines().count("    end")


def test_whole_or_folded() -> None:
    g, y = chain(50)
    assert g.graph(y).to_dot(whole=True).count("shape=") == 151
    assert g.graph(y).to_dot().count("shape=") <= SEEN


def test_a_picture() -> None:
    pytest.importorskip("graphlay")
    x = ts.tensor(2.0, name=EVIL)
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = x * x.sin()
        dx = g1.gradient(y, x)
    root = Xml.fromstring(g2.graph(dx).to_svg())
    drawn = {each.get("class") for each in root.iter("{http://www.w3.org/2000/svg}g")}
    assert drawn == {None, "leaf", "node", "target"}
    nodes = [each for each in root if each.get("class") in ("leaf", "node", "target", "source", "folded")]
    assert len(nodes) == len(g2.graph(dx).nodes)
    assert not list(root.iter("{http://www.w3.org/2000/svg}img"))
    texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("<img src=x") for text in texts)
    assert {"g1", "g2", "g1.gradient(y, x)"} <= {*texts}
    g, y = chain(1000)
    assert len([each for each in Xml.fromstring(g.graph(y).to_svg()) if each.get("class") == "folded"]) > 10


def test_names_are_only_ever_text() -> None:
    x = ts.tensor(2.0, name=EVIL)
    with ts.Grad() as g:
        y = x.sin()
    graph = g.graph(y)
    assert '\\"' in graph.to_dot().splitlines()[2]
    (label,) = [line for line in graph.to_mermaid().splitlines() if "img" in line]
    assert not {"<img", "]", ";", "-->"} & {*label.replace("#", "").split()}
    assert label.count('"') == 2
    assert label.count("<") == 1  # the line break, which is ours
    assert json.loads(json.dumps(graph.trace()))["nodes"][0]["name"] == EVIL


def test_large_values_are_summarised() -> None:
    x = ts.tensor(torch.arange(100_000.0))
    with ts.Grad() as g:
        y = (x * x).sum()
    graph = g.graph(y)
    assert graph.nodes[0].value == "(100000,), 0 … 1e+05, mean 5e+04"
    assert len(json.dumps(graph.trace())) < 5_000
    strange = ts.tensor([0.0, float("nan"), float("inf")] * 5)
    with ts.Grad() as g:
        y = strange * 2
    assert g.graph(y).nodes[0].value == "(15,), all 0, 10 not finite"


def test_saving(tmp_path: Path) -> None:
    g, y = chain(2)
    graph = g.graph(y)
    assert graph.save(tmp_path / "graph.txt").read_text() == repr(graph)
    assert graph.save(str(tmp_path / "graph.dot")).read_text() == graph.to_dot()
    assert graph.save(tmp_path / "graph.mmd").read_text() == graph.to_mermaid()
    assert json.loads(graph.save(tmp_path / "graph.json").read_text()) == graph.trace()
    with pytest.raises(ts.ArgumentError, match=r"\.dot, .*\.svg, \.txt, and not as 'graph.png'"):
        graph.save(tmp_path / "graph.png")


def test_without_the_package_that_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphlay", None)
    g, y = chain(2)
    with pytest.raises(ts.MissingPackageError, match=r"pip install 'tensorad\[pictures\]'"):
        g.graph(y).to_svg()
    assert issubclass(ts.MissingPackageError, ImportError)


def test_a_target_of_another_context() -> None:
    x = ts.tensor(2.0)
    with ts.Grad() as g:
        pass
    for target in (x, x * 2):
        with pytest.raises(ts.NotRecordedError):
            g.graph(target)
    with pytest.raises(ts.ContextError):
        ts.Grad().graph(x)


def test_names_in_doubt_are_none() -> None:
    v = ts.tensor([1.0, 2.0, 3.0])
    with ts.Grad() as g:
        *rest, last = torch.split(v, 1)
        [p, q] = torch.split(v, [1, 2])
        y = sum([v[0], v[1], v[2]]) + last.sum() + p.sum() + q.sum() + rest[0].sum()
    names = {node.name for node in g.graph(y).nodes}
    assert {"last", "p", "q", "rest[0]", "v", "y"} <= names
    assert not {"*rest", "[p, q]"} & names
    assert [node.op for node in g.graph(y).nodes if node.name == "y"] == ["add"]
    x = ts.tensor(2.0)
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            z = torch.sin(x) * x
        d = g1.gradient(z, x)
    assert [node.op for node in g2.graph(d).nodes if node.name == "d"] == ["gradient"]


def test_an_edited_file_gives_no_names(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text("def f(a, b):\n    z = a+b\n    return z * 2\n")
    space: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    a, b = ts.tensor(1.0), ts.tensor(2.0)
    with ts.Grad() as g:
        y = space["f"](a, b)
    file.write_text("def f(a, b):\n    q = a-b\n    return q * 2\n")
    assert [node.name for node in g.graph(y).nodes] == ["a", "b", None, "y"]


def test_strange_variables_do_no_harm() -> None:
    class Strange(list[Any]):
        def __iter__(self) -> Any:
            raise RuntimeError("no")

    strange = [Strange([1]), torch.nn.LazyLinear(3), object.__new__(torch.nn.Linear)]
    x = ts.tensor(1.0)
    itself: list[Any] = [x]
    itself.extend([itself] * 100)
    numbers = [x, *range(1_000_000)]
    with ts.Grad() as g:
        y = x * 2
    assert [node.name for node in g.graph(y).nodes] == ["x", "y"]
    assert strange
    assert numbers
    itself.clear()


def test_an_unrolled_optimizer_folds_by_its_rounds() -> None:
    w, data = ts.tensor([1.0, 2.0]), torch.tensor([1.0, -1.0])
    with ts.Grad() as meta:
        v = w
        for _ in range(20):
            with ts.Grad() as inner:
                loss = ((v * data).tanh() - 1).square().sum()
            v = v - inner.gradient(loss, v) * 0.1
        y = v.sum()
    found = groups(meta.graph(y).groups)
    loop = next(each for each in found if each.kind == "repeat")
    assert loop.title.startswith("20 × (")
    rounds = [part for part in loop.parts if isinstance(part, Group)]
    assert [part.kind for part in rounds] == ["round"] * 20
    assert [part.kind for part in rounds[3].parts if isinstance(part, Group)] == ["context", "gradient"]
    seeds = {node.number for node in meta.graph(y).nodes if node.name == "seed"}
    assert len(seeds) == 20
    assert not seeds & {*found[0].parts}  # they stand where they were made
    for group in found:
        assert group.numbers == list(range(group.numbers[0], group.numbers[-1] + 1))


def test_a_long_function_is_not_quadratic() -> None:
    """Each node's instruction is found at once: the positions of a function's instructions are read once."""
    space: dict[str, Any] = {"ts": ts}
    text = "def f(h, w):\n" + "    h = h * w\n" * 3000 + "    return h\n"
    exec(compile(text, "long.py", "exec"), space)
    x = ts.tensor(1.0)
    with ts.Grad() as g:
        y = space["f"](x, x)
    graph = g.graph(y)
    assert len(graph.nodes) == 3001
