# %% [markdown]
# # How are higher orders computed?
#
# You will know what nested contexts record, how a gradient becomes something that can be differentiated, and how to
# get sixth derivatives, Hessians and a minimum by Newton's method from it. Twenty minutes.

# %%
# %load_ext tensorad
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
# The function is $x^3$, its derivatives are $3x^2$ and $6x$, and at 6 these are 216, 108 and 36. There is no rule for
# second derivatives in the engine. `g1` was asked for a gradient while `g2` was open, and that is all.

# %% [markdown]
# ## What did each context record?
#
# The same function as two products, so that there is more to be seen:

# %%
with ts.Grad() as g2:
    with ts.Grad() as g1:
        h = x * x
        y = h * x
    dx = g1.gradient(y, x)
d2x = g2.gradient(dx, x)
print(g1.graph(y))

# %% [markdown]
# `g1` knows the two products and nothing else. To answer `g1.gradient`, the engine goes back through them and runs
# the rule of `mul` twice: an operand's cotangent is `g * other`. These are multiplications. With no context open they
# would run on plain torch tensors; here `g2` is open, so they run on Tensors, and are recorded like everything else:

# %%
g2.graph(dx)

# %% [markdown]
# The solid boxes are contexts, `g1` inside `g2`; the dotted one is what the call of `gradient` has recorded. A box
# shows its value if somebody kept that, and else the shape, `()` for a number. Read it from the seed, 1: going back
# through `y = h * x` gave $1 \cdot h = 36$ for `x`, and $1 \cdot x = 6$ for `h`; going back through `h = x * x` gave
# $6 \cdot 6 = 36$ for `x`, twice. The two `add` put them together, $36 + 36 + 36 = 108$, and `gradient` hands that
# out as it is. The product that made `y` is missing, although `g2` recorded it: `dx` does not depend on the value of
# `y`.
#
# A gradient is a value with a graph behind it, and a value with a graph can be differentiated. So the second order is
# the same backward pass once more, through this graph. Step through it, and watch how the gradient by `x` grows to
# 36.

# %%
g2.steps(dx, [x])

# %% tags=["check"]
import re

by_torch = torch.tensor(6.0, requires_grad=True)
square = by_torch * by_torch
(first,) = torch.autograd.grad(square * by_torch, by_torch, create_graph=True)
(second,) = torch.autograd.grad(first, by_torch)
assert (y.item(), dx.item(), d2x.item()) == (6**3, first.item(), second.item()) == (216, 36 + 36 + 36, 36)
assert [(node.name, node.op) for node in g1.graph(y).nodes] == [("x", None), ("h", "mul"), ("y", "mul")]
nodes = g2.graph(dx).nodes
assert not any(node.name == "y" for node in nodes)
assert y.node.contexts == {g1, g2}  # although g2 recorded it
assert [node.name for node in nodes if node.contexts == ("g2", "g1")] == ["h"]  # g1 inside g2
assert [node.op for node in nodes if node.contexts == ("g2",)] == ["mul", "mul", "mul", "add", "mul", "add", "gradient"]
assert [node.name for node in nodes if not node.op] == ["x", "seed"]
assert "g1.gradient(y, x):" in str(g2.graph(dx))
stops = [line.strip() for line in str(g1.steps(y, [x])).splitlines()]
assert [line.split(",")[0].rpartition(" = ")[2] for line in stops if line.startswith("x receives")] == ["36"] * 3
assert [line.rpartition(" = ")[2] for line in stops if line.startswith("h receives")] == ["6"]
stops = [line.strip() for line in str(g2.steps(dx, [x])).splitlines()]
totals = [re.split(" = |: ", line)[-1] for line in stops if line.startswith("x receives")]
assert totals == ["6", "12", "24", "30", "36"]
assert stops[-1] == "gradient by x: 36"

# %% [markdown]
# ## What is a constant to whom?
#
# A context differentiates what it has recorded itself. What was made before it opened is a constant to it, whatever
# the context around it knows. Here $u = x^2$ is computed one line too early, or on purpose:

