# %% [markdown]
# # When gradients go wrong
#
# A gradient can be zero, NaN, tiny, an error, or plausible and wrong. At the end you will know how each of these
# comes about, and which question finds it. Twenty minutes.

# %%
# %load_ext tensorad
import math

import torch

import tensorad as ts

x = ts.tensor(3.0)
with ts.Grad() as g:
    y = x * x * x
    scale = (x * x).item()
    z = scale * x
print(y, g.gradient(y, x))
print(z, g.gradient(z, x))

# %% [markdown]
# Both are $x^3$, and 27 at $x = 3$. The derivative is $3x^2 = 27$. The second gradient is 9, and nobody complains.
# `item()` has made a number of $x^2$, and of a number nothing is known: for the engine, `z` is 9 times $x$. A
# gradient like this may still lead downhill, and looks like a badly chosen learning rate. So it is worth knowing what
# to ask. We begin with gradients that are plainly zero, and come back to this one.

# %% tags=["check"]
by_torch = torch.tensor(3.0, requires_grad=True)
(slope,) = torch.autograd.grad(by_torch**3, by_torch)
assert y.item() == z.item() == 27
assert g.gradient(y, x).item() == slope.item() == 27
assert g.gradient(z, x).item() == 3.0**2 == 9

# %% [markdown]
# ## It is zero: where does the path break?
#
# A gradient is zero if no path of recorded ops leads from the source to the target. `g.why(target, source)` says, in
# words, where it breaks.

# %%
with ts.Grad() as g:
    h = x * x
    y = ts.tensor(h.item()) * 2
print(g.gradient(y, x))
print(g.why(y, x))

# %% [markdown]
# The second line names the op, the cell and the line. Here are three more ways to cut a path; of the answer, only the
# line with the reason is printed.


# %%
cuts = (
    lambda x: (x * x).detach() * 2,
    lambda x: (x > 2).float() * 2,
    lambda x: x.long() * ts.tensor(2.0),
)
for cut in cuts:
    with ts.Grad() as context:
        z = cut(x)
    print(context.gradient(z, x), context.why(z, x).splitlines()[1])

# %% [markdown]
# `detach` cuts on purpose. A comparison (`gt`) gives true or false, and an integer (`to` is what `long` does) takes no
# small steps: neither has a derivative, and what is computed from them is a constant. An accuracy cannot be trained
# on, for this reason.

# %% tags=["check"]
reason = g.why(y, x).splitlines()[1]
assert g.gradient(y, x).item() == 0
assert y.item() == 2 * 3**2
for part in "item() at Cell In[", ", line 3 ", "'y = ts.tensor(h.item()) * 2'", "has no derivative", "is a constant":
    assert part in reason
for cut, op, line in zip(cuts, ("detach", "gt", "to"), (2, 3, 4), strict=True):
    by_torch = cut(torch.tensor(3.0, requires_grad=True))
    by_torch = by_torch.data if isinstance(by_torch, ts.Tensor) else by_torch
    assert not by_torch.requires_grad  # torch.autograd sees no path either
    with ts.Grad() as context:
        z = cut(x)
    reason = context.why(z, x).splitlines()[1].strip()
    assert (z.item(), context.gradient(z, x).item()) == (by_torch.item(), 0)
    assert reason.startswith(f"{op} at Cell In[")
    assert f", line {line} " in reason
    assert "has no derivative" in reason

# %% [markdown]
# Two cuts have to do with *when* something ran. What was computed before the block opened is a constant to it:

# %%
early = x * x
with ts.Grad() as g:
    y = early * 2
print(g.why(y, x))

# %% [markdown]
# `y` goes back to one value that was there before `g`, and no further. And a source that gets a new value afterwards
# is another value than the one that was used:

# %%
u = x + 0
with ts.Grad() as g_new:
    square = u * u
    u = u + 1
print(g_new.why(square, u))

