# %% [markdown]
# # What does a minimal engine look like?
#
# You write an engine in 55 lines: it records, goes backwards, undoes broadcasting and differentiates its own
# gradients. Then you find each of its pieces in the source of tensorad, and see what tensorad adds to it. Twenty
# minutes.

# %%
# %load_ext tensorad
import itertools

import torch

import tensorad as ts

x = ts.tensor(6.0)
with ts.Grad() as g2:
    with ts.Grad() as g1:
        y = x**3
        dx = g1.gradient(y, x)
    d2x = g2.gradient(dx, x)
y, dx, d2x

# %% [markdown]
# This is what the engine has to do: $y = x^3$ is 216 at $x = 6$, its derivative $3x^2$ is 108, and the derivative of
# that, $6x$, is 36. The second context differentiates what the first one computed.

# %% tags=["check"]
by_torch = torch.tensor(6.0, requires_grad=True)
(first,) = torch.autograd.grad(by_torch**3, by_torch, create_graph=True)
(second,) = torch.autograd.grad(first, by_torch)
assert [each.item() for each in (y, dx, d2x)] == [6**3, first.item(), second.item()] == [216, 108, 36]

# %% [markdown]
# ## What does an engine have to remember?
#
# To go backwards through a program, you need to know which ops ran, in which order, and on what. One `Node` per op
# holds that: the arguments, the nodes that these came from (its parents), the rules of the op, and a number that
# counts up. A `Value` is a torch tensor with the node that made it. A value that nothing recorded gets a node without
# parents, a leaf. The whole record is often called a Wengert list, after a paper of 1964.
#
# The cells of the engine start with `# engine`, so that their lines can be counted at the end.


# %%
# engine: what is remembered
class Node:
    def __init__(self, rules, args):
        self.number, self.contexts = next(numbers), tuple(recording)
        self.rules, self.args = rules, args
        self.parents = [arg.node for arg in args if isinstance(arg, Value)]


class Value:
    def __init__(self, data, node=None):
        self.data, self.node = torch.as_tensor(data), node or Node((), ())

    def __repr__(self):
        return str(self.data).replace("tensor", "Value")


numbers, recording = itertools.count(1), []

# %% [markdown]
# `recording` is the list of the contexts that are open, outermost first. A node notes which these were when it was
# made. A context puts itself on the list and takes itself off; and it is what is asked for a gradient. The seed, the
# gradient of the target by itself, is one. `backward` does not exist yet: Python looks the name up when `gradient`
# runs.


# %%
# engine: contexts
class Context:
    def __enter__(self):
        recording.append(self)
        return self

    def __exit__(self, *error):
        recording.remove(self)

    def gradient(self, target, source):
        cotangents = backward(self, target.node, Value(torch.ones_like(target.data)))
        return cotangents.get(source.node, Value(torch.zeros_like(source.data)))


# %% [markdown]
# ## What is an op?
#
# A function of torch's, and one rule for each operand that has a derivative. A rule takes `g`, the cotangent of the
# op's output (the gradient of the target by that output), and the op's arguments, and returns the cotangent of its
# operand. Called on Values, an op computes with their data; and if a context is open, it makes a node.


# %%
# engine: how an op is called
def op(function, *rules):
    def call(*args):
        data = function(*[arg.data if isinstance(arg, Value) else arg for arg in args])
        return Value(data, Node(rules, args) if recording else None)

    return call


# %% [markdown]
# With this, an op is a row of a table. The rules are written in the table's own functions, on Values. That looks
# circular, `sin` needs `cos` and `cos` needs `sin`, and it is what makes the second order work, as you will see.