# %%
with ts.Grad() as g2:
    u = x * x
    with ts.Grad() as g1:
        y = u * x
    dx = g1.gradient(y, x)
d2x = g2.gradient(dx, x)
print(dx, d2x)
for name, value in {"u": u, "y": y, "dx": dx}.items():
    owners = value.node.contexts
    print(f"{name:2} was recorded by g1: {g1 in owners}, by g2: {g2 in owners}")

# %% [markdown]
# To `g1`, $y = ux$ with a fixed $u$, so `dx` is $u = 36$. To `g2`, `dx` is $x^2$, and the derivative of that is
# $2x = 12$. Both are right: this program asks for $\frac{d}{dx} \frac{\partial (ux)}{\partial x}$ with $u = x^2$. An
# engine with one graph and no owners would follow `u` back to `x`, and say 108 and 36. Here each node notes the
# contexts that were open when it was made, and a context goes through those nodes only that have noted it. (`dx` was
# not recorded by `g1`, which was closed when it was asked.)

# %% tags=["check"]
by_torch = torch.tensor(6.0, requires_grad=True)
square = by_torch * by_torch
(total,) = torch.autograd.grad(square * by_torch, by_torch, create_graph=True)  # one graph: 3 x^2
(partial,) = torch.autograd.grad(square.detach() * by_torch, by_torch)
assert (dx.item(), d2x.item()) == (partial.item(), 2 * 6) == (36, 12)
assert (total.item(), torch.autograd.grad(total, by_torch)[0].item()) == (108, 36)
owned = {name: (g1 in one.node.contexts, g2 in one.node.contexts) for name, one in (("u", u), ("y", y), ("dx", dx))}
assert owned == {"u": (False, True), "y": (True, True), "dx": (False, True)}

# %% [markdown]
# The commonest mistake is another one: the inner gradient is taken outside the outer block.

# %%
with ts.Grad() as g2:
    with ts.Grad() as g1:
        y = x**3
dx = g1.gradient(y, x)
try:
    g2.gradient(dx, x)
except ts.NotRecordedError as error:
    print(error)

# %% [markdown]
# `dx` is right, 108. But when it was worked out no context was open, so the rules ran on plain torch tensors, and
# nothing leads back from it. A zero would be a wrong answer here, so there is none; the message ends with what to do.

# %% tags=["check"]
try:
    g2.gradient(dx, x)
except ts.NotRecordedError as error:
    message = str(error)
else:
    raise AssertionError("no error")
assert message.startswith("the target was computed after g2 (")
assert message.endswith("indent the line that computes it, so that it runs inside the block of g2")
assert dx.item() == total.item() == 108
assert dx.node is None  # nothing leads back from it

# %% [markdown]
# ## How far does it go?
#
# As far as you nest. `%%grad` opens as many contexts as `-n` says around a cell:

# %%
# %%grad z wrt t -n 6
t = ts.tensor(6.0)
z = t**7 / 5040

# %% [markdown]
# The 5,040 is $7!$, so the sixth derivative is $t$ itself. The small print of the output names what the cell has
# replaced, `g1` and `g2` of above, and what it has bound: the derivatives, and its contexts, `g1` to `g6`.

# %% tags=["check"]
import math

assert math.factorial(7) == 5040
left = 1 / 5040  # of t**7 / 5040, after so many derivatives: left * t**(7 - done)
for done, one in enumerate((z, dt, d2t, d3t, d4t, d5t, d6t)):
    assert math.isclose(one.item(), left * 6.0 ** (7 - done), rel_tol=1e-5)
    left *= 7 - done
assert math.isclose(d6t.item(), t.item(), rel_tol=1e-6)
assert [g.gradient(z, t).item() for g in (g1, g2, g3, g4, g5, g6)] == [dt.item()] * 6
assert str(Out[max(Out)]).splitlines()[-3:] == [  # the output of the cell before
    *[f"{name} was of type Grad, and is now a result of %grad" for name in ("g1", "g2")],
    "names: dt, d2t, d3t, d4t, d5t, d6t; contexts: g1, g2, g3, g4, g5, g6",
]