# %% tags=["check"]
assert g.gradient(y, x).item() == 0
assert y.item() == 2 * 3**2
leaves = [line for line in g.why(y, x).splitlines() if line.startswith("  a leaf")]
assert len(leaves) == 1
assert "made before g opened" in leaves[0]
by_torch = torch.tensor(3.0, requires_grad=True)
(nothing,) = torch.autograd.grad(by_torch * by_torch, by_torch + 1, allow_unused=True)
assert nothing is None
assert g_new.gradient(square, u, unconnected="zero").item() == 0
assert "the source was made, or given a new value" in g_new.why(square, u)

# %% [markdown]
# And if the *target* was not recorded? Then there is no zero, but an error, as nobody asks for the gradient of a
# constant on purpose:

# %%
with ts.Grad() as g:
    y = x * x
late = y * 2
try:
    g.gradient(late, x)
except ts.NotRecordedError as error:
    print(error)


# %% tags=["check"]
def said(kind, ask):
    """The message of the error that must be raised."""
    try:
        ask()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


assert "the target was computed after g (" in said(ts.NotRecordedError, lambda: g.gradient(late, x))
assert g.gradient(y, x).item() == 2 * 3

# %% [markdown]
# ## It is zero, and rightly so
#
# Not every zero is a mistake. Here `g.why` finds a path:

# %%
w = ts.tensor(2.0)
with ts.Grad() as g:
    h = w * x
    y = torch.relu(h - 10)
print(g.gradient(y, x))
print(g.why(y, x))

# %% [markdown]
# So something on the path has slope 0. Go through the steps, and look for the first cotangent that is 0.

# %%
g.steps(y, x)

# %% [markdown]
# It is what `relu` gives: its input is $6 - 10 = -4$, where it is flat. A unit that is negative for all data gets no
# gradient any more, and is called *dead*. The gradient is right; what has to change is the model, or where it starts.

# %% tags=["check"]
by_torch = torch.tensor(3.0, requires_grad=True)
out = torch.relu(2 * by_torch - 10)
assert torch.autograd.grad(out, by_torch)[0].item() == g.gradient(y, x).item() == 0
assert (h - 10).item() == -4
path = [line.split()[0] for line in g.why(y, x).splitlines() if " at Cell In[" in line]
assert "the target depends on the source" in g.why(y, x)
assert path == ["mul", "sub", "relu"]
stops = [line.split(" at Cell")[0] for line in str(g.steps(y, x)).splitlines() if "cotangent" in line]
assert [stop.split(" = ")[1].strip() for stop in stops] == ["relu, cotangent 1", "sub, cotangent 0", "mul, cotangent 0"]

# %% [markdown]
# ## It is tiny, or huge
#
# Each op multiplies the cotangent by its slope. Over 30 steps with slope $\frac12$ that makes $2^{-30}$, about one in
# a billion. `g.flow` draws the size of every cotangent, from the target on the left back to the source:

# %%
x = ts.tensor(1.0)
with ts.Grad() as g:
    h = x
    for _ in range(30):
        h = 0.5 * h
g.flow(h, x)

# %% [markdown]
# The scale is logarithmic, so a constant factor is a straight line. Below $10^{-6}$ of the target's own cotangent,
# one is said to *vanish* (brown). With slope 2 the line goes up, and cotangents *explode*. Deep and recurrent
# networks multiply as many factors as they have layers or time steps; that this makes them hard to train was found by
# Hochreiter (1991) and by Bengio, Simard and Frasconi (1994).

# %% tags=["check"]
flow = g.flow(h, x)
by_torch = torch.tensor(1.0, requires_grad=True)
values = [by_torch]
for _ in range(30):
    values.append(0.5 * values[-1])