# %%
# engine: the table of ops
add = op(torch.add, lambda g, x, y: g, lambda g, x, y: g)
mul = op(torch.mul, lambda g, x, y: g * y, lambda g, x, y: g * x)
power = op(torch.pow, lambda g, x, n: g * n * x ** (n + -1), lambda g, x, n: g * x**n * log(x))
exp = op(torch.exp, lambda g, x: g * exp(x))
log = op(torch.log, lambda g, x: g * x**-1)
sin = op(torch.sin, lambda g, x: g * cos(x))
cos = op(torch.cos, lambda g, x: g * -1 * sin(x))
sum_to = op(torch.Tensor.sum_to_size, lambda g, x, shape: expand(g, x.data.shape))
expand = op(torch.Tensor.expand, lambda g, x, shape: sum_to(g, x.data.shape))
Value.__add__ = Value.__radd__ = add
Value.__mul__ = Value.__rmul__ = mul
Value.__pow__ = power

# %% [markdown]
# `sum_to` and `expand` change the shape: a vector to its sum, a number to a vector that repeats it. Each is the
# other's rule. Now look at what a small program leaves behind. Each line below is a node, with the numbers of its
# parents.

# %%
x = Value(6.0)
with Context() as g:
    h = x * x
    y = h * 3 + x

product = y.node.args[0]
for node in (h.node, product.node, y.node):
    print(node.number, "made of", [parent.number for parent in node.parents])

# %% [markdown]
# Node 1 is $x$, a leaf. Node 2 is $h$, and has node 1 for both parents; node 3 is $3h$, whose other operand, 3, is a
# plain number and has no node; node 4 is $y$. No edge leads from a lower number to a higher one: a value exists
# before it is used. tensorad records the same four nodes. Click on one to see its operands, its value and its rule.

# %%
x_ts = ts.tensor(6.0)
with ts.Grad() as g_ts:
    h_ts = x_ts * x_ts
    y_ts = h_ts * 3 + x_ts
g_ts.graph(y_ts)

# %% tags=["check"]
their_nodes = g_ts.graph(y_ts).nodes
place = {node.number: number for number, node in enumerate(their_nodes, 1)}
theirs = [[place[number] for _, number in node.inputs] for node in their_nodes]
yours = [[parent.number for parent in node.parents] for node in (x.node, h.node, product.node, y.node)]
assert theirs == yours == [[], [1, 1], [2], [3, 1]]
assert [h.node.number, product.node.number, y.node.number] == [2, 3, 4]
assert all(parent.number < node.number for node in (h.node, product.node, y.node) for parent in node.parents)

# %% [markdown]
# ## How does it go back?
#
# Two steps. First, `between` finds the nodes behind the target that the context owns, and sorts them, the last number
# first.


# %%
# engine: the way back
def between(owner, target):
    found, ahead = set(), [target]
    while ahead:
        node = ahead.pop()
        if owner in node.contexts and node not in found:
            found.add(node)
            ahead += node.parents
    return sorted(found, key=lambda node: node.number, reverse=True)


# %% [markdown]
# `backward` takes the nodes in this order. For each it calls the rules, and adds what they return to the cotangents
# of the parents.


# %%
# engine: the backward pass
def backward(owner, target, seed):
    cotangents = {target: seed}
    for node in between(owner, target):
        g = cotangents[node]
        for arg, rule in zip(node.args, node.rules, strict=False):
            if isinstance(arg, Value):
                pulled = sum_to(rule(g, *node.args), arg.data.shape)
                before = cotangents.get(arg.node)
                cotangents[arg.node] = pulled if before is None else before + pulled
    return cotangents


# %% [markdown]
# Why this order? A node's cotangent is the sum of what all its users send. They were made later, so they have higher
# numbers, so they have all had their turn. In the program above, $x$ is used three times, twice in $x \cdot x$ and
# once in $h \cdot 3 + x$. Look at what $x$, node 1, ends up with.

# %%
for node, cotangent in backward(g, y.node, Value(1.0)).items():
    print("node", node.number, "has the cotangent", cotangent)