# %% [markdown]
# In a program, an `ExitStack` opens the contexts, and then they are asked, the innermost first:

# %%
from contextlib import ExitStack


def derivatives(f, x, order):
    with ExitStack() as stack:
        contexts = [stack.enter_context(ts.Grad()) for _ in range(order)]
        found = [f(x)]
        for g in reversed(contexts):
            found.append(g.gradient(found[-1], x))
    return found


# %% [markdown]
# The next function has derivatives that nobody knows by heart:


# %%
def f(x):
    return torch.exp(torch.sin(x))


zero = ts.tensor(0.0, dtype=ts.float64)
derivatives(f, zero, 6)

# %% [markdown]
# Functions nest as well as contexts do. `ts.grad(f)` is the derivative of `f` as a function, and each of its calls
# opens a context around `f`:

# %%
found, derivative = [], f
for _ in range(7):
    found.append(derivative(zero).item())
    derivative = ts.grad(derivative)
found

# %% [markdown]
# ## What do they say about the function?
#
# Divided by $k!$, they are the coefficients of its Taylor polynomial: near 0, $e^{\sin x}$ is about
# $1 + x + \frac{1}{2}x^2 - \frac{3}{24}x^4 - \frac{8}{120}x^5 - \frac{3}{720}x^6$.

# %%
import math

import matplotlib.pyplot as plt

points = torch.linspace(-2, 2, 81, dtype=torch.float64)
figure, axes = plt.subplots(figsize=(6, 2.5))
axes.plot(points, f(points), color="tab:gray", linewidth=5, alpha=0.5, label=r"$e^{\sin x}$")
for order in (1, 2, 6):
    terms = [found[k] / math.factorial(k) * points**k for k in range(order + 1)]
    axes.plot(points, sum(terms), label=f"order {order}")
axes.set(xlabel="$x$", ylabel="value", ylim=(0, 4))
axes.legend()
plt.show()

# %% [markdown]
# Look at where each curve leaves the thick grey one: the higher the order, the later. Yet all coefficients come from
# the one point 0.

# %% tags=["check"]
# The series of e^sin(x) from that of the cosine: f' = cos(x) f, so (n + 1) c[n + 1] = sum of a[k] c[n - k].
cosine, series = [1, 0, -1 / 2, 0, 1 / 24, 0], [1.0]
for n in range(6):
    series.append(sum(cosine[i] * series[n - i] for i in range(n + 1)) / (n + 1))
by_hand = torch.tensor([c * math.factorial(i) for i, c in enumerate(series)], dtype=torch.float64)
by_contexts = torch.tensor([one.item() for one in derivatives(f, zero, 6)], dtype=torch.float64)
torch.testing.assert_close(by_contexts, by_hand, rtol=1e-9, atol=1e-9)
torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), by_hand, rtol=1e-9, atol=1e-9)
assert by_hand.round().tolist() == [1, 1, 1, 0, -3, -8, -3]
assert math.isclose(derivatives(lambda x: x**7 / 5040, x, 6)[-1].item(), 6, rel_tol=1e-5)
near = torch.tensor([-0.5, 0.5], dtype=torch.float64)
errors = [
    (sum(found[i] / math.factorial(i) * near**i for i in range(degree + 1)) - torch.exp(torch.sin(near))).abs().max()
    for degree in (1, 2, 6)
]
assert errors[0] > errors[1] > errors[2]
assert errors[2] < 1e-3

# %% [markdown]
# ## What does another order cost?
#
# Each order is the gradient of a graph that is itself a gradient. How large do these graphs become? The nodes behind
# a value can be counted by going from parents to parents:


# %%
def size(value):
    found = [value.node]
    for node in found:  # which grows
        found += {*node.parents} - {None, *found}
    return len(found)


print("exp(sin(x))", [size(each) for each in derivatives(f, zero, 6)])
print("exp(x)     ", [size(each) for each in derivatives(torch.exp, zero, 6)])

