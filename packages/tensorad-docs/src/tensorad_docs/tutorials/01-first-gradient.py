# %% [markdown]
# # Your first gradient
#
# Five minutes: how to differentiate Python code as it runs, loops and branches included, how to let a notebook cell
# differentiate itself to the third order, and how to take one step downhill.

# %%
import tensorad as ts

x = ts.tensor(6.0)
with ts.Grad() as g:
    y = x**3 + 2 * x
g.gradient(y, x)

# %% [markdown]
# ## What happened?
#
# The function is $y = x^3 + 2x$, so its derivative is $3x^2 + 2$, and at $x = 6$ that is $110$. Nothing of this was
# written down as a formula. `ts.tensor` makes a number that can be followed, a `Tensor`. `with ts.Grad() as g` opens
# a context, which records what is computed inside it. And `g.gradient(y, x)` goes back through what was recorded,
# from the target `y` to the source `x`. What it returns is the gradient of `y` by `x`: for one number, the
# derivative.

# %% tags=["check"]
import torch

by_torch = torch.tensor(6.0, requires_grad=True)
(by_torch**3 + 2 * by_torch).backward()
assert g.gradient(y, x).item() == by_torch.grad.item() == 3 * 6**2 + 2 == 110

# %% [markdown]
# ## What if there is a loop?
#
# A context records what runs. It never sees the `while` or the `if`, only the arithmetic that they lead to.


# %%
def f(x):
    y = x
    while y < 100:
        y = y * x
    if y > 200:
        y = -y
    return y


x = ts.tensor(3.0)
with ts.Grad() as g:
    y = f(x)
print(y, g.gradient(y, x))

# %% [markdown]
# Starting from 3, the loop goes through 9, 27 and 81 to 243, and the branch is taken. What ran is $y = -x^5$, so the
# derivative is $-5x^4 = -405$. A little away from 3 the same operations run, so this is the slope of `f` there. From
# an `x` farther away the loop may run for more or fewer rounds, and the same call gives the derivative of those.

# %% tags=["check"]
by_torch = torch.tensor(3.0, requires_grad=True)
f(by_torch).backward()
assert y.item() == -(3**5) == -243
assert g.gradient(y, x).item() == by_torch.grad.item() == -5 * 3**4 == -405
assert [node.op for node in g.graph(y).nodes] == [None, "mul", "mul", "mul", "mul", "neg"]
assert [node.value for node in g.graph(y).nodes[:4]] == ["3", "9", "27", "81"]
for start in (2.0, 2.99, 3.01, 5.0):  # the first and the last run for more and for fewer rounds
    by_torch, elsewhere = torch.tensor(start, requires_grad=True), ts.tensor(start)
    with ts.Grad() as g_elsewhere:
        value = f(elsewhere)
    f(by_torch).backward()
    by_hand = {2.0: 7 * 2**6, 5.0: 3 * 5**2}.get(start, -5 * start**4)
    for found in (g_elsewhere.gradient(value, elsewhere), by_torch.grad):
        torch.testing.assert_close(found.item(), by_hand, rtol=1e-6, atol=0, check_dtype=False)

# %% [markdown]
# ## What if there are two variables?
#
# Then ask by both. For a list of sources there is a list of gradients, for a dict a dict, and so for any nest of
# these. (A list of a single source is the exception: it gives the bare gradient.)

# %%
a, b = ts.tensor(3.0), ts.tensor(4.0)
with ts.Grad() as g:
    z = a * b + b**2
print(g.gradient(z, [a, b]))
print(g.gradient(z, {"by a": a, "by b": b}))

# %% [markdown]
# If only `a` moves, $z$ changes at the rate $b = 4$; if only `b` moves, at the rate $a + 2b = 11$. One pass back
# through the record found both.

# %% tags=["check"]
by_torch = torch.tensor(3.0, requires_grad=True), torch.tensor(4.0, requires_grad=True)
(by_torch[0] * by_torch[1] + by_torch[1] ** 2).backward()
assert [d.item() for d in g.gradient(z, [a, b])] == [t.grad.item() for t in by_torch] == [4, 3 + 2 * 4] == [4, 11]
assert {text: d.item() for text, d in g.gradient(z, {"by a": a, "by b": b}).items()} == {"by a": 4, "by b": 11}
assert g.gradient(z, [a, {"by b": b}])[1]["by b"].item() == 11
assert isinstance(g.gradient(z, [a]), ts.Tensor)

# %% [markdown]
# ## A cell that differentiates itself
#
# In a notebook you can leave the contexts and the calls to a magic. Its line says what is differentiated, with
# respect to what, and how many times.

# %%
# %load_ext tensorad
x = ts.tensor(6.0)

# %%
# %%grad y wrt x -n 3
y = x**3 + 2 * x

# %% [markdown]
# By hand: the first derivative is $3x^2 + 2 = 110$, the second $6x = 36$, the third $6$. The last line of the output
# names what is now in the notebook: `dx`, `d2x` and `d3x` are the derivatives, and `g1` to `g3` are the contexts, one
# inside the other. Each of them recorded how the derivative before it was computed, and differentiated that.

# %% tags=["check"]
by_torch = torch.tensor(6.0, requires_grad=True)
slope = by_torch**3 + 2 * by_torch
for found, by_hand in [(dx, 110), (d2x, 36), (d3x, 6)]:
    (slope,) = torch.autograd.grad(slope, by_torch, create_graph=True)
    assert found.item() == slope.item() == by_hand