# %% [markdown]
# The sum sends 1 to $x$. The product $h = x \cdot x$ has the cotangent 3, and sends $3 \cdot 6 = 18$ to each of its
# two operands, which are both $x$. Together that is 37, and so says calculus: $y = 3x^2 + x$ has the derivative $6x +
# 1$.

# %%
g.gradient(y, x)

# %% tags=["check"]
by_torch = torch.tensor(6.0, requires_grad=True)
(by_torch * by_torch * 3 + by_torch).backward()
assert g.gradient(y, x).data == by_torch.grad == 37 == 1 + 18 + 18
each = {node.number: cotangent.data.item() for node, cotangent in backward(g, y.node, Value(1.0)).items()}
assert each == {4: 1, 3: 1, 2: 3, 1: 37}

# %% [markdown]
# ## What does broadcasting do to a gradient?
#
# Multiply a number by a vector of three entries, and torch uses the number three times. So its gradient is a sum of
# three terms. The rule of `mul` knows nothing of this: it returns `g * y`, which has three entries.

# %%
w, v = Value(2.0), Value([1.0, 2.0, 3.0])
with Context() as g:
    y = w * v
rule_of_w = y.node.rules[0]
print("the rule returns", rule_of_w(Value(torch.ones(3)), w, v))
print("the gradient is ", g.gradient(y, w), "and by v", g.gradient(y, v))

# %% [markdown]
# The one `sum_to` in `backward` adds the three up, $1 + 2 + 3 = 6$, for every op in the table. Where the shapes agree
# it changes nothing.

# %% tags=["check"]
a, b = torch.tensor(2.0, requires_grad=True), torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
(a * b).sum().backward()
assert rule_of_w(Value(torch.ones(3)), w, v).data.tolist() == [1, 2, 3]  # g * v, not yet summed
assert g.gradient(y, w).data == a.grad == 6
assert torch.equal(g.gradient(y, v).data, b.grad)

# %% [markdown]
# ## Why does the second order work?
#
# Nothing was written for it. The rules run on Values, so while `g2` is open, what `g1.gradient` computes is recorded
# like any other op.

# %%
x = Value(6.0)
with Context() as g2:
    with Context() as g1:
        y = x**3
        dx = g1.gradient(y, x)
    d2x = g2.gradient(dx, x)
print(y, dx, d2x)
print(len(between(g1, y.node)), "node leads to y,", len(between(g2, dx.node)), "lead to dx")

# %% [markdown]
# One node leads to $y$. Five lead to $dx$: the seed, a leaf, and what the rule of `power` and the loop did with it,
# which is `g * n`, `x ** 2`, the product of the two and the `sum_to`. (`n + -1` is 2, a plain number.) The node of
# $y$ is not among them: $3x^2$ does not need the value of $x^3$.

# %% tags=["check"]
assert [each.data.item() for each in (y, dx, d2x)] == [6**3, 3 * 6**2, 6 * 6]
assert len(between(g1, y.node)) == 1
assert [len(node.args) for node in between(g2, dx.node)] == [2, 2, 2, 2, 0]  # four ops of two arguments, and a leaf
assert y.node not in between(g2, dx.node)

# %% [markdown]
# ## Whose is a node?
#
# `between` stops where `owner in node.contexts` is false. Here the inner context did not record $h = x^2$, so to it
# $h$ is a constant: the derivative of $z = x h$ is $h = 36$. The outer one did record $h$, and differentiates that 36
# to $2x = 12$.

# %%
with Context() as outer:
    h = x * x
    with Context() as inner:
        z = x * h
        dz = inner.gradient(z, x)
    d2z = outer.gradient(dz, x)
dz, d2z

# %% tags=["check"]
by_torch = torch.tensor(6.0)
assert dz.data == torch.func.grad(lambda u: u * by_torch**2)(by_torch) == 36
assert d2z.data == torch.func.grad(lambda t: torch.func.grad(lambda u: u * t * t)(t))(by_torch) == 12