# %% [markdown]
# For $e^{\sin x}$ each order takes about two and a half times as many nodes as the one below, as the product rule and
# the chain rule make two terms of one: 619 nodes for the sixth derivative of two ops. For $e^x$ alone it is two more
# nodes an order. In general, nesting grows exponentially with the order. For order 2 or 3 that does not matter. For
# order 20 one computes with truncated Taylor series instead, whose cost grows with the square of the order; that is
# another mode of differentiation, which `tensorad` does not have.

# %% tags=["check"]
from itertools import pairwise

grown, slowly = [[size(one) for one in derivatives(function, zero, 6)] for function in (f, torch.exp)]
assert grown[-1] == 619
assert all(2.2 < after / before < 2.8 for before, after in pairwise(grown))
assert {after - before for before, after in pairwise(slowly[1:])} == {2}

# %% [markdown]
# ## And with several variables?
#
# Then the second derivatives are a matrix, the **Hessian**: how each entry of the gradient changes with each
# variable. For $y = a^2 b$ the gradient is $(2ab, a^2)$, at $(3, 5)$ that is $(30, 9)$, and the Hessian has the rows
# $(2b, 2a)$ and $(2a, 0)$.

# %%
v = ts.tensor([3.0, 5.0])
with ts.Grad() as g2:
    with ts.Grad() as g1:
        y = v[0] ** 2 * v[1]
    dv = g1.gradient(y, v)
print(dv)
print(g2.jacobian(dv, v))
print(g2.gradient(dv, v))

# %% [markdown]
# `g2.jacobian` keeps the entries of `dv` apart and goes back from each: here are the rows, $(10, 6)$ and $(6, 0)$.
# The last line is a trap. A target that is not a number is summed, so `g2.gradient(dv, v)` is $(16, 6)$, the sum of
# the rows. The trap does not show where each entry of `dv` depends on its own variable only: then the Hessian is
# diagonal, and the sum of its rows is all there is.
#
# As a function of functions, it is `ts.hessian`; of a cell, `%%grad y wrt v --hessian`.

# %%
ts.hessian(lambda v: v[0] ** 2 * v[1])(v)

# %% tags=["check"]
by_torch = torch.autograd.functional.hessian(lambda v: v[0] ** 2 * v[1], v.data)
assert dv.tolist() == [30, 9]
assert g2.jacobian(dv, v).tolist() == by_torch.tolist() == [[10, 6], [6, 0]]
assert g2.gradient(dv, v).tolist() == by_torch.sum(0).tolist() == [16, 6]
assert ts.hessian(lambda v: v[0] ** 2 * v[1])(v).tolist() == by_torch.tolist()
with ts.Grad() as around:
    with ts.Grad() as within:
        cubes = (v**3).sum()
    slopes = within.gradient(cubes, v)
assert around.gradient(slopes, v).tolist() == (6 * v.data).tolist()
assert around.jacobian(slopes, v).tolist() == (6 * v.data).diag().tolist()
get_ipython().run_cell_magic("grad", "y wrt v --hessian", "y = v[0] ** 2 * v[1]")
assert Hv.tolist() == by_torch.tolist()

# %% [markdown]
# ## What if the Hessian is too large?
#
# With 100,000 variables it has $10^{10}$ entries, 80 GB in float64. But mostly one needs only its product with some
# vector $u$. The cotangent is what the rows are weighed with before they are summed. Ones gave the sum; $u$ gives
# $u^T H$, and as $H$ is symmetric that is $Hu$:

# %%
n = 100_000
points = ts.tensor(torch.linspace(-1, 1, n, dtype=torch.float64))
u = torch.linspace(0, 1, n, dtype=torch.float64)
with ts.Grad() as g2:
    with ts.Grad() as g1:
        y = ((points[1:] - points[:-1] ** 2) ** 2).sum()
    gradient = g1.gradient(y, points)
g2.gradient(gradient, points, cotangent=u)

# %% [markdown]
# It took one backward pass for the gradient and one more through that, with not one matrix. Pearlmutter described
# such products in 1994. As a function of functions it is `ts.hvp`.

