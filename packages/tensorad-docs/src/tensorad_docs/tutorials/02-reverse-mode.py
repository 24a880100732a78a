# %% [markdown]
# # How does reverse mode work?
#
# At the end you can carry a derivative backwards through a program by hand, say why one backward pass is enough for a
# thousand inputs, and read the loop in which tensorad does it. Fifteen minutes.

# %%
# %load_ext tensorad
import torch

import tensorad as ts

x = ts.tensor(2.0)
with ts.Grad() as g:
    u = torch.square(x)  # 4
    a = 3 * u  # 12
    b = u + 1  # 5
    y = a * b  # 60
g.gradient(y, x)

# %% [markdown]
# As a formula, this program is $y = 3x^2(x^2 + 1) = 3x^4 + 3x^2$. Its derivative is $12x^3 + 6x$, which at $x = 2$ is
# $96 + 12 = 108$. But tensorad never had that formula. It has seen four ops and four numbers. The question of this
# tutorial is how it gets from these to 108.

# %% tags=["check"]
by_torch = torch.tensor(2.0, requires_grad=True)
square = by_torch.square()
(3 * square * (square + 1)).backward()
assert g.gradient(y, x).item() == by_torch.grad.item() == 12 * 2**3 + 6 * 2 == 108
assert [each.item() for each in (u, a, b, y)] == [4, 12, 5, 60]
assert [node.op for node in g.graph(y).nodes] == [None, "square", "mul", "add", "mul"]

# %% [markdown]
# ## What does each op know?
#
# One line: its *rule*. The rule of an op says how its result follows a small change of its operand, and nothing about
# the rest of the program.

# %%
print(ts.rule(torch.square))
print(ts.rule(torch.mul))

# %% [markdown]
# Leave `g` aside for a moment. What it is multiplied by is the derivative of the op alone, its *local derivative*:
# `2 · input` for a square, the *other* factor for each factor of a product. For a sum it is 1. (The last line of each
# answer is the rule as it stands in tensorad's source.) With the numbers of this run, the program has these local
# derivatives:
#
# | op | local derivative | here |
# |---|---|---|
# | `u = square(x)` | $\partial u / \partial x = 2x$ | 4 |
# | `a = 3 * u` | $\partial a / \partial u = 3$ | 3 |
# | `b = u + 1` | $\partial b / \partial u = 1$ | 1 |
# | `y = a * b` | $\partial y / \partial a = b$ | 5 |
# | `y = a * b` | $\partial y / \partial b = a$ | 12 |
#
# The other ops that have a derivative have rules too. That of the sine will be needed in the first exercise:

# %%
print(ts.rule(torch.sin))

# %% tags=["check"]
step = 1e-6
for function, at, local in [
    (lambda x: x * x, 2.0, 4),
    (lambda u: 3 * u, 4.0, 3),
    (lambda u: u + 1, 4.0, 1),
    (lambda a: a * 5, 12.0, 5),
    (lambda b: 12 * b, 5.0, 12),
]:
    slope = (function(at + step) - function(at - step)) / (2 * step)
    assert abs(slope - local) < 1e-6
by_rules = [
    pull(torch.tensor(1.0), each.node.saved).item()
    for each in (u, a, b, y)
    for parent, pull in zip(each.node.parents, each.node.op.pulls, strict=True)
    if parent is not None
]
assert by_rules == [4, 3, 1, 5, 12]
from pathlib import Path

source = (Path(ts.__file__).parent / "rules/elementwise.py").read_text()
for op, formulas in [
    (torch.square, ["input: g · (2 · input)"]),
    (torch.mul, ["input: g · other", "other: g · input"]),
    (torch.sin, ["input: g · cos(input)"]),
]:
    lines = [line.strip() for line in str(ts.rule(op)).splitlines()]
    assert set(formulas) <= set(lines)
    assert lines[-1] in source

# %% [markdown]
# ## What does one path contribute?
#
# From `x` to `y` there are two ways through the program: through `a`, and through `b`. Follow the first. If `x` grows
# by a small amount, `u` grows by 4 times that, `a` by 3 times what `u` grows by, and `y` by 5 times what `a` grows
# by. Along a path, local derivatives multiply. That is the chain rule.

