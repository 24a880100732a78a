# %% [markdown]
# # How are graphs constructed?
#
# You will know what a context writes down while your program runs, what each node keeps and why, where a graph begins
# and ends, and when its memory is given back. Twenty minutes.

# %%
# %load_ext tensorad
import torch

import tensorad as ts

x = ts.tensor(2.0)
with ts.Grad() as g:
    y = torch.exp(x) * x
g.gradient(y, x)

# %% tags=["check"]
import math

assert math.isclose(g.gradient(y, x).item(), 3 * math.exp(2.0), rel_tol=1e-6)  # (x + 1) exp(x), at 2
assert [node.op for node in g.graph(y).nodes] == [None, "exp", "mul"]

# %% [markdown]
# ## What was written down?
#
# The value of `y` is a number, and from a number no derivative can be found. `g` also has to know how `y` came about.
# What it wrote down about that is the **graph**:

# %%
g.graph(y)

# %% [markdown]
# A box is a **node**: one op that ran, with the operands that it was given. `x` is a **leaf**: a value that was there
# before, and that nothing recorded. Click on a node to see its line of the program and its rule. The picture has its
# inputs at the top, as the program computes. What is stored points the other way:

# %%
node = y.node
print(node, "made of", node.parents)
print(node.parents[0], "made of", node.parents[0].parents)
print(node.parents[1], "made of", node.parents[1].parents)

# %% [markdown]
# A Tensor is a thin wrapper: `y.data` is the torch tensor with its number, and `y.node` is the node that made it. A
# node knows its **parents**, the nodes of its operands, in the order of the operands. It does not know who uses it.
# So from `y` one can go back to everything that it was computed from, and this is the way that a gradient takes.

# %% tags=["check"]
import gc

assert isinstance(y.data, torch.Tensor)
assert [node.op.name, *(each.op and each.op.name for each in node.parents)] == ["mul", "exp", None]
assert node.parents[1] is node.parents[0].parents[0] is x.node
assert x.node.parents == ()
for operand in node.parents:  # none refers to what was made of it
    assert not any(each is node or isinstance(each, ts.Tensor) for each in gc.get_referents(operand))

# %% [markdown]
# ## Where are the loop and the `if`?
#
# Here is a function with both. How often the loop runs, and which branch it takes, depends on $x$.


# %%
def grow(x):
    z = x
    while z < 10:
        z = z * z if z < 3 else 5 * z
    return z


a, b = ts.tensor(2.0), ts.tensor(4.0)
with ts.Grad() as g:
    from_2, from_4 = grow(a), grow(b)
print(g.graph(from_2))
print(g.graph(from_4))

# %% [markdown]
# They are gone. The context does not read the program, it writes down what ran: from 2 a square and a product with 5,
# from 4 a product with 5 alone. (Of operands, a line names those that are nodes; the 5 is a constant.) Such a list of
# elementary steps with their operands is what Wengert differentiated in 1964, and a *Wengert list* is another name
# for it. The comparisons ran too, but they are in neither list: a comparison has no derivative, so it is not
# recorded.
#
# It follows that the derivative is that of the branch which was taken. Near 2 the function is $5x^2$, with derivative
# $10x = 20$; near 4 it is $5x$, with derivative 5.

# %%
g.gradient(from_2, a), g.gradient(from_4, b)

# %% tags=["check"]
import math

for source, target, slope in ((a, from_2, 20), (b, from_4, 5)):
    start = source.item()
    difference = (grow(start + 1e-3) - grow(start - 1e-3)) / 2e-3  # on plain floats
    assert math.isclose(difference, slope, rel_tol=1e-6)
    assert math.isclose(g.gradient(target, source).item(), slope, rel_tol=1e-6)