# %% tags=["check"]
p = points.data
r = p[1:] - p[:-1] ** 2
product = torch.zeros_like(p)  # by hand: the second derivatives of each term, times the two entries of u
product[:-1] += (8 * p[:-1] ** 2 - 4 * r) * u[:-1] - 4 * p[:-1] * u[1:]
product[1:] += 2 * u[1:] - 4 * p[:-1] * u[:-1]
torch.testing.assert_close(g2.gradient(gradient, points, cotangent=u).data, product, rtol=1e-9, atol=1e-9)
torch.testing.assert_close(
    ts.hvp(lambda p: ((p[1:] - p[:-1] ** 2) ** 2).sum(), (points,), (u,)).data, product, rtol=1e-9, atol=1e-9
)
assert n * n == 10**10
assert n * n * p.itemsize == 80e9

# %% [markdown]
# ## What does a Hessian buy?
#
# Steps that know how far to go. At a minimum the gradient $\nabla f$ is zero. Newton's method takes the gradient to
# be linear near the current point, which is what the Hessian says of it, and goes to where that linear function is
# zero: $p - H^{-1} \nabla f$. On Rosenbrock's function $(1 - a)^2 + 100 (b - a^2)^2$, a curved valley with its lowest
# point at $(1, 1)$:


# %%
def valley(p):
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


p = ts.tensor([-1.2, 1.0], dtype=ts.float64)
for step in range(7):
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = valley(p)
        dp = g1.gradient(y, p)
    hessian = g2.jacobian(dp, p)
    distance = (p - 1).norm().item()
    a, b = p.tolist()
    print(f"{step}: f = {y.item():7.1e} at ({a:7.4f}, {b:7.4f}), distance {distance:.1e}")
    p = p - torch.linalg.solve(hessian, dp)

# %% [markdown]
# Look at the distance to $(1, 1)$ in the last lines: each step has squared it, or better, so the number of right
# digits doubles. Before that, `f` goes up twice, once to 1,400: far from the minimum the gradient is not linear, and
# nothing keeps the method from stepping too far. Nor from going to a maximum, as it looks for any point where the
# gradient is zero; methods for use in earnest guard against both. And gradient descent, which knows the slope alone?

# %%
q = ts.tensor([-1.2, 1.0], dtype=ts.float64)
for step in range(1001):
    with ts.Grad() as g:
        y = valley(q)
    if step in (10, 100, 1000):
        a, b = q.tolist()
        print(f"{step:4}: f = {y.item():7.1e} at ({a:7.4f}, {b:7.4f})")
    q = q - 0.001 * g.gradient(y, q)
torch.linalg.eigvalsh(hessian)

# %% [markdown]
# After 1,000 steps it is still on its way. The eigenvalues of the Hessian say why: the slope changes with 1,002
# across the valley, and with 0.4 along it. Near the minimum, a step of rate $r$ multiplies what is left to go in the
# direction of an eigenvalue $\lambda$ by $1 - r\lambda$. So $r$ must stay below $2 / 1002$, or the steps across grow;
# and with $r = 0.001$, what is left along the valley is multiplied by 0.9996 each time. Newton's step divides by the
# eigenvalues, so all directions are alike to it.


# %% tags=["check"]
def by_hand(a, b):
    downhill = [2 * (a - 1) - 400 * a * (b - a * a), 200 * (b - a * a)]
    return torch.tensor(downhill), torch.tensor([[2 - 400 * b + 1200 * a * a, -400 * a], [-400 * a, 200]])


torch.set_default_dtype(torch.float64)
here, values, distances = torch.tensor([-1.2, 1.0]), [], []
for _ in range(7):
    values.append(((1 - here[0]) ** 2 + 100 * (here[1] - here[0] ** 2) ** 2).item())
    distances.append((here - 1).norm().item())
    downhill, curvature = by_hand(*here.tolist())
    here = here - torch.linalg.solve(curvature, downhill)