# %%
over_a = 5 * 3 * 4
over_b = 12 * 1 * 4
over_a, over_b, over_a + over_b

# %% [markdown]
# `y` changes by both paths at once, so what they contribute is added: 60 + 48 = 108, the number that we are after.
# The derivative of a whole program is the sum, over all paths from input to output, of the products along the paths.
#
# That is true, and it is no way to compute it. Each time a value is used twice, there may be twice as many paths: a
# program of thirty such steps may have $2^{30}$, more than a billion. But both products end in the same factor 4,
# since both paths share the way from `x` to `u`. It can be taken out: $5 \cdot 3 \cdot 4 + 12 \cdot 1 \cdot 4 = (5
# \cdot 3 + 12 \cdot 1) \cdot 4$. The bracket is 27. It is a derivative too, namely $\partial y / \partial u$.

# %% tags=["check"]
u_at = torch.tensor(4.0, requires_grad=True)
(3 * u_at * (u_at + 1)).backward()
assert u_at.grad.item() == 5 * 3 + 12 * 1 == 27
assert (over_a, over_b) == (60, 48)
assert 2**30 > 10**9

# %% [markdown]
# ## The same by hand, backwards
#
# So, work from the end. Keep one number for each value of the program: the derivative of `y` by that value. It is
# called the *cotangent* of the value; books also say *adjoint*. `y` itself has cotangent 1, since $\partial y /
# \partial y = 1$. Then take the ops in reverse, and let each hand on what its rule says: the cotangent of its result,
# times the local derivative. These are plain floats:

# %%
g_y = 1.0
g_a = g_y * 5.0  # y = a * b: the other factor is b
g_b = g_y * 12.0  #            the other factor is a
g_u = g_b * 1.0  # b = u + 1
g_u = g_u + g_a * 3.0  # a = 3 * u: the second use of u, so it is added
g_x = g_u * 2 * 2.0  # u = square(x): 2 * x
g_u, g_x

# %% [markdown]
# Two things are worth a second look. The line with the plus sign is the sum over paths: `u` is used twice, two
# numbers arrive, and they are added. And `g_x` is worked out only after that. Had we gone on to `x` as soon as the
# first number arrived, we would have had to multiply by 4 twice. Each op has one turn, after everything that uses its
# result. And the `g` of the rules is explained: it is the cotangent of the op's result.
#
# This is reverse mode. Linnainmaa described it in 1970; in 1980 Speelpenning wrote a compiler that does it.

# %% [markdown]
# ## The same on a real run
#
# `g.steps(y, x)` is the backward pass of tensorad, which stops before each op. Go through it with the arrow keys or
# the buttons. Look at the node that is marked, at its cotangent, and at what its operands receive. The numbers 5, 12,
# 27 and 108 come up in the same order as by hand. At the turn of `a`, the third step, `u` receives 15 and has 12 from
# the other path: that is where the two meet.

# %%
g.steps(y, x)

# %% [markdown]
# All of these numbers are gradients, and all can be asked for: a source may be any value on the way.

# %%
g.gradient(y, [y, a, b, u, x])

# %% tags=["check"]
leaf = torch.tensor(2.0, requires_grad=True)
square = leaf.square()
first, second = 3 * square, square + 1
product = first * second
expected = torch.autograd.grad(product, [product, first, second, square, leaf])
assert [each.item() for each in expected] == [1, 5, 12, 27, 108]
assert g.gradient(y, [y, a, b, u, x]) == [each.item() for each in expected]
assert (g_y, g_a, g_b, g_u, g_x) == (1, 5, 12, 27, 108)
steps = g.steps(y, x)
assert [(step.node.name, step.cotangent.item()) for step in steps] == [("y", 1), ("b", 12), ("a", 5), ("u", 27)]
totals = [each.total.item() for step in steps for each in step.received]
assert totals == [5, 12, 12, 12 + 15, 108]
(at_u,) = steps[2].received
assert (at_u.node.name, at_u.value.item(), at_u.before.item(), at_u.total.item()) == ("u", 15, 12, 27)