listed = [[(node.op, [place for _, place in node.inputs]) for node in g.graph(z).nodes] for z in (from_2, from_4)]
assert listed == [[(None, []), ("mul", [1, 1]), ("mul", [2])], [(None, []), ("mul", [1])]]
assert 5 in from_2.node.saved
assert 5 in from_4.node.saved
assert grow(3.0) == 15
assert math.isclose(grow(3.0 - 1e-9), 45, rel_tol=1e-6)
three = ts.tensor(3.0)
with ts.Grad() as g3:
    from_3 = grow(three)
assert g3.gradient(from_3, three).item() == 5

# %% [markdown]
# So there is something that a recorded derivative cannot know. At 3 the function jumps, from nearly $5 \cdot 9 = 45$
# to $5 \cdot 3 = 15$. The run at 3 takes the second branch, the gradient there is 5, and nothing in the graph says
# that there is a jump.
#
# ## What does a node keep, and why?
#
# Parents are not enough. To go back through `exp` one has to multiply by $e^x$, so somebody must still have that
# number. What has to be kept is said by the rule of the op:

# %%
print(ts.rule(torch.exp))
print(ts.rule(torch.mul))

# %% [markdown]
# In a rule, `g` is not the context, but the **cotangent**: the gradient of the target by the output of this node, as
# it arrives on the way back. The rule says what is handed on to an operand. The other names in it are what it needs,
# and those are what the node saves. `exp` is its own derivative, so its rule names `out`, the output, which is there
# already. In a product, each operand's cotangent takes the *other* operand, so `mul` saves both.

# %%
with ts.Grad() as g:
    e = torch.exp(x)
    y = e * x
for node in (e.node, y.node):
    print(node.op.name, dict(zip(node.op.saves, node.saved, strict=True)))

# %% [markdown]
# The 7.3891 stands there twice, but it is one number in memory: `exp` saved its output, and `mul` saved its operand,
# and both are the tensor behind `e`. Saving copies nothing.

# %% tags=["check"]
(out,), (other, operand) = e.node.saved, y.node.saved
assert (e.node.op.name, e.node.op.saves) == ("exp", ["out"])
assert (y.node.op.name, y.node.op.saves) == ("mul", ["other", "input"])
assert out is operand is e.data
assert other is x.data
assert round(math.exp(2.0), 4) == 7.3891
assert math.isclose(out.item(), math.exp(2.0), rel_tol=1e-6)

# %% [markdown]
# Ask the same of other ops. Before you look at the output: what does the derivative of each of them need?

# %%
v = ts.tensor([1.0, 2.0, 3.0])
with ts.Grad() as g:
    results = [torch.sin(v), torch.tanh(v), -v, v + v, v.sum(), 2 * v, torch.relu(v)]
for node in (each.node for each in results):
    print(f"{node.op.name:5}", dict(zip(node.op.saves, node.saved, strict=True)))

# %% [markdown]
# - `sin` needs its input, for the cosine. `tanh` needs its output $t$ only, as its derivative is $1 - t^2$; and `relu`
#   too, as the output says where the input was positive.
# - Minus and `+` need nothing: their derivatives are $-1$ and $1$ everywhere.
# - `sum` needs a shape: back through it, each entry gets a copy of what arrives, and the shape says how many there are.
# - In `2 * v`, the `v` would be needed for the cotangent of the 2. But the 2 is a constant, nobody will ask for that,
#   and so only the 2 is saved.

# %% tags=["check"]
t = torch.tanh(v.data)
stated = [  # the op, what it saves, its derivative
    ("sin", {"input": v.data}, torch.cos(v.data)),
    ("tanh", {"out": t}, 1 - t**2),
    ("neg", {}, -1),
    ("add", {}, 1 + 1),  # v, twice
    ("sum", {"input_shape": (3,), "dim": None}, 1),
    ("mul", {"other": None, "input": 2}, 2),
    ("relu", {"out": v.data.clamp(min=0)}, v.data > 0),
]
for each, (name, saves, derivative) in zip(results, stated, strict=True):
    saved = dict(zip(each.node.op.saves, each.node.saved, strict=True))
    assert (each.node.op.name, saved.keys()) == (name, saves.keys())
    for key, value in saves.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(saved[key], value, rtol=1e-6, atol=0)
        else:
            assert saved[key] == value
    by_hand = torch.ones(3) * derivative
    torch.testing.assert_close(g.gradient(each, v).data, by_hand, rtol=1e-6, atol=1e-7)