sizes = [each.item() for each in torch.autograd.grad(values[-1], values)][::-1]  # from the target on
assert [each.norm for each in (*flow.nodes, *flow.sources)] == sizes == [0.5**k for k in range(31)]
assert [each.state for each in (*flow.nodes, *flow.sources)] == ["vanishing" if size < 1e-6 else "" for size in sizes]
assert math.isclose(sizes[-1], 1e-9, rel_tol=0.1)
assert "vanishing" in str(flow)
with ts.Grad() as context:
    up = x
    for _ in range(30):
        up = 2 * up
(end,) = context.flow(up, x).sources
assert (end.norm, end.state) == (2.0**30, "exploding")

# %% [markdown]
# What is tiny can also become exactly zero. Float32 has no number between 0 and about $10^{-45}$:

# %%
for kind in ts.float32, ts.float64:
    x = ts.tensor(1.0, dtype=kind)
    with ts.Grad() as g:
        h = x
        for _ in range(200):
            h = 0.5 * h
    print(kind, g.gradient(h, x).item())

# %% tags=["check"]
assert g.gradient(h, x).item() == 0.5**200
single = ts.tensor(1.0)
with ts.Grad() as context:
    h = single
    for _ in range(200):
        h = 0.5 * h
out = by_torch = torch.tensor(1.0, requires_grad=True)
for _ in range(200):
    out = 0.5 * out
assert context.gradient(h, single).item() == torch.autograd.grad(out, by_torch)[0].item() == 0
smallest = torch.nextafter(torch.tensor(0.0), torch.tensor(1.0)).item()
assert 1e-45 < smallest < 2e-45
assert smallest > 0.5**200

# %% [markdown]
# ## It is NaN: where did that start?
#
# Three points, two of them in one place, and the length of the way from the first to the last:

# %%
points = ts.tensor([[1.0, 2.0], [1.0, 2.0], [4.0, 6.0]])
with ts.Grad() as g:
    step = points[1:] - points[:-1]
    length = step.square().sum(1).sqrt().sum()
gradient = g.gradient(length, points)
print(length, gradient, sep="\n")

# %% [markdown]
# The length, 5, is right. The gradient is NaN in four entries, and it does not say why. NaN spreads: whatever is
# computed from one is NaN too. So the question is where the first one came from, and a context that is opened with
# `check="nan"` stops there.

# %%
with ts.Grad(check="nan") as g_nan:
    step = points[1:] - points[:-1]
    length = step.square().sum(1).sqrt().sum()
try:
    g_nan.gradient(length, points)
except ts.NonFiniteError as error:
    print(error)

# %% [markdown]
# It begins with an infinity. The rule of the square root is $g / (2\sqrt{x})$, and at 0 it divides by 0. Then the
# rule of `square` multiplies by $2 \cdot 0$, and $\infty \cdot 0$ is NaN. The length of a vector has no derivative at
# 0, so somebody has to choose. `torch.linalg.vector_norm` is one op, whose rule chooses 0:

# %%
with ts.Grad(check="nan") as g:
    step = points[1:] - points[:-1]
    norm = torch.linalg.vector_norm(step, dim=1).sum()
print(g.gradient(norm, points))

# %% [markdown]
# The last row is $(3, 4) / 5$. [Gradients at hard points](../conventions.md) lists all such choices, and
# `ts.Grad(check="corners")` says which of them a gradient relied on.

# %% tags=["check"]
by_torch = points.data.clone().requires_grad_()
(by_torch[1:] - by_torch[:-1]).norm(dim=1).sum().backward()
torch.testing.assert_close(g.gradient(norm, points).data, by_torch.grad, rtol=1e-6, atol=1e-6)
torch.testing.assert_close(g.gradient(norm, points).data[-1], torch.tensor([3.0, 4.0]) / 5, rtol=1e-6, atol=1e-6)
naive = points.data.clone().requires_grad_()
(naive[1:] - naive[:-1]).square().sum(1).sqrt().sum().backward()
assert naive.grad.isnan().sum() == 4
assert torch.equal(gradient.data.isnan(), naive.grad.isnan())
assert length.item() == norm.item() == math.hypot(3, 4) == 5
message = said(ts.NonFiniteError, lambda: g_nan.gradient(length, points))
for part in "the rule of sqrt at Cell In[", ", line 3 ", "made an infinity", ": [0],":
    assert part in message