# %% [markdown]
# ## What does the backward pass need from the forward run?
#
# The numbers 5, 12 and 2 stood in our lines because the program had run before. A backward pass cannot start earlier:
# it begins at the end, and it needs values from the whole way. So the run leaves behind a *node* for each op, which
# has three things: which op it was, the nodes of its operands (its *parents*), and the values that its rule names.

# %%
for node in (y.node, b.node, a.node, u.node):
    print(node, "parents:", node.parents, "saved:", node.saved)

# %% [markdown]
# Read the first line. The product has saved both of its factors, 5 and 12, for each other's sake. The sum has saved
# nothing: its rule needs no number. `a = 3 * u` has saved only the 3, which is what `u` will need; the 3 itself is a
# constant, so nobody asks for its derivative, and its place among the parents is empty. Node 1 is a *leaf*, the `x`
# that nothing computed; number 2 was taken by the context, when it opened. This is the price of reverse mode: memory
# that grows with the length of the run, because every value that some rule needs is kept until the way back.

# %% tags=["check"]
assert [each.item() for each in y.node.saved] == [b.item(), a.item()] == [5, 12]
assert [each.item() for each in u.node.saved] == [2]
assert y.node.parents == (a.node, b.node)
assert b.node.saved == ()
assert a.node.saved == (None, 3)
assert a.node.parents == (None, u.node)
assert x.node.op is None
assert (x.node.number, g.opened) == (1, 2)
assert [each.node.number for each in (u, a, b, y)] == [3, 4, 5, 6]

# %% [markdown]
# ## A backward pass in nine lines
#
# The node also knows its op, and the op has its rules ready to be called: `node.op.pulls`, one for each operand. Such
# a *pull* takes the cotangent of the result and what was saved, and returns what the operand receives. Nodes are
# numbered as they are made. So the numbers, taken from large to small, are the reverse order.


# %%
def backward(target, nodes):
    cotangents = {target: torch.tensor(1.0)}
    for node in sorted(nodes, key=lambda node: node.number, reverse=True):
        g = cotangents[node]
        for parent, pull in zip(node.parents, node.op.pulls, strict=True):
            if parent is not None:
                pulled = pull(g, node.saved)
                cotangents[parent] = cotangents[parent] + pulled if parent in cotangents else pulled
    return cotangents


found = backward(y.node, [u.node, a.node, b.node, y.node])
for node, cotangent in found.items():
    print(node, cotangent.item())

# %% [markdown]
# Given the nodes that are no leaves, this is a whole backward pass, on tensorad's own nodes, and it has no
# mathematics in it: the mathematics is in the rules. Its last line is the first answer of this tutorial. Where a
# value has many entries, a local derivative is a matrix, the Jacobian of the op. A pull does not write that matrix
# down: it computes the product of the cotangent with it.

# %% tags=["check"]
assert [found[each.node].item() for each in (y, a, b, u, x)] == [each.item() for each in expected]
assert found[x.node].item() == by_torch.grad.item()
import inspect

assert len(inspect.getsource(backward).strip().splitlines()) == 9

# %% [markdown]
# ## The loop itself
#
# Here is the one that runs when you call `g.gradient`.

# %%
import inspect

from tensorad.backward import stepwise

print(inspect.getsource(stepwise))

# %% [markdown]
# Five of its lines are those of our nine that do the work:
#
# 1. `for node in reversed(order)`: the nodes, from the last to the first. `order` was sorted by number before.
# 2. `g = ... cotangents.pop(node, None)`: the cotangent of this node. It is complete, and if nobody has asked for it,
#    it is dropped here.
# 3. `for parent, pull in zip(node.parents, ...)`: the operands, and the rule for each.
# 4. `pulled := pull(g, saved)`: the rule runs.
# 5. `cotangents[parent] = cotangents[parent] + pulled`: where another path has been before, the two are added.
#
# The rest takes care of what our nine lines leave out. `wanted` are the nodes that lie between a source and the
# target: what is not among them receives nothing. `wrap` lets a check stand around the rules. `version` notices that
# a saved value was changed in place since. `fit` sums where an operand was broadcast. `op.joint` is for ops that have
# one rule for all of their operands. `sums` adds in place where that is safe. `op.lift` makes a backward pass that
# can be differentiated again. And `yield` is where `g.steps` stops to look.

# %% tags=["check"]
from tensorad.backward import between

