# %% [markdown]
# # Forward mode from the same rules
#
# Derivatives can travel forward as well, beside the values. At the end you will know how, why one table of rules is
# enough for both directions, and which direction a Jacobian or a Hessian asks for. Fifteen minutes.

# %%
# %load_ext tensorad
import torch

import tensorad as ts


def f(x):
    return x * x * x + x


x = ts.tensor(2.0)
with ts.Grad() as g:
    y = f(x)
print("backward:", g.gradient(y, x))
print("forward: ", ts.jvp(f, (x,), (1.0,)))

# %% [markdown]
# The function is $x^3 + x$, so at 2 its value is 10 and its derivative $3x^2 + 1$ is 13. The first 13 was found going
# backwards, from $y$ to $x$. The pair after it, 10 and 13, is the work of `ts.jvp`: value and derivative together,
# going forward. The questions are how that is done, and when it is the better way.

# %% tags=["check"]
by_torch = torch.tensor(2.0, requires_grad=True)
(slope,) = torch.autograd.grad(f(by_torch), by_torch)
assert g.gradient(y, x).item() == slope.item() == 3 * 2**2 + 1
assert [each.item() for each in ts.jvp(f, (x,), (1.0,))] == [f(2.0), 13] == [10, 13]

# %% [markdown]
# ## A tangent beside every value
#
# Suppose that $x$ moves by a small $\varepsilon$. Then every value that is computed from it moves too, to first order
# by some multiple of $\varepsilon$: that multiple is its **tangent**. A value $a$ with tangent $\dot a$ is written
# $a + \dot a\,\varepsilon$, and called a *dual number*. What happens to it in an op is school algebra, with one
# agreement, that $\varepsilon^2$ is dropped:
#
# $$(a + \dot a\,\varepsilon)(b + \dot b\,\varepsilon) = ab + (\dot a\,b + a\,\dot b)\,\varepsilon.$$
#
# The product rule comes out. Two ops make a small engine:

# %%
from dataclasses import dataclass


@dataclass
class Dual:
    value: float
    tangent: float

    def __add__(self, other):
        return Dual(self.value + other.value, self.tangent + other.tangent)

    def __mul__(self, other):
        return Dual(self.value * other.value, self.tangent * other.value + self.value * other.tangent)


f(Dual(2.0, 1.0))

# %% [markdown]
# It is the same `f`, called with another kind of number. The tangent of `x` is 1, as $x$ is what moves, and the
# tangent of the result is the derivative. Nothing was recorded: each op works out value and tangent at once, and
# there is no graph and no second pass. Wengert described this in 1964, six years before Linnainmaa described reverse
# mode.
#
# Other functions need a line each, with their derivative in it. Loops need nothing, as for `f`:

# %%
import math


def sin(a):
    return Dual(math.sin(a.value), math.cos(a.value) * a.tangent)


a = Dual(0.0, 1.0)
for _ in range(3):
    a = sin(a) + a
a

# %% [markdown]
# At 0 each round doubles the tangent, since the slope of $\sin a + a$ at 0 is 2. After three rounds it is 8.

# %% tags=["check"]
start = torch.tensor(0.0, requires_grad=True)
end = start
for _ in range(3):
    end = torch.sin(end) + end
assert a.tangent == torch.autograd.grad(end, start)[0].item() == 8
assert f(Dual(2.0, 1.0)) == Dual(10.0, 13.0)

# %% [markdown]
# ## What does jvp multiply?
#
# With two inputs, the tangents of both have to be given: they are the direction in which the inputs move. Take $x^2
# y$ at $(3, 5)$, the volume of a box on a square. Its partial derivatives are $2xy = 30$ and $x^2 = 9$.


# %%
def volume(x, y):
    return x * x * y


for direction in (1.0, 0.0), (0.0, 1.0), (1.0, 2.0):
    print(direction, ts.jvp(volume, (3.0, 5.0), direction)[1])