torch.testing.assert_close(p.data, here, rtol=1e-9, atol=1e-9)
torch.testing.assert_close(hessian.data, curvature, rtol=1e-6, atol=1e-6)
assert [after > earlier for earlier, after in pairwise(values)] == [False, True, False, True, False, False]
assert round(values[2], -2) == 1400
assert abs(distance - distances[6]) < 1e-12
assert distances[5] < distances[4] ** 2
assert distances[6] < distances[5] ** 2
assert [round(one, 1) for one in torch.linalg.eigvalsh(curvature).tolist()] == [0.4, 1001.6]
here = torch.tensor([-1.2, 1.0])
for _ in range(1001):
    here = here - 0.001 * by_hand(*here.tolist())[0]
torch.testing.assert_close(q.data, here, rtol=1e-9, atol=1e-9)
assert (here - 1).norm() > 0.5
assert 1 - 0.001 * 0.4 == 0.9996
assert all(abs(1 - rate * 1001.6) < 1 for rate in (0.001, 2 / 1002))
assert abs(1 - 2.01 / 1002 * 1001.6) > 1
torch.set_default_dtype(torch.float32)

# %% [markdown]
# ## Which derivative is it?
#
# One thing can go wrong with nested derivatives, and contexts are there to prevent it. Take
# $\frac{d}{dx} \left( x \cdot \frac{d}{dy}(x + y) \right)$ at $x = y = 1$. The inner derivative is 1, so what is left
# is the derivative of $x$, and that is 1. Now with pairs of a value and a slope, which are carried through the
# computation:


# %%
class Pair:
    def __init__(self, value, slope=0.0):
        self.value, self.slope = value, slope

    def __add__(self, other):
        return Pair(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other):
        return Pair(self.value * other.value, self.slope * other.value + self.value * other.slope)


# %%
def slope_of(f, x):
    return f(Pair(x, slope=1.0)).slope


def inner(x):
    return Pair(slope_of(lambda y: x + y, 1.0))


slope_of(lambda x: x * inner(x), 1.0)

# %% [markdown]
# 2 is wrong. When the inner derivative is worked out, `y` has the slope 1, and `x` has it too, from the outer one.
# The sum cannot tell the two apart. Siskind and Pearlmutter (2005) called that **perturbation confusion**. With
# contexts:

# %%
x, y = ts.tensor(1.0), ts.tensor(1.0)
with ts.Grad() as g2:
    with ts.Grad() as g1:
        z = x + y
    dy = g1.gradient(z, y)
    product = x * dy
print(dy, g2.gradient(product, x))


# %%
def inner_forward(x):
    return ts.jvp(lambda y: x + y, (1.0,), (1.0,))[1]


ts.jvp(lambda x: x * inner_forward(x), (1.0,), (1.0,))[1]

# %% [markdown]
# 1, both times. Reverse mode is asked by the one source `y`, and `x` is another. Forward mode, as in `ts.jvp`,
# carries slopes as `Pair` does, but each derivative has a context of its own, to which all that was made before it
# opened is a constant. So to the inner one, `x` has no slope.

