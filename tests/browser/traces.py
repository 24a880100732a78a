"""Traces to look at, made without the engine: small programs on Python's floats, and their gradients."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# For each op: its value, its formulas, and for each operand the derivative, as a number and in symbols.
OPS: dict[str, Any] = {
    "add": (lambda a, b: a + b, {"input": "g", "other": "g"}, [lambda a, b: 1.0, lambda a, b: 1.0], ["", ""]),
    "sub": (lambda a, b: a - b, {"input": "g", "other": "-g"}, [lambda a, b: 1.0, lambda a, b: -1.0], ["", "(−1)"]),
    "mul": (lambda a, b: a * b, {"input": "g * other", "other": "g * input"}, [lambda a, b: b, lambda a, b: a], "ba"),
    "tanh": (math.tanh, {"input": "g * (1 - out²)"}, [lambda a: 1 - math.tanh(a) ** 2], ["(1 − out²)"]),
    "sin": (math.sin, {"input": "g * cos(input)"}, [math.cos], ["cos(input)"]),
}


def told(number: float) -> str:
    """A number as traces tell it."""
    return f"{number:.4g}"


class Program:
    """Records ops on floats, in groups, and turns them into a trace with all the steps back."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.values: list[float] = []
        self.group = self.root = self._group("", "whole", True)
        self.contexts: list[str] = []

    @staticmethod
    def _group(title: str, kind: str, opened: bool) -> dict[str, Any]:
        return {"title": title, "kind": kind, "open": opened, "size": 0, "children": []}

    @contextmanager
    def within(self, title: str, kind: str, opened: bool = True) -> Iterator[None]:
        outer, self.group = self.group, self._group(title, kind, opened)
        outer["children"].append(self.group)
        self.contexts += [title] * (kind == "context")
        yield
        if kind == "context":
            self.contexts.pop()
        outer["size"] += self.group["size"]
        self.group = outer

    def _node(self, value: float, op: str | None, name: str | None, inputs: list[Any], rule: dict[str, str]) -> int:
        self.nodes.append(
            {
                "id": len(self.nodes), "op": op, "name": name, "shape": "()", "dtype": "float32", "value": told(value),
                "line": f"train.py:{len(self.nodes) + 1}", "code": f"{name or '_'} = {op or ''}", "inputs": inputs,
                "recorded": list(self.contexts) if op else [], "rule": rule,
            }
        )  # fmt: skip
        self.values.append(value)
        self.group["children"].append(len(self.nodes) - 1)
        self.group["size"] += 1
        return len(self.nodes) - 1

    def leaf(self, value: float, name: str | None = None) -> int:
        return self._node(value, None, name, [], {})

    def op(self, op: str, *operands: int, name: str | None = None) -> int:
        value, rule, *_ = OPS[op]
        inputs = [[operand, node] for operand, node in zip(rule, operands, strict=True)]
        return self._node(value(*(self.values[each] for each in operands)), op, name, inputs, rule)

    def _called(self, node: int) -> str:
        return self.nodes[node]["name"] or f"{self.nodes[node]['op']}{node}"

    def gradients(self, target: int) -> tuple[dict[int, float], list[dict[str, Any]]]:
        """The gradient by every node, and what happened on the way."""
        cotangents, steps = {target: 1.0}, []
        for node in range(target, -1, -1):
            op = self.nodes[node]["op"]
            if op is None or node not in cotangents:
                continue
            g, received = cotangents[node], []
            _, rule, derivatives, symbols = OPS[op]
            operands = [self.values[each] for _, each in self.nodes[node]["inputs"]]
            names = dict(zip("ab", (self._called(each) for _, each in self.nodes[node]["inputs"]), strict=False))
            for place, (operand, parent) in enumerate(self.nodes[node]["inputs"]):
                factor = derivatives[place](*operands)
                met = parent in cotangents
                cotangents[parent] = cotangents.get(parent, 0.0) + g * factor
                symbol = names.get(symbols[place], symbols[place])
                received.append(
                    {
                        "operand": operand, "node": parent, "formula": rule[operand],
                        "symbols": f"∂{self._called(target)}/∂{self._called(node)}" + f" · {symbol}" * bool(symbol),
                        "numbers": f"{told(g)} · {told(factor)}", "value": {"text": told(g * factor), "shape": "()"},
                        "before": None, "fitted": "",
                        "sum": {"text": told(cotangents[parent]), "shape": "()"} if met else None,
                    }
                )  # fmt: skip
            cotangent = {"text": told(g), "shape": "()", "plain": told(g)}
            steps.append({"node": node, "cotangent": cotangent, "rule": f"{op}({', '.join(rule)})",
                          "received": received})  # fmt: skip
        return cotangents, steps

    def trace(self, title: str, target: int, sources: list[int]) -> dict[str, Any]:
        """The trace of the backward pass from `target` to `sources`."""
        _, steps = self.gradients(target)
        labels = [{"label": self._called(each), "node": each} for each in sources]
        return {"title": title, "nodes": self.nodes, "groups": self.root, "target": target, "sources": labels,
                "steps": steps, "editable": False}  # fmt: skip