# %% [markdown]
# ## Is it right?
#
# Here is a function that uses every row of the table, with broadcasting: its gradient by $w$, and the gradients of
# that by $w$ and by $v$. The check below has `torch.autograd` work out the same three.

# %%
w, v = Value(0.5), Value([0.5, 1.0, 2.0])
with Context() as g2:
    with Context() as g1:
        y = sum_to(sin(v * w) * exp(v) + cos(w) * log(v) * v**w, ())
        dw = g1.gradient(y, w)
    d2w = g2.gradient(dw, w)
    dwv = g2.gradient(dw, v)
print(dw, d2w, dwv)

# %% tags=["check"]
a, b = torch.tensor(0.5, requires_grad=True), torch.tensor([0.5, 1.0, 2.0], requires_grad=True)
value = (torch.sin(b * a) * torch.exp(b) + torch.cos(a) * torch.log(b) * b**a).sum()
(first,) = torch.autograd.grad(value, a, create_graph=True)
second, mixed = torch.autograd.grad(first, [a, b])
torch.testing.assert_close(dw.data, first.detach(), rtol=1e-5, atol=1e-5)
torch.testing.assert_close(d2w.data, second, rtol=1e-5, atol=1e-5)
torch.testing.assert_close(dwv.data, mixed, rtol=1e-5, atol=1e-5)

# %% [markdown]
# How long is it? These are all the lines of the cells that start with `# engine`, without blank lines and comments.

# %%
cells = dict.fromkeys(cell for cell in In if cell.startswith("# engine"))
lines = "\n".join(cells).splitlines()
code = [line for line in lines if line.strip() and not line.startswith("#")]
len(code)

# %% tags=["check"]
assert len(cells) == 6
assert len(code) == 55

# %% [markdown]
# ## Where does each piece stand in tensorad?
#
# The next cell has your pieces on the left, and the same pieces of tensorad on the right. It asks Python where these
# stand, and how many lines they have there, documentation included.

# %%
import inspect
from pathlib import Path

same = {
    "Node": ts.node.Node,
    "recording": ts.node.Contexts,
    "Value": ts.Tensor,
    "Value: node or Node": ts.Tensor.leaf,
    "Value.__add__ = ...": ts.operators.attach,
    "__enter__": ts.node.Entry.__enter__,
    "__exit__": ts.node.Entry.__exit__,
    "Context": ts.Grad,
    "gradient": ts.Grad.gradient,
    "op": ts.call.Op,
    "between": ts.backward.between,
    "backward": ts.backward.stepwise,
    "its sum_to": ts.backward.fit,
}
home = Path(ts.__file__).parent
for yours, piece in same.items():
    file, length = Path(inspect.getsourcefile(piece)).relative_to(home), len(inspect.getsourcelines(piece)[0])
    print(f"{yours:19} {file.as_posix():21} {piece.__qualname__:15} {length:3} lines")
for row in "__add__ mul pow exp log sin cos sum_to_size expand".split():
    print(f"{'a row of the table':19} {ts.rule(row).file:21} {ts.rule(row).name}")

# %% [markdown]
# `print(inspect.getsource(ts.node.Node))` shows you one of them, and `ts.rule(torch.sin)` a row. This is how they
# differ from yours:
#
# | yours | in tensorad |
# |---|---|
# | `Node` | `op` stands for your `rules`, and `saved` for `args`; `shape` is noted, as the value may be gone |
# | `numbers` | the same counter, as `next_number` in `node.py` |
# | `recording` | a context variable: what another thread computes meanwhile is not recorded into your contexts |
# | `Value` | answers `__torch_function__`, so that `torch.sin(x)` and `x.sin()` are ops too |
# | a leaf | is made when a value is first used under a context, not with each value |
# | `__add__`, ... | all operators, also when a torch tensor stands on the left |
# | `Context` | cannot be opened again while it is open; notes its line for messages |
# | `gradient` | takes several sources; what it never saw is an error, where yours says 0 |
# | `op` | writes a `call` of its own for each op, from the text `CALL`; integers and constants make no node |
# | the rows | rules name what they need; those of `pow` take care of 0 |
# | `between` | keeps only the nodes that some source flows through |
# | `sum_to` | undoes dtypes as well; a rule whose result fits nowhere is named |
#
# `saved` and the loop need more than a line.