assert ts.rule(torch.sqrt).formulas == {"input": "g / (2 · out)"}
import warnings

with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    with ts.Grad(check="corners") as context:
        relied = torch.linalg.vector_norm(points[1:] - points[:-1], dim=1).sum()
    context.gradient(relied, points)
assert [each.category for each in warned] == [ts.ConventionWarning]
assert "linalg.vector_norm" in str(context.corners())

# %% [markdown]
# ## It is NaN, although that branch was not taken
#
# The function $\sin(v) / v$ has the value 1 at 0, which has to be said:

# %%
v = ts.tensor([0.0, 1.0])
with ts.Grad() as g:
    y = torch.where(v == 0, 1.0, torch.sin(v) / v)
print(y, g.gradient(y, v))

# %% [markdown]
# The values are right, and the first gradient is NaN, where the derivative is 0. Look at the cotangents in these
# steps:

# %%
g.steps(y, v)

# %% [markdown]
# `where` chooses, but both branches have been computed. Backwards it sends 0 into the branch that was not taken, and
# there 0 meets the slope of that branch: `[0, 1] / [0, 1]` begins with $0 / 0$, which is NaN. torch and JAX do the
# same. Two things help. A masked gradient stops a cotangent that is exactly 0. And for every library, a harmless
# number can be put *into* the branch as well:

# %%
with ts.Grad() as g_safe:
    safe = torch.where(v == 0, 1.0, v)
    z = torch.where(v == 0, 1.0, torch.sin(safe) / safe)
print(g_safe.gradient(z, v))
print(g.gradient(y, v, masked=True))

# %% [markdown]
# Forward mode has no such trouble. A tangent takes the branch that was taken, and no other, so the two modes differ:

# %%
_, tangent = ts.jvp(lambda v: torch.where(v == 0, 1.0, torch.sin(v) / v), (v,), (torch.ones(2),))
print(tangent)

# %% tags=["check"]
right = torch.tensor([0.0, math.cos(1) - math.sin(1)])  # (v cos v - sin v) / v**2
for each in g.gradient(y, v, masked=True), g_safe.gradient(z, v), tangent:
    torch.testing.assert_close(each.data, right, rtol=1e-6, atol=1e-6)
by_torch = v.data.clone().requires_grad_()
torch.where(by_torch == 0, 1.0, torch.sin(by_torch) / by_torch).sum().backward()
assert g.gradient(y, v).isnan().tolist() == by_torch.grad.isnan().tolist() == [True, False]
torch.testing.assert_close(y.data, torch.tensor([1.0, math.sin(1)]), rtol=1e-6, atol=1e-6)
assert "= [0, 1] / [0, 1] = [nan, 1]" in str(g.steps(y, v))
safely = v.data.clone().requires_grad_()
inside = torch.where(safely == 0, 1.0, safely)
torch.where(safely == 0, 1.0, torch.sin(inside) / inside).sum().backward()
torch.testing.assert_close(safely.grad, right, rtol=1e-6, atol=1e-6)

# %% [markdown]
# ## A value was changed in between
#
# The slope of $w x$ by $x$ is $w$. So $w$ is saved. What if it is changed before the gradient is asked for, as an
# optimizer's step does?

# %%
x = ts.tensor(3.0)
w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
with ts.Grad() as g:
    y = (w * x).sum()
with torch.no_grad():
    w.mul_(0.5)
try:
    g.gradient(y, x)
except ts.MutationError as error:
    print(error)

# %% [markdown]
# With the new `w` the answer would be 1.5 instead of 3, and nothing would show it. torch counts the changes of every
# tensor, and a node notes the count when it saves one; that is how the change is seen. It is not seen if it is made
# through `w.data` of a parameter. Assignments to a `Tensor` of tensorad are safe: `t[0] = 1.0` makes a new value, and
# what was computed from the old one keeps that.