# %% [markdown]
# The last is $1 \cdot 30 + 2 \cdot 9 = 48$: a tangent is linear in the direction. For several outputs there is a
# matrix of partial derivatives, the **Jacobian** $J$, a row for each output and a column for each input. What comes
# forward is $J v$ for the direction $v$, and `jvp` is short for *Jacobian-vector product*. What reverse mode brings
# back is $w^\mathsf{T} J$, for a cotangent $w$ of the outputs, by `ts.vjp`. Here are three inputs and two outputs:


# %%
def h(x):
    return torch.stack([x[0] * x[1], x[1] ** 2 + x[2]])


x = ts.tensor([3.0, 5.0, 1.0])
v = ts.tensor([1.0, 2.0, 3.0])
w = ts.tensor([1.0, -1.0])
_, Jv = ts.jvp(h, (x,), (v,))
_, back = ts.vjp(h, x)
(wJ,) = back(w)
print(Jv, wJ)

# %% [markdown]
# The Jacobian at this point has the rows $(5, 3, 0)$ and $(0, 10, 1)$. So $Jv$ is $(11, 23)$, and $w^\mathsf{T} J$,
# the first row minus the second, is $(5, -7, -1)$. Both products end at the same number, whichever of them is worked
# out first:
#
# $$w \cdot (J v) = (J^\mathsf{T} w) \cdot v.$$

# %%
print(w @ Jv, wJ @ v)

# %% [markdown]
# This is how two implementations of one derivative are tested against each other, one forward, one backward, without
# ever writing down $J$: draw $v$ and $w$ at random, and compare two numbers.

# %% tags=["check"]
J = torch.tensor([[5.0, 3.0, 0.0], [0.0, 10.0, 1.0]])
torch.testing.assert_close(torch.func.jacrev(h)(x.data), J, rtol=0, atol=0)
torch.testing.assert_close(Jv.data, J @ v.data, rtol=0, atol=0)
torch.testing.assert_close(wJ.data, J.T @ w.data, rtol=0, atol=0)
assert Jv.tolist() == [11, 23]
assert wJ.tolist() == [5, -7, -1]
assert (w @ Jv).item() == (wJ @ v).item() == -12
assert [ts.jvp(volume, (3.0, 5.0), d)[1].item() for d in ((1.0, 0.0), (0.0, 1.0), (1.0, 2.0))] == [30, 9, 48]

# %% [markdown]
# ## Where do the forward rules come from?
#
# The engine of two ops had forward rules. tensorad has rules for going backwards, and no second table. For `sin` one
# rule does for both: the cotangent is multiplied by $\cos x$, and so is the tangent. For the inverse of a matrix it
# is not so plain:

# %%
print(ts.rule(torch.linalg.inv))

# %% [markdown]
# This takes the cotangent $g$ of $A^{-1}$ to the cotangent $-A^{-\mathsf{T}} g A^{-\mathsf{T}}$ of $A$. The tangent
# goes the other way, from $A$ to $A^{-1}$, and another formula is right for it: $-A^{-1}\, t\, A^{-1}$. How can the
# second be had from the first?
#
# The rule is linear in $g$: it multiplies by $J^\mathsf{T}$. Forward mode has to multiply by $J$, which is the
# transpose of that. And transposing a linear map that is there as a program is what reverse mode does: it takes the
# derivative of the program, here a matrix, and multiplies by it from the other side. So differentiate the rule by its
# own $g$, and give the tangent as the cotangent. Where $g$ is does not matter, as a linear map has the same
# derivative everywhere.

# %%
A = ts.tensor([[1.0, 1.0], [0.0, 1.0]])
t = ts.tensor([[1.0, 0.0], [0.0, 0.0]])
out = torch.linalg.inv(A)
with ts.Grad() as transposing:
    g = ts.zeros(2, 2)
    pulled = -(out.mT @ g @ out.mT)
by_jvp = ts.jvp(torch.linalg.inv, (A,), (t,))[1]
print(transposing.gradient(pulled, g, cotangent=t))
print(by_jvp)

# %% [markdown]
# Both are $-A^{-1}\, t\, A^{-1}$. Go through the three steps of this pass, by the arrow keys or the buttons. Look at
# what `t` is multiplied by: the matrices that stood on both sides of `g` come back in the other order, each
# transposed once more, and what arrives at `g` is the forward formula.

# %%
transposing.steps(pulled, g, cotangent=t)