# %% tags=["check"]
import threading

for piece in same.values():
    assert Path(inspect.getsourcefile(piece)).is_relative_to(home)
for card in map(ts.rule, "__add__ mul pow exp log sin cos sum_to_size expand".split()):
    assert (home / card.file).is_file()
    assert card.source.splitlines()[0] in (home / card.file).read_text(encoding="utf-8")
assert {"op", "saved", "shape", "number", "contexts", "parents"} <= {*ts.node.Node.__slots__}
assert "next_number = itertools.count(1).__next__" in inspect.getsource(ts.node)
assert "\nCALL = " in inspect.getsource(ts.call)
one, other = Value(1.0), ts.tensor(1.0)
assert one.node is not None
assert other.node is None
seen = []
with Context() as context, ts.Grad() as context_ts:
    thread = threading.Thread(target=lambda: seen.extend([(one + 1).node.contexts, (other + 1).node]))
    thread.start()
    thread.join()
    made = torch.sin(other), other.sin(), torch.ones(()) + other
    whole, constant = other.long(), ts.add(torch.ones(()), 1)
    try:
        context_ts.__enter__()
    except ts.ContextError:
        pass
    else:
        raise AssertionError("opened twice")
    twice, factor = context.__enter__(), ts.tensor(2.0)
    twice.__exit__()
    long_way = other * (factor * 3)
assert seen == [(context,), None]
assert all(each.node.contexts == {context_ts} for each in made)
assert [each.item() for each in made] == [each.item() for each in (other.data.sin(), other.data.sin(), other.data + 1)]
assert other.node.parents == ()
assert whole.node is constant.node is None
assert "def call(input" in ts.op.ROWS[ts.exp].source
try:
    torch.sin(one)
except TypeError:
    pass
else:
    raise AssertionError("torch takes a Value")
order, _ = ts.backward.between(context_ts, long_way.node, {other.node})
assert order == [long_way.node]
wide, narrow = ts.tensor(2.0, dtype=ts.float64), ts.tensor(3.0)
with ts.Grad() as context_ts:
    mixed = wide * narrow
slopes = context_ts.gradient(mixed, [wide, narrow])
assert [each.dtype for each in slopes] == [torch.float64, torch.float32]
assert [each.item() for each in slopes] == [3, 2]
zero, two = torch.zeros((), requires_grad=True), torch.tensor(2.0, requires_grad=True)
by_torch = torch.autograd.grad(zero**two, [zero, two])
theirs, own = (ts.tensor(0.0), ts.tensor(2.0)), (Value(0.0), Value(2.0))
with Context() as context, ts.Grad() as context_ts:
    power_ts, power_own = theirs[0] ** theirs[1], own[0] ** own[1]
assert [each.item() for each in context_ts.gradient(power_ts, theirs)] == [each.item() for each in by_torch] == [0, 0]
assert context.gradient(power_own, own[1]).data.isnan()
ts.defrule("misfit(input)", function=lambda t: t * 1, input=lambda g: torch.ones(7))
vector = ts.tensor([1.0, 2.0])
with ts.Grad() as context_ts:
    fits_nowhere = ts.misfit(vector)
try:
    context_ts.gradient(fits_nowhere, vector)
except ts.TensorADError as error:
    named = str(error)
else:
    raise AssertionError("no error")
assert "misfit" in named
unseen, unseen_ts = one * one, other * other  # no context is open
assert context.gradient(unseen, one).data == 0
try:
    context_ts.gradient(unseen_ts, other)