# %% tags=["check"]
for weights, expected in ([1.0, 2.0], 3), ([0.5, 1.0], 1.5):
    by_torch = torch.tensor(3.0, requires_grad=True)
    (slope,) = torch.autograd.grad((torch.tensor(weights) * by_torch).sum(), by_torch)
    assert slope.item() == expected
assert w.tolist() == [0.5, 1.0]
message = said(ts.MutationError, lambda: g.gradient(y, x))
for part in "a value that mul saved at Cell In[", "'y = (w * x).sum()'", "was changed in place", "'w.mul_(0.5)'":
    assert part in message
with ts.Grad() as context:
    unseen = (w * x).sum()
w.data.mul_(2)
assert context.gradient(unseen, x).item() == 3  # as if w had been (1, 2): it was (0.5, 1)
old = ts.tensor([1.0, 2.0])
with ts.Grad() as context:
    t = old * 1
    squares = (t * t).sum()
    t[0] = 1.0
    t[1] = 0.0
assert context.gradient(squares, old).tolist() == (2 * torch.tensor([1.0, 2.0])).tolist()

# %% [markdown]
# ## It is plausible: compare it
#
# Back to the 9 that should have been 27. There is a path to `z`, so `g.why` finds nothing amiss. What finds it is a
# way to the derivative that takes no derivatives at all: move $x$ a little, and see how much the value moves.
# `ts.gradcheck` does that for each entry of each argument, and compares.


# %%
def loss(x):
    scale = (x * x).item()
    return scale * x


print(ts.gradcheck(loss, ts.tensor(3.0, dtype=ts.float64), order=1))

# %% [markdown]
# The two numbers disagree, and the line below them has a suspect. Finite differences see through `item`, as they only
# run the program. With `x * x * x` instead, they agree:

# %%
print(ts.gradcheck(lambda x: x * x * x, ts.tensor(3.0, dtype=ts.float64), order=1))

# %% tags=["check"]
import contextlib
import io
import re

reports, three = [], ts.tensor(3.0, dtype=ts.float64)
for function, right in (loss, False), (lambda x: x * x * x, True):
    with contextlib.redirect_stdout(io.StringIO()) as report:
        assert ts.gradcheck(function, three, order=1) is right
    reports.append(report.getvalue())
low, high = (loss(torch.tensor(each, dtype=torch.float64)).item() for each in (3 - 1e-5, 3 + 1e-5))
assert math.isclose((high - low) / 2e-5, 27, rel_tol=1e-8)
assert "DISAGREE" in reports[0]
assert "analytic 9, numeric 27 ±" in reports[0]
assert reports[0].splitlines()[1].strip().startswith("item() at Cell In[")
assert "scale = (x * x).item()" in reports[0].splitlines()[1]
assert "1 agree" in reports[1]
assert "analytic 27, numeric 27 ±" in reports[1]
with ts.Grad() as context:
    nine = loss(three)
assert context.gradient(nine, three).item() == 9
assert context.why(nine, three).startswith("the target depends on the source")
assert "item()" not in context.why(nine, three)
steps = [re.search(r"\(step (.*?)\)", report)[1] for report in reports]
assert steps[0] != steps[1]

# %% [markdown]
# ## How far can finite differences be trusted?
#
# They are wrong too, in two ways. $(f(x + h) - f(x - h)) / 2h$ is off by about $h^2 |f'''| / 6$, as $f$ is curved: so
# make $h$ small. But both values are rounded, with a relative error $\epsilon$, and the difference is divided by $h$,
# so it is also off by about $\epsilon |f| / h$: so make $h$ large.

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6, 2.5))
curves = {torch.float32: "#b3701c", torch.float64: "#3b8ea5"}
for kind, colour in curves.items():
    at, h = torch.tensor(1.0, dtype=kind), torch.logspace(-12, -0.5, 47, dtype=kind)
    slope = (torch.sin(at + h) - torch.sin(at - h)) / (2 * h)
    error = (slope.double() - math.cos(1.0)).abs()
    axes.loglog(h, error, color=colour, label=str(kind).removeprefix("torch."))