# %% [markdown]
# ## What happens to values that nothing needs?
#
# Five ops on 1,024 numbers, which are 4 KiB in each of `a`, `b`, `c` and `d`. `g.memory()` says what the nodes have
# saved.

# %%
v = ts.tensor(torch.linspace(0, 1, 1024))
with ts.Grad() as g:
    a = v + 1
    b = torch.exp(a)
    c = 2 * b
    d = torch.sin(c)
    y = d.sum()
print(g.memory())

# %% [markdown]
# Two of five: `exp` saved its output `b`, and `sin` its input `c`. So what keeps `a` and `d` in memory is only their
# names in the program. A weak reference can see a value without keeping it alive, and shows what happens when the
# names go:

# %%
import weakref

values = {"a": a.data, "b": b.data, "c": c.data, "d": d.data}
seen = {name: weakref.ref(value) for name, value in values.items()}
del a, b, c, d, values
for name, reference in seen.items():
    print(name, "is freed" if reference() is None else "is still there")

# %% [markdown]
# `a` and `d` are freed, while the graph and the gradient are as they were. In a function you need no `del`: the names
# end with the call, and from then on only what rules need is in memory. A node has edges to nodes, not to values; an
# engine whose edges go to the values of the operands has to keep all four.

# %% tags=["check"]
by_torch = v.data.clone().requires_grad_()
torch.sin(2 * torch.exp(by_torch + 1)).sum().backward()
torch.testing.assert_close(g.gradient(y, v).data, by_torch.grad, rtol=1e-5, atol=1e-5)
assert [seen[letter]() is None for letter in "abcd"] == [True, False, False, True]
assert v.data.nbytes == 4 * 1024
assert g.memory().bytes == 2 * 4 * 1024
assert g.memory().nodes == 5
assert {row.op: row.values for row in g.memory().rows} == {"exp": {"out": [(1024,)]}, "sin": {"input": [(1024,)]}}
assert y.node.parents[0].saved[0] is seen["c"]()
assert y.node.parents[0].parents[0].parents[1].saved[0] is seen["b"]()

# %% [markdown]
# ## When is the rest given back?
#
# The names of the four are gone, and their nodes are not: `y` leads to them. Now `y` goes too. Python's garbage
# collector, which looks for objects that refer to each other in circles, is switched off meanwhile, so that it cannot
# help.

# %%
import gc

gc.disable()
last = weakref.ref(y.node)
del y
print(last())
print(g.memory())
gc.enable()

# %% [markdown]
# Everything is gone at once, although `g` is still there. A context keeps no list of its nodes; they live as long as
# what was computed from them. And there are no circles: edges only go back, and `exp`, which saves its output, saves
# the torch tensor and not the Tensor whose node it is. So dropping the target frees the graph at that moment. (A
# notebook itself holds on to what a cell has shown, in `Out`; what was printed is not held.)

# %% tags=["check"]
assert last() is None
assert g.memory().bytes == g.memory().nodes == 0
gc.disable()  # once more, and looked at before the garbage collector could have come
try:
    with ts.Grad() as once_more:
        y = torch.sin(2 * torch.exp(v + 1)).sum()
    watched = [weakref.ref(y.node), weakref.ref(y.node.parents[0])]
    assert once_more.memory().nodes == 5
    assert type(y.node.parents[0].parents[0].parents[1].saved[0]) is torch.Tensor
    del y
    assert [one() for one in watched] == [None, None]
    assert once_more.memory().nodes == 0