lines = [line.strip() for line in inspect.getsource(stepwise).splitlines()]
for quoted in [
    ["for node in reversed(order)"],
    ["g = ", "cotangents.pop(node, None)"],
    ["for parent, pull in zip(node.parents, "],
    ["pulled := pull(g, saved)"],
    ["cotangents[parent] = cotangents[parent] + pulled"],
    ["if parent in wanted"],
    ["wrap(node, pulls)"],
    ["version(node.saved) != node.version"],
    ["pulled = fit(pulled, parent, node)"],
    ["op.joint"],
    ["elif parent in sums:"],
    ["op.lift(node) if recorded"],
    ["yield node"],
]:
    assert any(all(part in line for part in quoted) for line in lines), quoted
order, wanted = between(g, y.node, {x.node})
assert order == [each.node for each in (u, a, b, y)]  # sorted by number
assert wanted == {each.node for each in (x, u, a, b, y)}

# %% [markdown]
# ## Why backwards?
#
# One could also go forwards: start with $\partial x / \partial x = 1$ and multiply on, op by op, to
# $\partial y / \partial x$. For one input that is about as much work. For $n$ inputs it has to be done $n$ times, and
# so have runs in which one input at a time is moved a little. Backwards, every input gets its number in one pass.
#
# Count it, on Speelpenning's own example: the product of $n$ numbers, $y = x_1 x_2 \cdots x_n$. Of a graph we count
# the nodes that are no leaves; of the steps, the rules that have run, one for each operand that receives something.


# %%
def product_of(values):
    product = values[0]
    for value in values[1:]:
        product = product * value
    return product


rows = []
print("inputs  ops forward  rules run backward  ops in n more runs, one for each input")
for n in (2, 10, 100):
    values = [ts.tensor(1 + i / n) for i in range(n)]
    with ts.Grad() as g_n:
        whole = product_of(values)
    ops = sum(node.op is not None for node in g_n.graph(whole).nodes)
    pulls = sum(len(step.received) for step in g_n.steps(whole, values))
    rows.append((n, ops, pulls, n * ops))
    print(f"{n:6}{ops:13}{pulls:20}{n * ops:11}")

# %% [markdown]
# The third column is twice the second, however many inputs there are: each multiplication runs two rules, each of
# which is one multiplication. The fourth column grows with the square of $n$. A model with a million parameters and
# one loss is the case $n = 10^6$: one pass back costs a few times the run itself, and a million runs are out of the
# question.
#
# A backward pass is for one output. A program with one input and a thousand outputs is the opposite case: one pass
# forwards gives all derivatives, and backwards it takes a thousand passes.

# %% tags=["check"]
inputs = [torch.tensor(1 + i / 100, dtype=torch.float64, requires_grad=True) for i in range(100)]
product_of(inputs).backward()
passed_back = g_n.gradient(whole, values)
torch.testing.assert_close(
    torch.stack([each.data for each in passed_back]),
    torch.stack([each.grad for each in inputs]).float(),
    rtol=1e-4,
    atol=0,
)
assert rows == [(n, n - 1, 2 * (n - 1), n * (n - 1)) for n in (2, 10, 100)]

# %% [markdown]
# ## The derivation, written out
#
# `g.explain` puts the backward pass into the form in which you would write it on paper: first the sum over paths as a
# whole, then an equation for each cotangent, in symbols and in the numbers of this run. Find the bracket of above,
# 27, in the equation for $\partial y / \partial u$. A click on a factor leads to where it comes from, an equation or
# a rule.

# %%
g.explain(y, x)

# %% tags=["check"]
whole_sum, *equations = str(g.explain(y, x)).split("\n\n")
assert "∂y/∂b · ∂b/∂u · ∂u/∂x + ∂y/∂a · ∂a/∂u · ∂u/∂x" in whole_sum
by_name = {text.partition(" = ")[0]: text for text in equations}
assert "= 12 + 5 · 3 = 27\n" in by_name["∂y/∂u"]
assert by_name.keys() >= {"∂y/∂y", "∂y/∂a", "∂y/∂b", "∂y/∂u", "∂y/∂x"}

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** Take $y = x \sin x$ at $x = 2$. Write it as two ops, `s = sin(x)` and `y = s * x`, and carry the cotangents
# backwards in plain floats. Which value receives two numbers?