axes.set(xlabel="step $h$", ylabel="error", title="the slope of sin at 1, by differences")
axes.legend(loc="lower right")
figure.tight_layout()
plt.show()

# %% [markdown]
# Read it from the right: the error falls with $h^2$, and then rounding takes over and it rises, unevenly. Left of
# $10^{-8}$, $1 + h$ is 1 in float32, and nothing is left of the slope. The best step is about $\epsilon^{1/3}$. In
# float32 the error there is around $10^{-5}$, and at a step that looks prudent, $h = 10^{-6}$, it is above $10^{-3}$:
# that is no evidence against a gradient. In float64 it is below $10^{-9}$. So compare in float64: `gradcheck` warns
# where it is given less. It tries several steps, takes the one whose result it can trust most, and says how far off
# that may be (±); so the step of one check is not that of the next.

# %% tags=["check"]
errors = {}
for kind in torch.float32, torch.float64:
    for width in torch.finfo(kind).eps ** (1 / 3), 1e-6:
        one = torch.tensor(1.0, dtype=kind)
        off = ((torch.sin(one + width) - torch.sin(one - width)) / (2 * width)).item() - math.cos(1.0)
        errors[kind, width] = abs(off)
(cubic, prudent), (wide, _) = [[value for key, value in errors.items() if key[0] is kind] for kind in curves]
assert 1e-6 < cubic < 1e-4
assert prudent > 1e-3
assert 1 + torch.tensor(1e-8) == 1 - torch.tensor(1e-8) == 1
assert wide < 1e-9
right = h > 1e-3  # the curve of the picture in float64: there h^2 |f'''| / 6 is what is off
torch.testing.assert_close(error[right], h[right] ** 2 * math.cos(1.0) / 6, rtol=0.02, atol=0)
best = h[error.argmin()].item()
assert 0.1 < best / torch.finfo(torch.float64).eps ** (1 / 3) < 10
with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("always")
    ts.gradcheck(lambda x: x * x * x, ts.tensor(3.0), order=1)
assert "float32" in str(warned[0].message)

# %% [markdown]
# ## What to ask
#
# | the gradient | ask |
# |---|---|
# | is zero | `g.why(y, x)`; if there is a path, `g.steps(y, x)` |
# | is tiny or huge | `g.flow(y, x)` |
# | is NaN or infinite | `ts.Grad(check="nan")` |
# | is NaN under a `where` | `masked=True`, or a harmless number inside |
# | depends on a convention | `ts.Grad(check="corners")`, then `g.corners()` |
# | looks right, and is not | `ts.gradcheck` in float64 |

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** A classifier answers yes where `w * data > 0`. For `data` $(-1, 2, 0.5)$, `labels` $(0, 1, 1)$ and $w =
# -0.1$, ask for the gradient by `w` of the share of right answers, `((w * data > 0) == labels).float().mean()`. Why
# is it zero? Put something in its place that has a gradient, such that a step against it raises the share.

# %% tags=["solution"]
data, labels, w = torch.tensor([-1.0, 2.0, 0.5]), torch.tensor([0.0, 1.0, 1.0]), ts.tensor(-0.1)


def share(w):
    return ((w * data > 0) == labels).float().mean()


with ts.Grad() as g:
    right = share(w)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(w * data, labels)
reason = g.why(right, w).splitlines()[1]
print(reason)
assert reason.strip().startswith("gt at")
better = w - g.gradient(loss, w)
print(right, share(better))
assert g.gradient(right, w).item() == 0
assert (right.item(), share(better).item()) == (0, 1)