finally:
    gc.enable()

# %% [markdown]
# ## Where does a graph begin?
#
# At leaves. But what is a leaf depends on who asks. Two contexts, of which one opens later:

# %%
w = ts.tensor(3.0)
with ts.Grad() as outer:
    h = w * w
    with ts.Grad() as inner:
        y = h * w
outer.graph(y)

# %%
inner.gradient(y, w), outer.gradient(y, w)

# %% [markdown]
# Each node was recorded once; the boxes in the picture say by whom. `outer` knows both and finds the derivative of
# $w^3$, $3w^2 = 27$. To `inner`, `h` was there before it opened, so it is a leaf: $y = 9w$, and the gradient is 9.
# This is the derivative of $hw$ with $h$ held fast, a partial derivative. It is what `inner` was asked, and there is
# no mistake in it, but it is a surprise if you meant the other.

# %% tags=["check"]
by_torch = torch.tensor(3.0, requires_grad=True)
square = by_torch * by_torch
(partial,) = torch.autograd.grad(square.detach() * by_torch, by_torch)
(total,) = torch.autograd.grad(square * by_torch, by_torch)
assert (partial.item(), total.item()) == (9.0, 27.0)
assert inner.gradient(y, w).item() == partial.item()
assert outer.gradient(y, w).item() == total.item()
assert {node.name: node.contexts for node in outer.graph(y).nodes} == {
    "w": (),
    "h": ("outer",),
    "y": ("outer", "inner"),
}

# %% [markdown]
# If no path is left at all, tensorad warns:

# %%
import warnings

with ts.Grad() as outer:
    h = w * w
    with ts.Grad() as inner:
        y = h * 2
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(inner.gradient(y, w))
print(caught[0].message)

# %% tags=["check"]
(warning,) = caught
assert warning.category is ts.UnconnectedWarning
assert "through mul at" in str(warning.message)
assert "made before inner opened" in str(warning.message)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    assert inner.gradient(y, w).item() == 0
assert outer.gradient(y, w).item() == 2 * 2 * 3.0  # of 2 w^2

# %% [markdown]
# ## Where does a graph end?
#
# Where a value leaves it. `item()` makes a Python number, and a number has no node. What is computed from it
# afterwards is computed from a constant. `g.why` says so:

# %%
with ts.Grad() as g:
    h = w * w
    y = ts.tensor(h.item()) * 2
print(g.gradient(y, w))
print(g.why(y, w))

# %% tags=["check"]
assert "item() at" in str(g.why(y, w))
assert "what is computed from its result is a constant" in str(g.why(y, w))
assert y.item() == 2 * 3.0**2 == 18
assert g.gradient(y, w).item() == 0
by_torch = torch.tensor(3.0, requires_grad=True)
(2 * by_torch * by_torch).backward()
assert by_torch.grad.item() == 4 * 3.0 == 12  # without the detour

# %% [markdown]
# The value is right, 18, and the derivative is 0, not $4w = 12$. Such a cut is mostly an accident: a value that goes
# through `float()`, numpy or `ts.tensor(...)` and comes back. On purpose, one writes `ts.stop_gradient`: the same
# value, with no node behind it.

# %%
with ts.Grad() as g:
    y = w * w * ts.stop_gradient(w)
print(y, g.gradient(y, w))
print(g.graph(y))

# %% [markdown]
# The value is $w^3 = 27$. The derivative is that of $w^2 \cdot 3$, which is $6w = 18$, as the third factor counts as
# the number 3. It stands in the graph as one more leaf, beside `w`.

# %% tags=["check"]
by_torch = torch.tensor(3.0, requires_grad=True)
(by_torch * by_torch * by_torch.detach()).backward()
assert y.item() == 3.0**3 == 27
assert g.gradient(y, w).item() == by_torch.grad.item() == 18
assert [node.name for node in g.graph(y).nodes if node.op is None] == ["w", None]
assert [node.op for node in g.graph(y).nodes if node.op] == ["mul", "mul"]