except ts.NotRecordedError:
    pass
else:
    raise AssertionError("no error")

# %% [markdown]
# ## What is saved?
#
# Torch tensors, and only those that a rule names. The parameters of a rule say what these are.

# %%
print(ts.rule(torch.exp))
print(ts.rule(torch.neg))

# %% [markdown]
# The rule of `exp` needs the output and nothing else; that of `neg` needs nothing at all. Your `exp` keeps its
# argument, and works out $e^x$ once more. Your nodes keep every argument of every op, so no intermediate value is
# freed while the target is there; in tensorad, a value that no rule needs is freed when you drop it. And one that is
# saved may have been changed in place by then: `version` notices that (exercise 3 below).

# %% tags=["check"]
import weakref

held = []
for context, x in ((Context(), Value(2.0)), (ts.Grad(), ts.tensor(2.0))):
    with context:
        h = x * 3
        y = h + x
    data = weakref.ref(h.data)
    del h
    held.append(data() is not None)
assert held == [True, False]  # by your engine, by tensorad
assert (ts.rule(torch.exp).saves, ts.rule(torch.neg).saves) == (["out"], [])

# %% [markdown]
# ## What does the loop add?
#
# `stepwise` is your `backward`. Here is its source, and below, what each part is to yours.

# %%
print(inspect.getsource(ts.backward.stepwise))

# %% [markdown]
# | in your `backward` | in `stepwise` | what is added |
# |---|---|---|
# | `for node in between(...)` | `for node in reversed(order)` | `yield`: it stops at each node, for who looks on |
# | `g = cotangents[node]` | `cotangents.pop(node, None)` | what has been used is freed; none at all is a zero |
# | | `version(node.saved) != node.version` | a value that was changed in place is an error |
# | `rule(g, *node.args)` | `pull(g, saved)` | rules on torch tensors, and on Tensors only if they are `recorded` |
# | | `op.separate(...) if op.joint` | ops whose operands share one rule, such as `torch.cat` |
# | `sum_to(...)` | `fit(pulled, parent, node)` | dtypes too; left out where an op keeps the shape |
# | `before + pulled` | `+=`, or `+` the first time | a sum that nobody else holds is added to in place |
#
# `g.steps` runs this generator and shows each stop. Click through the program from above: `x_ts` receives 1, then 18,
# then 18 again, which makes 37, and the stops are your order, from `y_ts` to `h_ts`.

# %%
g_ts.steps(y_ts, [x_ts])

# %% tags=["check"]
quoted = "reversed(order)|cotangents.pop(node, None)|version(node.saved) != node.version|pull(g, saved)|op.separate("
quoted += "|if op.joint|recorded|fit(pulled, parent, node)|cotangents[parent] += pulled|cotangents[parent] + pulled"
assert all(part in inspect.getsource(ts.backward.stepwise) for part in quoted.split("|"))
stops = [line.strip() for line in str(g_ts.steps(y_ts, [x_ts])).splitlines()]
assert [line.split()[1] for line in stops if "cotangent" in line] == ["y_ts", "v3", "h_ts"]
received = [line.split(", and ")[0].split(" = ")[-1] for line in stops if line.startswith("x_ts receives")]
assert (received, stops[-1]) == (["1", "18", "18"], "gradient by x_ts: 37")

# %% [markdown]
# What tensorad adds to the engine that you wrote is memory, speed, threads, more kinds of ops, and messages. The idea
# is in your 55 lines.

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** Add a row for `tanh` to your table. Its derivative is $1 - \tanh^2 x$. Check the first and the second
# derivative at $x = 0.5$ against torch.

# %% tags=["solution"]
tanh = op(torch.tanh, lambda g, x: g * (1 + -1 * tanh(x) ** 2))

x = Value(0.5)
with Context() as g2:
    with Context() as g1:
        y = tanh(x)
        dx = g1.gradient(y, x)
    d2x = g2.gradient(dx, x)