# %% tags=["check"]
inverse = torch.linalg.inv(A.data)
tangent = -(inverse @ t.data @ inverse)
by_torch = torch.tensordot(torch.func.jacrev(torch.linalg.inv)(A.data), t.data, 2)
for each in transposing.gradient(pulled, g, cotangent=t), by_jvp:
    torch.testing.assert_close(each.data, tangent, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(each.data, by_torch, rtol=1e-6, atol=1e-6)
assert not torch.allclose(-(inverse.mT @ t.data @ inverse.mT), tangent)  # the rule itself will not do

# %% [markdown]
# `ts.jvp` goes through a function op by op, and beside each op it does this. There are short cuts, which give the
# same: where a rule works entry by entry, as that of `sin`, it is its own transpose; an op that is itself linear,
# such as a sum, makes the tangent of its output from those of its operands; and a few rows of the table, that of
# `matmul` for one, have a forward line for speed. As there is one rule, both modes also follow one convention at a
# corner; where libraries with two tables have two answers, [Gradients at hard points](../conventions.md) says so.
#
# ## Two passes back are one forward
#
# The same works for a function as a whole. Reverse mode gives $J^\mathsf{T} w$, which is linear in $w$.
# Differentiating *that* by $w$, with $v$ as the cotangent, gives $J v$:

# %%
w = ts.zeros(2)
with ts.Grad() as g2:
    with ts.Grad() as g1:
        y = h(x)
    wJ = g1.gradient(y, x, cotangent=w)
g2.gradient(wJ, w, cotangent=v)

# %% [markdown]
# This is $(11, 23)$ again, by reverse mode alone (Townsend, 2017). The graph between `w` and `wJ` shows why it may be
# done: on the way `w` is taken apart, multiplied by numbers that do not depend on it, put in place and added up. No
# `mul` has two inputs that come from `w`. Click on a node to see its line.

# %%
g2.graph(wJ, w)

# %% tags=["check"]
again = g2.gradient(wJ, w, cotangent=v)
torch.testing.assert_close(again.data, torch.func.jacrev(h)(x.data) @ v.data, rtol=0, atol=0)
assert again.tolist() == [11, 23]

# %% [markdown]
# What `ts.jvp` does better than this: it keeps no graph. Count how many of the values of a loop are still in memory
# when it ends. Reverse mode needs each of them for its way back; forward mode is done with each as soon as the next
# is there.

# %%
import weakref


def deep(x):
    values = []
    for _ in range(100):
        x = torch.sin(x)
        values.append(weakref.ref(x.data))
    alive.append(sum(value() is not None for value in values))
    return x


alive = []
with ts.Grad():
    deep(ts.tensor(1.0))
ts.jvp(deep, (1.0,), (1.0,))
alive

# %% tags=["check"]
assert alive == [100, 1]

# %% [markdown]
# ## Rows and columns
#
# A Jacobian can be put together both ways. $J$ times a unit vector is a column; a unit vector times $J$ is a row. `h`
# has 3 inputs and 2 outputs, so it takes 3 passes forward or 2 back:

# %%
columns = [ts.jvp(h, (x,), (unit,))[1] for unit in ts.eye(3)]
_, back = ts.vjp(h, x)
rows = [back(unit)[0] for unit in ts.eye(2)]
print(torch.stack(columns, dim=1))
print(torch.stack(rows))

# %% [markdown]
# The two are the same matrix. `ts.jacobian(h)` makes it in one batch; left alone, it takes the mode with fewer
# passes, and `mode="forward"` or `mode="reverse"` decides that for it.
#
# Now let the function be a loss, one number, and let it have 1,000 inputs. How often does it run?


# %%
def loss(w):
    global runs
    runs += 1
    return (w * w).sum()


w = ts.tensor(torch.linspace(0.0, 1.0, 1000))
runs = 0
forward = torch.stack([ts.jvp(loss, (w,), (unit,))[1] for unit in torch.eye(1000)])
forward_runs, runs = runs, 0
reverse = ts.grad(loss)(w)
print(f"forward: {forward_runs} runs of the loss; reverse: {runs} run, and one pass back")

# %% [markdown]
# A pass back costs a small multiple of what the function itself costs, however many inputs there are. That is why
# models of many parameters are trained in reverse mode. It is the other way round for a curve: one input, the time,
# and many outputs, all of which get their derivative from one pass forward.

# %% tags=["check"]
J = torch.func.jacrev(h)(x.data)
for each in torch.stack(columns, dim=1), torch.stack(rows), ts.jacobian(h)(x), ts.jacobian(h, mode="forward")(x):
    torch.testing.assert_close(each.data, J, rtol=0, atol=0)
assert J.shape == (2, 3)
assert (forward_runs, runs) == (1000, 1)
for each in forward, reverse:
    torch.testing.assert_close(each.data, 2 * w.data, rtol=1e-6, atol=1e-6)

# %% [markdown]
# ## Many directions at one point
#
# Each call of `ts.jvp` runs the function again. `ts.linearize` runs it once and can then be asked for any number of
# directions, each without another run. In exchange it keeps what the function did, as reverse mode does:

# %%
runs = 0
value, along = ts.linearize(loss, w)
slopes = [along(unit) for unit in torch.eye(1000)[:5]]
print(runs, "run,", len(slopes), "directions")

# %% tags=["check"]
assert runs == 1
torch.testing.assert_close(torch.stack(slopes).data, 2 * w.data[:5], rtol=1e-6, atol=1e-6)

# %% [markdown]
# ## Forward over reverse
#
# The modes can be put on top of each other. The gradient of a scalar function is a function too, and its derivative
# along $v$ is the Hessian times $v$. Here is `volume` again, with its two inputs in one vector: the Hessian of $x^2
# y$ at $(3, 5)$ has the rows $(2y, 2x) = (10, 6)$ and $(2x, 0) = (6, 0)$.

# %%
p = ts.tensor([3.0, 5.0])
v = ts.tensor([1.0, 0.0])
gradient, Hv = ts.jvp(ts.grad(lambda p: volume(p[0], p[1])), (p,), (v,))
print(gradient, Hv)

# %% [markdown]
# One pass has brought the gradient, $(30, 9)$, and the Hessian times $v$, which is its first column, $(10, 6)$. The
# Hessian itself was never there. For a model with a million parameters it would have $10^{12}$ entries, and this
# product still costs a few gradients (Pearlmutter, 1994). `ts.hvp(f, (p,), (v,))` is the same product: it goes back
# twice instead, which is right because a Hessian is its own transpose.

# %% tags=["check"]
hessian = torch.func.jacrev(torch.func.jacrev(lambda p: volume(p[0], p[1])))(p.data)
assert hessian.tolist() == [[10, 6], [6, 0]]
torch.testing.assert_close(Hv.data, hessian @ v.data, rtol=0, atol=0)
assert gradient.tolist() == torch.func.grad(lambda p: volume(p[0], p[1]))(p.data).tolist() == [30, 9]
assert ts.hvp(lambda p: volume(p[0], p[1]), (p,), (v,)).tolist() == [10, 6]

# %% [markdown]
# ## When which?
#
# For a function with $n$ inputs and $m$ outputs:
#
# | what is wanted | take | passes | memory |
# |---|---|---|---|
# | the gradient of one number, $m = 1$ | reverse: `Grad`, `ts.grad` | 1 back | grows with the number of steps |
# | the derivative along one direction, or $n = 1$ | forward: `ts.jvp` | 1 forward | does not grow |
# | many directions at one point | `ts.linearize` | 1 forward each, after one run | grows |
# | the Jacobian, $m < n$ | `ts.jacobian`, by rows | $m$ back | grows |
# | the Jacobian, $n < m$ | `ts.jacobian`, by columns | $n$ forward | grows: `ts.jacobian` records the function once |
# | the Hessian times a vector | forward over reverse, or `ts.hvp` | 1 of each, or 2 back | grows |

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** Give `Dual` a division, and find the derivative of $x / (x + x^2)$ at 1 with it. What should it be?


# %% tags=["solution"]
def divided(a, b):
    value = a.value / b.value
    return Dual(value, (a.tangent - value * b.tangent) / b.value)


one = Dual(1.0, 1.0)
found = divided(one, one + one * one)
assert found == Dual(0.5, -0.25)  # the function is 1 / (1 + x), and its derivative -1 / (1 + x)**2
found

# %% [markdown]
# **2.** From $(3, 5)$, in which direction of length 1 does $x^2 y$ grow fastest, and how fast? Find the direction by
# reverse mode and the speed by forward mode.

# %% tags=["solution"]
slope = ts.grad(lambda p: volume(p[0], p[1]))(p)
length = slope.square().sum().sqrt()
_, speed = ts.jvp(lambda p: volume(p[0], p[1]), (p,), (slope / length,))
assert math.isclose(speed.item(), math.hypot(30, 9), rel_tol=1e-6)  # along the gradient, as fast as it is long
print(slope / length, speed)

# %% [markdown]
# **3.** A point runs along $(\cos t, \sin t, t)$. Find its velocity at $t = 0$ in one pass, and its acceleration by
# forward mode over forward mode.


# %% tags=["solution"]
def place(t):
    return torch.stack([torch.cos(t), torch.sin(t), t])


def velocity(t):
    return ts.jvp(place, (t,), (1.0,))[1]


there, (_, acceleration) = velocity(ts.tensor(0.0)), ts.jvp(velocity, (0.0,), (1.0,))
assert there.tolist() == [0, 1, 1]
assert acceleration.tolist() == [-1, 0, 0]
print(there, acceleration)

# %% [markdown]
# **4.** In the block `with ts.override(torch.exp, input=lambda g, out: (g * out).clamp(-1, 1)):` the rule of `exp` is
# one that clips, and *not* linear in `g`. Compare $w \cdot (Jv)$ and $(J^\mathsf{T} w) \cdot v$ there, for
# `torch.exp` at 3, with $v = w = 1$. Which of the two is clipped, and why only that one?

# %% tags=["solution"]
with ts.override(torch.exp, input=lambda g, out: (g * out).clamp(-1, 1)):
    _, pushed = ts.jvp(torch.exp, (3.0,), (1.0,))
    _, back = ts.vjp(torch.exp, ts.tensor(3.0))
    (pulled,) = back(ts.tensor(1.0))
assert math.isclose(pushed.item(), math.exp(3), rel_tol=1e-6)
assert pulled.item() == 1
print(pushed, pulled)

# %% [markdown] tags=["solution"]
# The gradient is clipped, to 1. The tangent is $e^3 \approx 20.09$: forward mode differentiates the rule by `g` at
# zero, where nothing is clipped yet. The two disagree because no matrix $J$ is behind such a rule.

# %% [markdown]
# **5.** Let $y_i = x_i^2\, x_{i+1}$, with $y_n = x_n^2$ at the end. The Jacobian of this has $n^2$ entries, of which
# only the diagonal and the one above are not zero. Find all of these in *two* forward passes, for any $n$.


# %% tags=["solution"]
def chain(x):
    return x * x * torch.cat([x[1:], torch.ones(1)])


x = ts.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
even = (torch.arange(5) % 2 == 0).float()  # columns 0, 2, 4 have no row in common, and columns 1 and 3 have none
_, by_even = ts.jvp(chain, (x,), (even,))
_, by_odd = ts.jvp(chain, (x,), (1 - even,))
diagonal = torch.where(even == 1, by_even, by_odd)
above = torch.where(even == 1, by_odd, by_even)[:-1]
J = torch.func.jacrev(chain)(x.data)
assert diagonal.tolist() == J.diagonal().tolist()
assert above.tolist() == J.diagonal(1).tolist()
print(diagonal, above)

# %% [markdown] tags=["solution"]
# Columns that share no row can go in one pass, since what they give does not mix. Which columns go together is a
# question of colouring a graph (Curtis, Powell and Reid, 1974).

# %% [markdown]
# ## Where to go on
#
# [When gradients go wrong](when-gradients-go-wrong.md) meets a function on which the two modes do differ. [How are
# higher orders computed?](higher-orders.md) has more on Hessians, and [Derivatives of functions](../functions.md)
# lists all of `grad`, `vjp`, `jvp`, `linearize`, `jacobian` and `hvp`.