# %% [markdown]
# ## In which order?
#
# A gradient goes back through the graph, and a node may have its turn only after all nodes that use it. Such an order
# is called topological. It need not be searched for: each node takes the next number of one counter as it is made,
# and an operand is always made before what is made of it.


# %%
def behind(node):
    found = [node]
    for each in found:  # which grows
        found += {*each.parents} - {None, *found}
    return sorted(found, key=lambda each: each.number)


with ts.Grad() as g:
    y = torch.sin(w * w) + torch.cos(w)
for node in behind(y.node):
    parents = [parent.number for parent in node.parents]
    print(node.number, node.op.name if node.op else "leaf", parents)

# %% tags=["check"]
names = [one.op.name if one.op else "leaf" for one in behind(y.node)]
assert names == ["leaf", "mul", "sin", "cos", "add"]
assert all(before.number < after.number for after in behind(y.node) for before in after.parents)

# %% [markdown]
# In each line the numbers in brackets are smaller than the one in front. So the backward pass sorts the nodes by
# number and begins with the largest. It is a loop and not a recursion, so a graph may be long: this one has 20,000
# sums, one on top of the other, where Python allows far fewer calls inside each other.

# %%
with ts.Grad() as g:
    y = w
    for _ in range(20_000):
        y = y + w
print(y, g.gradient(y, w))

# %% tags=["check"]
import sys

assert g.gradient(y, w).item() == 20_001  # y is w, and 20,000 times w
assert sys.getrecursionlimit() < 20_000

# %% [markdown]
# ## What if the graph is large?
#
# A recurrent network: 20 rounds of a product, a sum and a `tanh`. That makes 60 nodes, two more for the sum of
# squares at the end, and two leaves.

# %%
torch.manual_seed(0)
weights = ts.tensor(torch.randn(8, 8) / 8**0.5)
inputs = torch.randn(20, 8)
with ts.Grad() as g:
    state = ts.zeros(8)
    for k in range(20):
        state = torch.tanh(weights @ state + inputs[k])
    loss = state.square().sum()
g.graph(loss)

# %% [markdown]
# The graph has no loop, but the picture has found it again: what one line of the program did round by round is put
# together. Round 1 is open, the others are folded. Click on one, and then on `matmul` in it. The arrow from round to
# round is `state`. The `weights` beside each round are one leaf, drawn again where it is used: 20 uses, so 20
# contributions to its gradient.

# %% tags=["check"]
from itertools import pairwise

nodes = behind(loss.node)
names = [one.op.name for one in nodes if one.op]
assert [names.count(op) for op in ("matmul", "add", "tanh", "square", "sum")] == [20, 20, 20, 1, 1]
assert len(nodes) == 60 + 2 + 2
assert sum(operand is weights.node for one in nodes for operand in one.parents) == 20
whole = g.graph(loss)
(loop,) = [part for part in whole.groups.parts if not isinstance(part, int)]
rounds = [part for part in loop.parts if not isinstance(part, int)]
assert [(each.title, each.open) for each in rounds] == [(f"round {k}", k == 1) for k in range(1, 21)]
assert [part for part in loop.parts if isinstance(part, int)] == [
    one.number for one in whole.nodes if one.name == "weights"
]
for each, after in pairwise(rounds):
    (passed,) = {place for number in after.numbers for _, place in whole.nodes[number - 1].inputs} & {*each.numbers}
    assert (whole.nodes[passed - 1].op, whole.nodes[passed - 1].name) == ("tanh", "state")
by_torch, hidden = weights.data.clone().requires_grad_(), torch.zeros(8)
for row in inputs:
    hidden = torch.tanh(by_torch @ hidden + row)