# %% tags=["check"]
confused = slope_of(lambda x: x * inner(x), 1.0)
tiny = 1e-4
by_differences = [one * ((one + 1 + tiny) - (one + 1 - tiny)) / (2 * tiny) for one in (1 - tiny, 1 + tiny)]
assert confused == 2
assert math.isclose((by_differences[1] - by_differences[0]) / (2 * tiny), 1, rel_tol=1e-6)
assert dy.item() == g2.gradient(product, x).item() == 1
assert ts.jvp(lambda x: x * inner_forward(x), (1.0,), (1.0,))[1].item() == 1

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** The curvature of a graph $y(x)$ is $|y''| / (1 + y'^2)^{3/2}$, and its inverse is the radius of the circle
# that fits best. What is that radius for $y = x^2$ at 0, and at 1?


# %% tags=["solution"]
def radius(f, x):
    _, first, second = [one.item() for one in derivatives(f, ts.tensor(x, dtype=ts.float64), 2)]
    return (1 + first**2) ** 1.5 / abs(second)


print(radius(lambda x: x**2, 0.0), round(radius(lambda x: x**2, 1.0), 4))
assert radius(lambda x: x**2, 0.0) == 0.5
assert abs(radius(lambda x: x**2, 1.0) - 5**1.5 / 2) < 1e-12

# %% [markdown]
# **2.** Of $f(a, b) = a^b$, take the derivative by $a$ and then by $b$, and the other way round, at $(2, 3)$. Compare
# both with $a^{b-1} (1 + b \log a)$.

# %% tags=["solution"]
import math

base, power = ts.tensor(2.0, dtype=ts.float64), ts.tensor(3.0, dtype=ts.float64)
with ts.Grad() as around:
    with ts.Grad() as within:
        raised = base**power
    da, db = within.gradient(raised, (base, power))
print(around.gradient(da, power), around.gradient(db, base))
for mixed in (around.gradient(da, power), around.gradient(db, base)):
    assert math.isclose(mixed.item(), 2**2 * (1 + 3 * math.log(2)))

# %% [markdown]
# **3.** One step of descent on $f(w) = w^2$ from $w = 3$, with the rate $r = 0.1$, leads to a new loss. What is the
# derivative of the new loss by the rate? Should the rate be larger?

# %% tags=["solution"]
w, rate = ts.tensor(3.0), ts.tensor(0.1)
with ts.Grad() as around:
    with ts.Grad() as within:
        loss = w**2
    new = (w - rate * within.gradient(loss, w)) ** 2
print(new, around.gradient(new, rate))
# The new loss is (w - 2 w r)^2: its derivative by r is -4 w (w - 2 w r). It is negative, so a larger rate is better.
assert math.isclose(around.gradient(new, rate).item(), -4 * 3 * (3 - 6 * 0.1), rel_tol=1e-6)

# %% [markdown]
# **4.** Newton's step solves $H s = \nabla f$. The method of conjugate gradients (Hestenes and Stiefel 1952) solves
# it with products $Hu$ alone. It starts with $s = 0$ and $r = u = \nabla f$, and repeats, until $r$ is small:
#
# $$\alpha = \frac{r \cdot r}{u \cdot Hu}, \qquad s \leftarrow s + \alpha u, \qquad r' = r - \alpha Hu, \qquad
# u \leftarrow r' + \frac{r' \cdot r'}{r \cdot r}\, u, \qquad r \leftarrow r'$$
#
# Write a Newton step that never makes the Hessian, for $f(p) = \sum_i p_i^4 + \sum_i (p_{i+1} - p_i)^2$ in 50
# variables.


# %% tags=["solution"]
def rough(p):
    return (p**4).sum() + ((p[1:] - p[:-1]) ** 2).sum()


def newton_step(f, p):
    slope = ts.grad(f)(p).data
    s, rest = torch.zeros_like(slope), slope
    direction = rest
    for _ in range(len(slope)):
        curved = ts.hvp(f, (p,), (direction,)).data
        length = rest @ rest / (direction @ curved)
        s, new = s + length * direction, rest - length * curved
        if new.norm() < 1e-12:
            break
        rest, direction = new, new + (new @ new / (rest @ rest)) * direction
    return s


torch.manual_seed(0)
start = ts.tensor(torch.randn(50, dtype=torch.float64))
s = newton_step(rough, start)
matrix = torch.autograd.functional.hessian(rough, start.data)
by_torch = torch.linalg.solve(matrix, torch.autograd.functional.jacobian(rough, start.data))
print("largest difference is below 1e-9:", bool((s - by_torch).abs().max() < 1e-9))
torch.testing.assert_close(s, by_torch, rtol=0, atol=1e-9)

# %% [markdown]
# ## Where to go on
#
# [What does a minimal engine look like?](minimal-engine.md) builds contexts that nest.
# [Forward mode from the same rules](forward-mode.md) has Hessian-vector products with forward mode on the outside.
# [Derivatives of functions](../functions.md) lists `grad`, `hessian`, `hvp` and their like.