by_torch = torch.func.grad(torch.tanh), torch.func.grad(torch.func.grad(torch.tanh))
torch.testing.assert_close(dx.data, by_torch[0](x.data))
torch.testing.assert_close(d2x.data, by_torch[1](x.data))

# %% [markdown]
# **2.** Add `matmul` and what its rules need. Then work out the gradients of $\sum \tanh(xW + b)$ by $W$ and $b$,
# with $x$ of shape (4, 3), $W$ of shape (3, 2) and $b$ of shape (2,).

# %% tags=["solution"]
transpose = op(lambda x: x.mT, lambda g, x: transpose(g))
matmul = op(
    torch.matmul,
    lambda g, x, y: matmul(g, transpose(y)),
    lambda g, x, y: matmul(transpose(x), g),
)

torch.manual_seed(0)
x, W, b = (Value(torch.randn(shape)) for shape in ((4, 3), (3, 2), (2,)))
with Context() as g:
    y = sum_to(tanh(matmul(x, W) + b), ())

W_torch, b_torch = W.data.clone().requires_grad_(), b.data.clone().requires_grad_()
torch.tanh(x.data @ W_torch + b_torch).sum().backward()
torch.testing.assert_close(g.gradient(y, W).data, W_torch.grad)
torch.testing.assert_close(g.gradient(y, b).data, b_torch.grad)

# %% [markdown]
# **3.** After `y = x * x`, run `x.data.mul_(10)`, and ask for the gradient: it is silently wrong. Make it an error,
# as tensorad does. torch counts the changes in place of a tensor in `x.data._version`.


# %% tags=["solution"]
def version(args):
    return sum(arg.data._version for arg in args if isinstance(arg, Value))


class Versioned(Node):
    def __init__(self, rules, args):
        super().__init__(rules, args)
        self.version = version(args)


def checked(owner, target, unchecked=between):
    for node in (nodes := unchecked(owner, target)):
        if version(node.args) != node.version:
            raise RuntimeError(f"an argument of node {node.number} was changed in place")
    return nodes


plain_node, plain_between = Node, between
Node, between = Versioned, checked
x = Value(6.0)
with Context() as g:
    y = x * x
assert g.gradient(y, x).data == 12
x.data.mul_(10)
try:
    g.gradient(y, x)
except RuntimeError as error:
    print(error)
else:
    raise AssertionError
Node, between = plain_node, plain_between

# %% [markdown]
# **4.** Leave `owner in node.contexts` out of `between`, so that every node belongs to everybody, and run the program
# of "Whose is a node?" again. Predict `dz` first.

# %% [markdown] tags=["solution"]
# Without owners, `inner` follows $h$ back to $x$ and differentiates $z = x \cdot x^2 = x^3$: `dz` is $3x^2 = 108$ in
# the place of 36, and `d2z` is $6x = 36$ in the place of 12. Siskind and Pearlmutter described this kind of mistake
# in 2005, for forward mode, as perturbation confusion.


# %% tags=["solution"]
def everybodys(owner, target):
    found, ahead = set(), [target]
    while ahead:
        node = ahead.pop()
        if node not in found:
            found.add(node)
            ahead += node.parents
    return sorted(found, key=lambda node: node.number, reverse=True)


kept, between = between, everybodys
x = Value(6.0)
with Context() as outer:
    h = x * x
    with Context() as inner:
        z = x * h
        dz = inner.gradient(z, x)
    d2z = outer.gradient(dz, x)
between = kept
assert (dz.data, d2z.data) == (3 * 6**2, 6 * 6)

# %% [markdown]
# ## Where to go on
#
# [Change the engine](change-the-engine.md) adds ops and other rules to tensorad instead of to your own table. [How
# are higher orders computed?](higher-orders.md) is about contexts in contexts, and [The design](../design.md) goes
# through the modules and says why they are as they are.