assert g3.opened < g2.opened < g1.opened < g1.closed < g2.closed < g3.closed
for context, derivative, by_hand in [(g1, y, 110), (g2, dx, 36), (g3, d2x, 6)]:
    assert context.gradient(derivative, x).item() == by_hand

# %% [markdown]
# ## What is the gradient by a vector?
#
# A vector of the same shape: for each entry a number, which says how fast the target changes if that entry alone
# moves.

# %%
v = ts.tensor([1.0, 2.0, 3.0])

# %%
# %%grad y wrt v
y = (v**2).sum()

# %% [markdown]
# The gradient of $v_1^2 + v_2^2 + v_3^2$ is $[2v_1, 2v_2, 2v_3]$. As a direction it is the one in which `y` grows
# fastest. So a short step the other way has to lower `y`:

# %%
w = v - 0.1 * dv
print(y, "at", v)
print((w**2).sum(), "at", w)

# %% [markdown]
# From 14 down to 8.96. Repeat this step, with a model's error for `y` and its weights for `v`, and you are training
# the model by gradient descent.

# %% tags=["check"]
by_torch = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
(by_torch**2).sum().backward()
torch.testing.assert_close(dv.data, by_torch.grad, rtol=0, atol=0)
assert y.item() == 1 + 4 + 9 == 14
torch.testing.assert_close((w**2).sum().item(), 14 * 0.8**2, rtol=1e-6, atol=0)
torch.testing.assert_close(14 * 0.8**2, 8.96, rtol=1e-12, atol=0)

# %% [markdown]
# ## Where can you look inside?
#
# `g.steps` is the pass that goes back through the record, one node at a time. A node is one recorded operation. Press
# play, or go on with the right arrow key: watch the number that has arrived at a node, and what the node makes of it
# for the values that it was computed from.

# %%
x = ts.tensor(6.0)
with ts.Grad() as g:
    y = x**3 + 2 * x
g.steps(y, x)

# %% [markdown]
# The pass starts at `y` with 1, since `y` changes by 1 if `y` changes by 1. The sum hands it on to both of its terms.
# The product $2x$ makes $2$ of it, the cube $3 \cdot 6^2 = 108$, and both arrive at `x`, where they add up to 110.

# %% tags=["check"]
by_torch = [torch.tensor(6.0, requires_grad=True) for _ in range(2)]  # each term with an x of its own
(by_torch[0] ** 3 + 2 * by_torch[1]).backward()
assert [t.grad.item() for t in by_torch] == [3 * 6**2, 2] == [108, 2]
total, double, cube = g.steps(y, x)
assert [step.node.op for step in (total, double, cube)] == ["add", "mul", "pow"]
assert total.cotangent.item() == 1
assert {each.node.number: each.value.item() for each in total.received} == {double.node.number: 1, cube.node.number: 1}
for step, by_hand in [(double, 2), (cube, 108)]:
    assert [(each.node.name, each.value.item()) for each in step.received] == [("x", by_hand)]
assert cube.received[0].total.item() == g.gradient(y, x).item() == sum(t.grad.item() for t in by_torch) == 110

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** What is the derivative of $\sin(x)/x$ at $x = 1$? The sine of a Tensor is `ts.sin(x)`, or `torch.sin(x)`:
# torch's own functions take Tensors. Work it out by hand too.

# %% tags=["solution"]
import math

x = ts.tensor(1.0)
with ts.Grad() as g:
    y = ts.sin(x) / x
# By hand: (x cos x - sin x) / x**2.
assert math.isclose(g.gradient(y, x).item(), math.cos(1) - math.sin(1), rel_tol=1e-5)
g.gradient(y, x)

# %% [markdown]
# **2.** Call `f` from above at 2. How often does the loop run, and which derivative do you expect? Ask for it.

# %% tags=["solution"]
x = ts.tensor(2.0)
with ts.Grad() as g:
    y = f(x)
# Six rounds, from 2 to 128; the branch is not taken. What ran is x**7, and its derivative 7 * x**6.
assert y.item() == 2**7
assert g.gradient(y, x).item() == 7 * 2**6
print(y, g.gradient(y, x))

# %% [markdown]
# **3.** Take ten steps of descent in a loop, from `v = ts.tensor([1.0, 2.0, 3.0])` and with the factor 0.1. What is
# `y` then? With the factor 1.1 instead?

# %% tags=["solution"]
for factor in (0.1, 1.1):
    v = ts.tensor([1.0, 2.0, 3.0])
    for _ in range(10):
        with ts.Grad() as g:
            y = (v**2).sum()
        v = v - factor * g.gradient(y, v)
    y = (v**2).sum()
    # A step multiplies v by 1 - 2 * factor, and y by its square: 0.64 or 1.44. A step that is too long climbs.
    assert math.isclose(y.item(), 14 * (1 - 2 * factor) ** 20, rel_tol=1e-4)
    print(factor, y)

# %% [markdown]
# ## Where to go on
#
# - [Reverse mode](reverse-mode.md): why the pass goes backwards, and what each step of it is.
# - [Train a model](train-a-model.md): this step of descent, many times, with a model of `torch.nn`.
# - [In a notebook](../notebook.md): all that `%%grad` can do.