# %% tags=["solution"]
import math

g_y = 1.0
g_s = g_y * 2.0  # y = s * x, the other factor is x
g_x = g_y * math.sin(2.0)  # the first use of x
g_x = g_x + g_s * math.cos(2.0)  # s = sin(x): the second use of x
print(g_x)

x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
(torch.sin(x) * x).backward()
assert math.isclose(g_x, x.grad.item(), rel_tol=1e-12)

# %% [markdown] tags=["solution"]
# `x` does: it is an operand of the sine and of the product.

# %% [markdown]
# **2.** In `y = (p + q) * (p * q)`, how many rules does a backward pass run for the sources `p` and `q`? How many for
# `p` alone? Count first, then ask `g.steps`.

# %% tags=["solution"]
p, q = ts.tensor(2.0), ts.tensor(5.0)
with ts.Grad() as g:
    y = (p + q) * (p * q)
for sources in ([p, q], [p]):
    print(sum(len(step.received) for step in g.steps(y, sources)))
assert sum(len(step.received) for step in g.steps(y, [p, q])) == 3 * 2  # three ops with two operands each
assert sum(len(step.received) for step in g.steps(y, [p])) == 3 * 2 - 2  # `+` and `*` do not run the rule for q

# %% [markdown]
# **3.** Write the gradient of Speelpenning's product in plain Python: a function of a list of $n$ floats that returns
# the product and its $n$ derivatives. It may use at most $3n$ multiplications, and no division, so that a zero among
# the numbers does no harm.


# %% tags=["solution"]
def product_and_gradient(values):
    befores = [1.0]  # befores[i] is the product of all before values[i]: what the forward run saves
    for value in values:
        befores.append(befores[-1] * value)  # n multiplications
    cotangent, gradient = 1.0, [0.0] * len(values)
    for i in reversed(range(len(values))):
        gradient[i] = cotangent * befores[i]  # n more
        cotangent = cotangent * values[i]  # and n more
    return befores[-1], gradient


print(product_and_gradient([2.0, 3.0, 0.0, 5.0]))
leaves = torch.tensor([2.0, 3.0, 0.0, 5.0], requires_grad=True)
leaves.prod().backward()
assert product_and_gradient([2.0, 3.0, 0.0, 5.0]) == (0.0, leaves.grad.tolist())

# %% [markdown]
# **4.** Call your own `backward` on `y = (v * w).sum()`, where `v` has three entries and `w` is one number. What is
# wrong with the cotangent of `w`? Find the line of `stepwise` that prevents it, and add it to the nine lines.

# %% tags=["solution"]
from tensorad.backward import fit

v, w = ts.tensor([1.0, 2.0, 3.0]), ts.tensor(10.0)
with ts.Grad() as g:
    h = v * w
    y = h.sum()
print(backward(y.node, [h.node, y.node])[w.node], "but", g.gradient(y, w))
assert backward(y.node, [h.node, y.node])[w.node].tolist() == [1, 2, 3]  # not of the shape of w


def backward_with_fit(target, nodes):
    cotangents = {target: torch.tensor(1.0)}
    for node in sorted(nodes, key=lambda node: node.number, reverse=True):
        g = cotangents[node]
        for parent, pull in zip(node.parents, node.op.pulls, strict=True):
            if parent is not None:
                pulled = fit(pull(g, node.saved), parent, node)
                cotangents[parent] = cotangents[parent] + pulled if parent in cotangents else pulled
    return cotangents


assert backward_with_fit(y.node, [h.node, y.node])[w.node].item() == g.gradient(y, w).item() == 1 + 2 + 3

# %% [markdown] tags=["solution"]
# `w` was broadcast: the one number was used three times, once for each entry of `v`. So three numbers arrive, and
# they have to be added like any others. `fit` does that.

# %% [markdown]
# ## Where to go on
#
# [How do gradients propagate?](gradients-flow.md) looks at what cotangents meet on their way. [How are graphs
# constructed?](graphs.md) is about the nodes, and [a minimal engine](minimal-engine.md) builds all of it from
# nothing. [The design](../design.md) follows one call of `g.gradient` through tensorad's files.