# %% [markdown]
# **2.** `torch.log(1 + torch.exp(v))` has slope $e^v / (1 + e^v)$, which is 1 to all digits at $v = 100$. What is it
# in float32, where does that begin, and which function of torch gets it right?

# %% tags=["solution"]
v = ts.tensor(100.0)
try:
    with ts.Grad(check="nan"):
        torch.log(1 + torch.exp(v))
except ts.NonFiniteError as error:
    reason = str(error)
else:
    reason = "nothing"
print(reason)
assert reason.startswith("exp at")
assert "made an infinity, where input is 100" in reason
with ts.Grad() as g:
    naive, right = torch.log(1 + torch.exp(v)), torch.nn.functional.softplus(v)
print(g.gradient(naive, v), g.gradient(right, v))
assert g.gradient(naive, v).isnan().item()
assert g.gradient(right, v).item() == 1

# %% [markdown]
# **3.** Write `length(v)`, the length of a vector, from `square`, `sum`, `sqrt` and `where`, such that tensorad and
# torch.autograd alike find the gradient 0 at the zero vector, and $v / |v|$ elsewhere.


# %% tags=["solution"]
def length(v):
    squared = v.square().sum()
    return torch.where(squared == 0, 0.0, torch.where(squared == 0, 1.0, squared).sqrt())


assert ts.grad(length)(ts.zeros(2)).tolist() == [0, 0]
torch.testing.assert_close(ts.grad(length)(ts.tensor([3.0, 4.0])).data, torch.tensor([0.6, 0.8]), rtol=1e-6, atol=0)
there = torch.zeros(2, requires_grad=True)
assert torch.autograd.grad(length(there), there)[0].tolist() == [0, 0]

# %% [markdown]
# **4.** Somebody divides a vector by its length, with `c * x / x.detach().norm()` and a sum, "to keep the gradient
# stable". The value depends on the direction of $x$ alone. What does that say about $x \cdot \nabla f$? Show that
# this gradient breaks it, for $x = (3, 4)$ and $c = (1, 0)$, and that `ts.gradcheck` sees that too.

# %% tags=["solution"]
c = torch.tensor([1.0, 0.0], dtype=torch.float64)
x = ts.tensor([3.0, 4.0], dtype=ts.float64)
stable = ts.grad(lambda x: (c * x / x.detach().norm()).sum())(x)
right = ts.grad(lambda x: (c * x / x.norm()).sum())(x)
print(stable, stable @ x)
print(right, right @ x)
assert abs((right @ x).item()) < 1e-12
assert math.isclose((stable @ x).item(), 3 / 5)
assert not ts.gradcheck(lambda x: (c * x / x.detach().norm()).sum(), x, order=1)

# %% [markdown] tags=["solution"]
# Along $x$ itself the value does not change, so $x \cdot \nabla f = 0$. With the detached length it is 0.6: every
# step of an optimizer also changes the length of $x$, for nothing.

# %% [markdown]
# **5.** The one-sided difference $(f(x + h) - f(x)) / h$ is off by about $h |f''| / 2$, and by rounding. What is the
# best step in float64 by this argument? Try it on the sine at 1.

# %% tags=["solution"]
at = torch.tensor(1.0, dtype=torch.float64)


def off(h):
    return abs(((torch.sin(at + h) - torch.sin(at)) / h).item() - math.cos(1.0))


root = torch.finfo(torch.float64).eps ** 0.5  # where h and eps / h are as large as each other
for h in 1e-4, root, 1e-12:
    print(f"step {h:.1e}: off by {off(h):.0e}")
assert off(root) < 1e-7 < min(off(1e-4), off(1e-12))

# %% [markdown]
# ## Where to go on
#
# [When a gradient is wrong](../wrong.md) is the short version of this, to look things up. [Change the
# engine](change-the-engine.md) checks rules that you write yourself, and [Train a model](train-a-model.md) watches
# gradients flow through a real one.