hidden.square().sum().backward()
torch.testing.assert_close(g.gradient(loss, weights).data, by_torch.grad, rtol=1e-4, atol=1e-5)

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** How many nodes has the graph of $\sin^2 x + \cos^2 x$, written `torch.sin(x) ** 2 + torch.cos(x) ** 2`? Which
# of them save something, and what? Answer first, then look.

# %% tags=["solution"]
with ts.Grad() as context:
    total = torch.sin(x) ** 2 + torch.cos(x) ** 2
print(context.graph(total))
print(context.memory())
assert len(behind(total.node)) == 6  # x, sin, pow, cos, pow, add
assert total.node.saved == ()
for power, value in zip(total.node.parents, (torch.sin(x.data), torch.cos(x.data)), strict=True):
    assert [one for one in power.saved if one is not None] == [value, 2]
    (saved,) = power.parents[0].saved
    assert saved is x.data

# %% [markdown] tags=["solution"]
# Four of the five ops: `sin` and `cos` save their input, and `pow` saves its input and the exponent 2. The sum saves
# nothing. The input of both `sin` and `cos` is `x`: that is the 4 bytes of memory that several of them share.

# %% [markdown]
# **2.** `behind` finds the nodes. Write `listing(y)`, which gives the graph as a Wengert list, one line of text for
# each op, such as `v3 = mul(v2, v1)`, where `v1`, `v2`, ... are the nodes in the order in which they were made.


# %% tags=["solution"]
def listing(y):
    nodes = behind(y.node)
    called = {one: f"v{place}" for place, one in enumerate(nodes, 1)} | {None: "constant"}
    return [f"{called[one]} = {one.op.name}({', '.join(called[p] for p in one.parents)})" for one in nodes if one.op]


with ts.Grad() as context:
    product = torch.exp(x) * x * 3
print("\n".join(listing(product)))
assert listing(product) == ["v2 = exp(v1)", "v3 = mul(v2, v1)", "v4 = mul(v3, constant)"]

# %% [markdown]
# **3.** With one `ts.stop_gradient`, turn a positive `h` into a Tensor whose value is 1 and whose gradient is that of
# $\log h$. Test it on $h = x^2$ at $x = 2$.

# %% tags=["solution"]
with ts.Grad() as context:
    square = x * x
    unit = square / ts.stop_gradient(square)
print(unit, context.gradient(unit, x))
assert unit.item() == 1.0
assert context.gradient(unit, x).item() == 2 / 2.0  # the derivative of log(x^2) is 2 / x

# %% [markdown]
# **4.** This loop keeps its losses, to draw a curve of them later. How many nodes does it keep alive, and why? Change
# one thing, so that it keeps only those of the last round.
#
# ```python
# losses = []
# for _ in range(100):
#     with ts.Grad() as g:
#         loss = (weights @ inputs[0]).square().sum()
#     losses.append(loss)
# ```

# %% [markdown] tags=["solution"]
# Each loss leads to the three nodes of its round (and all of them to the leaf `weights`), so the list keeps 300
# nodes, and what they saved. `losses.append(loss.item())` keeps numbers; the last graph stays, by the name `loss`.


# %% tags=["solution"]
def alive(keep):
    watched, losses = [], []
    for _ in range(100):
        with ts.Grad():
            loss = (weights @ inputs[0]).square().sum()
        watched += [weakref.ref(one) for one in behind(loss.node) if one.op]
        losses.append(keep(loss))
    return sum(one() is not None for one in watched)


counts = alive(lambda loss: loss), alive(lambda loss: loss.item())
print(counts)
assert counts == (300, 3)

# %% [markdown]
# ## Where to go on
#
# [How do gradients propagate?](gradients-flow.md) goes back through the graph, against the edges. [How are higher
# orders computed?](higher-orders.md) makes graphs of gradients. [Looking inside](../looking.md) has all that
# `g.graph` can do, and [How it works](../design.md) says where in the source a node is made.