def small(name: str = "w", **more: Any) -> dict[str, Any]:
    """Ten nodes: the squared error of a neuron, recorded by g1 within g2."""
    program = Program()
    w, x, b, y = (program.leaf(value, label) for value, label in [(0.5, name), (2.0, "x"), (-0.3, "b"), (1.0, "y")])
    with program.within("g2", "context"):
        with program.within("g1", "context"):
            h = program.op("mul", w, x, name="h")
            z = program.op("add", h, b, name="z")
            a = program.op("tanh", z, name="a")
            error = program.op("sub", a, y, name="error")
            square = program.op("mul", error, error)
            loss = program.op("add", square, h, name="loss")
    return program.trace(f"gradient of loss by {name}, b", loss, [w, b]) | more


def deep(stages: int, blocks: int, length: int) -> Program:
    """A deep residual chain: stages of blocks of ops, each with a skip and weights of its own, one scale for all."""
    program = Program()
    value, scale = program.leaf(0.7, "x"), program.leaf(0.9, "scale")
    with program.within("g", "context"):
        for stage in range(stages):
            with program.within(f"Stage.forward #{stage + 1}", "function"):
                for block in range(blocks):
                    skip = value
                    with program.within(f"Block.forward #{block + 1}", "function"):
                        for place in range(length):
                            match place % 3:
                                case 0:
                                    number = 0.3 + 0.05 * math.sin(len(program.nodes))
                                    value = program.op("mul", value, program.leaf(number, f"w{place // 3 + 1}"))
                                case 1:
                                    value = program.op("sin", value)
                                case _:
                                    value = program.op("tanh", value, name="h" if place == 2 else None)
                        scaled = program.op("mul", value, scale)
                        value = program.op("add", scaled, skip, name="out")
        program.op("mul", value, value, name="loss")
    return program


def middle() -> dict[str, Any]:
    """About 300 nodes, of which some blocks are unfolded."""
    program = deep(3, 10, 6)
    stages = program.root["children"][2]["children"]
    for stage in stages[:-1]:
        for block in stage["children"]:
            block["open"] = block is stages[0]["children"][0] or block is stages[2]["children"][-1]
    return program.trace("gradient of loss by scale, w1", len(program.nodes) - 1, [1, 2])


def large() -> dict[str, Any]:
    """About 3,000 nodes, everything unfolded: the page has to fold some of it."""
    program = deep(10, 30, 6)
    return program.trace("gradient of loss by scale, w1", len(program.nodes) - 1, [1, 2])


def broadcast() -> dict[str, Any]:
    """A bias that is broadcast: what it receives is summed back to its shape. A part is not reached at all."""
    node = {"dtype": "float32", "line": "", "code": "", "recorded": ["g"], "rule": {}, "value": None}
    nodes = [
        node | {"id": 1, "op": None, "name": "x", "shape": "(64, 3)", "inputs": []},
        node | {"id": 2, "op": None, "name": "bias", "shape": "(3,)", "inputs": []},
        node | {"id": 3, "op": "add", "name": "h", "shape": "(64, 3)", "inputs": [["input", 1], ["other", 2]]},
        node | {"id": 4, "op": "sum", "name": None, "shape": "()", "inputs": [["input", 3]]},
    ]  # fmt: skip
    ones, three = {"text": "(64, 3), all 1", "shape": "(64, 3)"}, {"text": "[64, 64, 64]", "shape": "(3,)"}
    received = {"symbols": "∂y/∂sum4", "numbers": None, "before": None, "fitted": "", "sum": None, "formula": "g"}
    steps = [
        {"node": 4, "cotangent": {"text": "1", "shape": "()", "plain": "1"}, "rule": "sum(input)",
         "received": [received | {"operand": "input", "node": 3, "formula": "g.expand(input_shape)", "value": ones}]},
        {"node": 3, "cotangent": ones, "rule": "add(input, other)",
         "received": [received | {"operand": "other", "node": 2, "value": three, "before": ones,
                       "fitted": "summed from (64, 3) to (3,)"}]},
    ]  # fmt: skip
    groups = {"title": "", "kind": "whole", "open": True, "size": 4, "children": [1, 2, 3, 4]}
    return {"title": "gradient of y by bias", "nodes": nodes, "groups": groups, "target": 4, "editable": False,
            "sources": [{"label": "bias", "node": 2}], "steps": steps}  # fmt: skip
