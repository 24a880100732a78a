# %% [markdown]
# # Change the engine
#
# You add ops of your own, see how a wrong rule is found, and give torch's ops other rules for the length of a block:
# straight-through estimators, other values at corners, no NaN from a branch that was not taken. Twenty minutes.

# %%
# %load_ext tensorad
import math

import torch

import tensorad as ts

ts.defrule("cube(input)", function=lambda x: x**3, input=lambda g, input: 3 * g * input**2)

x = ts.tensor(2.0)
with ts.Grad() as g:
    y = ts.cube(x)
g.gradient(y, x)

# %% [markdown]
# One line has added an op to the engine, and `ts.cube` is its name. The gradient is $3x^2 = 12$.
#
# ## What does the line say?
#
# First the name of the op and of its arguments. Then the function, which computes on torch tensors; the engine does
# not look into it. Then the rule for the argument `input`: from `g`, the cotangent of the output (the gradient of the
# target by it), to the cotangent of `input`. The other parameters of the rule name what it needs. That is what a node
# saves.

# %%
print(ts.rule("cube"))

# %% [markdown]
# The same line serves the second order. Then it runs on Tensors, and is recorded: its `input**2` has a rule, and so
# has each product.

# %%
with ts.Grad() as g2:
    with ts.Grad() as g1:
        y = ts.cube(x)
        dx = g1.gradient(y, x)
    d2x = g2.gradient(dx, x)
dx, d2x

# %% tags=["check"]
by_torch = torch.tensor(2.0)
assert dx.data == torch.func.grad(lambda t: t**3)(by_torch) == 12
assert d2x.data == torch.func.grad(torch.func.grad(lambda t: t**3))(by_torch) == 12
assert ts.rule("cube").saves == ["input"]
assert [each.item() for each in y.node.saved] == [2.0]

# %% [markdown]
# ## Why would you write a rule?
#
# tensorad differentiates $\log(1 + e^x)$ without your help, through the log, the sum and the exponential. Look at the
# last entry, where $x = 100$:

# %%
x = ts.tensor([-1.0, 0.0, 100.0])
with ts.Grad() as g_naive:
    naive = torch.log(1 + torch.exp(x))
naive, g_naive.gradient(naive, x)

# %% [markdown]
# $e^{100}$ is too large for float32, so the value is infinite and the gradient NaN, though the function is close to
# $x$ there and its slope close to 1. On paper the derivative is $e^x / (1 + e^x)$, the sigmoid, which torch computes
# safely. A rule can say so; and the function can be computed in a safe way too. (Torch has this function, `softplus`:
# let us say that it had not.)

# %%
log1pexp = ts.defrule(
    "log1pexp(input)",
    function=lambda x: x.clamp(min=0) + torch.log1p(torch.exp(-x.abs())),
    input=lambda g, input: g * torch.sigmoid(input),
)
with ts.Grad() as g:
    y = ts.log1pexp(x)
y, g.gradient(y, x)

# %% tags=["check"]
by_torch = x.data.clone().requires_grad_()
torch.nn.functional.softplus(by_torch).sum().backward()
torch.testing.assert_close(g.gradient(y, x).data, by_torch.grad, rtol=1e-6, atol=1e-6)
torch.testing.assert_close(y.data, torch.nn.functional.softplus(x.data), rtol=1e-6, atol=1e-6)
assert (y[2].item(), g.gradient(y, x)[2].item()) == (100, 1)
assert torch.exp(x.data[2]).isinf()
assert naive.isinf().tolist() == [False, False, True]
assert g_naive.gradient(naive, x).isnan().tolist() == [False, False, True]

# %% [markdown]
# ## How do you know that a rule is right?
#
# `ts.check_rule` compares it with finite differences, to the second order, at examples that you give: the arguments
# of a call, or several tuples of arguments. Of a rule that is right it says nothing. Here are three rules for the
# cube that are not.

# %%
number = ts.tensor(2.0, dtype=ts.float64)
vector = ts.tensor([1.0, 2.0], dtype=ts.float64)
ts.check_rule(log1pexp, vector)

rules = (
    lambda g, input: 2 * g * input**2,
    lambda g, input: 3 * input**2,
    lambda g, input: (3 * g * input**2).sum(),
)
for rule in rules:
    wrong = ts.defrule("wrong_cube(input)", function=lambda x: x**3, input=rule)
    try:
        ts.check_rule(wrong, (number,), (vector,))
    except ts.RuleError as error:
        print(error, end="\n\n")

# %% [markdown]
# The first rule says 8 at $x = 2$, where differences find 12: it has a 2 in the place of the 3. The second forgets
# `g`. That gives the right number as long as `g` is 1, and a wrong one inside any longer program. The third is right
# for a number, example 0, and for a vector it returns one number where each entry needs its own.


# %% tags=["check"]
def said(rule, *examples):
    """The message of the RuleError that must be raised."""
    try:
        ts.check_rule(rule, *examples)
    except ts.RuleError as error:
        return str(error)
    raise AssertionError("check_rule says nothing")


by_torch = torch.func.grad(lambda t: t**3)(number.data)
found, messages = [], []
for wrong_rule in rules:
    wrong = ts.defrule("wrong_cube(input)", function=lambda t: t**3, input=wrong_rule)
    messages.append(said(wrong, (number,), (vector,)))
    with ts.Grad() as context:
        value = ts.wrong_cube(number)
        longer = 10 * value
    found.append([context.gradient(each, number).item() for each in (value, longer)])
assert by_torch.item() == 12
assert found == [[8, 80], [12, 12], [12, 120]]
for message, parts in zip(
    messages,
    (
        ("example 0", "a wrong derivative", "analytic 8, numeric 12"),
        ("example 0", "is not linear in g"),
        ("example 1", "a cotangent of shape () where the operand has shape (2,)"),
    ),
    strict=True,
):
    assert message.startswith(f"check_rule of wrong_cube, {parts[0]}: ")
    assert all(part in message for part in parts)
assert ts.check_rule(ts.cube, (number,), (vector,)) is None

# %% [markdown]
# ## Can it be right once and wrong twice?
#
# Yes, and that is the mistake that is hardest to see. Here the rule computes its factor from `input.detach()`, a
# constant to whoever differentiates the rule.

# %%
frozen = ts.defrule(
    "frozen_cube(input)",
    function=lambda x: x**3,
    input=lambda g, input: 3 * g * input.detach() ** 2,
)
try:
    ts.check_rule(frozen, number)
except ts.RuleError as error:
    print(error)

# %% [markdown]
# The first order agrees. The second is 0, where the differences of the first give $6x = 12$, and the message names
# the line that cut it off. Without `.detach()` the rule is right.

# %% tags=["check"]
with ts.Grad() as outer:
    with ts.Grad() as inner:
        first = inner.gradient(ts.frozen_cube(number), number)
    second = outer.gradient(first, number)
by_torch = torch.func.grad(torch.func.grad(lambda t: t**3))(number.data)
assert (first.item(), second.item(), by_torch.item()) == (12, 0, 12)
message = said(frozen, number)
assert "right at the first order and wrong at the second" in message
assert "analytic 0, numeric 12" in message
(line,) = [line for line in message.splitlines() if "detach at Cell In[" in line]
assert ", line 4 ('input=lambda g, input: 3 * g * input.detach() ** 2,')" in line
assert ts.check_rule(ts.cube, number) is None  # without detach

# %% [markdown]
# ## What if the function is a loop?
#
# The equation $y^3 + y = x$ has one real solution $y$ for each $x$, and Newton's method finds it. For $x = 10$ it is
# $y = 2$, as $8 + 2 = 10$. Differentiated as it stands, the loop leaves a graph of all its rounds. Click on a round
# to unfold it.


# %%
def root(x):
    y = torch.zeros_like(x)
    for _ in range(20):
        y = y - (y**3 + y - x) / (3 * y**2 + 1)
    return y


x = ts.tensor(10.0, dtype=ts.float64)
with ts.Grad() as g:
    y = root(x)
slope = g.gradient(y, x)
print(f"y = {y.item():.4f}, dy/dx = {slope.item():.4f}, {len(g.graph(y).nodes)} nodes")
g.graph(y)

# %% [markdown]
# A rule needs no loop. Differentiate both sides of the equation: $(3y^2 + 1)\, dy = dx$, so $dy/dx = 1 / (3y^2 + 1)$.
# At $y = 2$ that is $1/13 \approx 0.0769$. The rule uses the solution alone, however it was found; and `out`, in a
# rule, is the output of the op.

# %%
ts.defrule("root(input)", function=root, input=lambda g, out: g / (3 * out**2 + 1))

with ts.Grad() as g2:
    with ts.Grad() as g1:
        y = ts.root(x)
        dx = g1.gradient(y, x)
    d2x = g2.gradient(dx, x)
print(f"dy/dx = {dx.item():.4f}, second {d2x.item():.5f}, {len(g1.graph(y).nodes)} nodes")

# %% [markdown]
# Two nodes, $x$ and $y$, are left of 162. The second derivative is there as well, $-6y / (3y^2 + 1)^3 = -12/2197$: to
# the second order, `out` is a Tensor, whose own derivative is given by this rule.

# %% tags=["check"]
at, step = 10.0, 1e-3
low, middle, high = (root(torch.tensor(at + k * step, dtype=torch.float64)).item() for k in (-1, 0, 1))
assert math.isclose(middle, 2.0)
assert math.isclose(dx.item(), 1 / 13)
assert math.isclose(dx.item(), (high - low) / (2 * step), rel_tol=1e-6)
assert math.isclose(d2x.item(), -12 / 2197)
with ts.Grad() as context:
    by_loop = root(x)
assert len(context.graph(by_loop).nodes) == 20 * 8 + 2 == 162  # 20 rounds of 8 ops, the first y, and x
assert str(context.graph(by_loop)).startswith("20 × (")  # folded by rounds
assert math.isclose(slope.item(), 1 / 13)
assert "out" in ts.rule("root").saves
assert len(g1.graph(y).nodes) == 2
assert math.isclose(d2x.item(), (high - 2 * middle + low) / step**2, rel_tol=1e-5)

# %% [markdown]
# ## What if forward and backward share work?
#
# Take $y = x\,\sigma(x)$, with the sigmoid $\sigma$. Its derivative is $\sigma + y\,(1 - \sigma)$, and needs a
# $\sigma$ that the function has computed already. So write two functions: `fwd` returns the output, and the
# residuals, which are whatever the derivative will need; `bwd` gets `g` and the residuals, and returns a cotangent
# for each argument.


# %%
@ts.primitive
def swish(x):
    return x * torch.sigmoid(x)


def fwd(x):
    s = torch.sigmoid(x)
    y = x * s
    return y, (s, y)


def bwd(g, residuals):
    s, y = residuals
    return (g * (s + y * (1 - s)),)


swish.defvjp(fwd, bwd)
ts.check_rule(swish, vector)

# %%
x = ts.tensor([0.0, 1.0])
with ts.Grad() as g:
    y = swish(x)
g.gradient(y, x)

# %% [markdown]
# At 0 the sigmoid is ½ and $y$ is 0, so the slope is ½. `check_rule` has nothing to say of the second order either:
# there `fwd` runs once more, on Tensors, so that $\sigma$ is a function of $x$ and no constant.

# %% tags=["check"]
by_torch = x.data.clone().requires_grad_()
torch.nn.functional.silu(by_torch).sum().backward()
torch.testing.assert_close(g.gradient(y, x).data, by_torch.grad, rtol=1e-6, atol=1e-6)
assert by_torch.grad[0] == 0.5
kinds = []


def watched(x):
    kinds.append(type(x))
    return fwd(x)


once_more = ts.primitive(lambda x: x * torch.sigmoid(x))
once_more.defvjp(watched, bwd)
with ts.Grad() as outer:
    with ts.Grad() as inner:
        first = inner.gradient(once_more(x), x)
    second = outer.gradient(first, x)
assert kinds == [torch.Tensor, ts.Tensor]
silu = torch.nn.functional.silu
by_torch = [torch.func.grad(torch.func.grad(silu))(each) for each in x.data]
torch.testing.assert_close(second.data, torch.stack(by_torch), rtol=1e-5, atol=1e-6)

# %% [markdown]
# ## May a rule be wrong on purpose?
#
# Look for a $w$ for which $3 \cdot \mathrm{round}(w)$ is 12, by descent on $(3 \cdot \mathrm{round}(w) - 12)^2$. Each
# line shows $w$, the loss, and the gradient.


# %%
def descend(w, steps):
    for _ in range(steps):
        with ts.Grad() as g:
            loss = (3 * torch.round(w) - 12) ** 2
        dw = g.gradient(loss, w)
        print(f"w {w.item():.2f}   loss {loss.item():2.0f}   gradient {dw.item():3.0f}")
        w = w - 0.02 * dw
    return w


stuck = descend(ts.tensor(1.2), 2)

# %% [markdown]
# Nothing moves. `round` is a staircase: it has the slope 0 on every step, so the gradient is 0, and rightly so. But
# the staircase leads upwards, and that is what the descent should follow. A straight-through estimator does: forwards
# it rounds, and backwards it does as if it had not. `ts.override` gives an op another rule for the length of a block.

# %%
with ts.override(torch.round, input=lambda g: g):
    w = descend(ts.tensor(1.2), 6)

# %% [markdown]
# Now the first gradient is $2 \cdot (3 - 12) \cdot 3 = -54$, and after four steps $w = 3.72$ is rounded to 4, where
# the loss is 0. Bengio, Léonard and Courville described the estimator in 2013, after Hinton; networks with rounded
# weights are trained with it. `check_rule` calls the rule wrong, and it is: no finite difference agrees. You have
# decided that you want something else than the derivative.

# %% tags=["check"]
path = [1.2]
while path[-1] < 3.5:
    path.append(path[-1] - 0.02 * 2 * (3 * round(path[-1]) - 12) * 3)
assert 2 * (3 * 1 - 12) * 3 == -54
assert len(path) == 5
assert math.isclose(path[-1], 3.72)
assert math.isclose(w.item(), path[-1], rel_tol=1e-6)
assert (3 * round(w.item()) - 12) ** 2 == 0
assert stuck.item() == ts.tensor(1.2).item()
by_torch = torch.tensor(1.2, requires_grad=True)
assert torch.autograd.grad((3 * torch.round(by_torch) - 12) ** 2, by_torch)[0] == 0
with ts.override(torch.round, input=lambda g: g):
    u = ts.tensor(1.2)
    with ts.Grad() as context:
        loss = (3 * torch.round(u) - 12) ** 2
    message = said(torch.round, ts.tensor(1.2, dtype=ts.float64))
assert context.gradient(loss, u).item() == -54
assert "a wrong derivative" in message
assert "analytic 1, numeric " in message

# %% [markdown]
# What is recorded inside the block has the other rule, also if the gradient is asked for later. What is recorded
# outside has the old one. The block reaches the op by all its names, `torch.round(w)` and `w.round()`, also within
# functions that you call.

# %% tags=["check"]
u = ts.tensor(1.2)
with ts.Grad() as context:
    with ts.override(torch.round, input=lambda g: g):
        functions = [torch.round, lambda t: t.round(), ts.round]
        inside = [function(u) for function in functions]
    outside = torch.round(u)
assert [context.gradient(each, u).item() for each in (*inside, outside)] == [1, 1, 1, 0]

# %% [markdown]
# ## Which value does a corner have?
#
# `relu` has the slope 0 on the left of 0 and 1 on the right. At 0 it has none, and a library picks one. Does it
# matter? For every $x$, $\mathrm{relu}(x) - \mathrm{relu}(-x)$ is $x$, so its slope is 1. A context with
# `check="corners"` notes where a gradient relied on a convention.


# %%
import warnings

warnings.simplefilter("ignore", ts.ConventionWarning)  # it says that there is something to list


def same(x):
    return torch.relu(x) - torch.relu(-x)


x = ts.tensor([-2.0, 0.0, 3.0])
with ts.Grad(check="corners") as g:
    y = same(x)
print(g.gradient(y, x))
g.corners()

# %% [markdown]
# At 0 the gradient is 0, and the list says why: `relu`, at entry 1, has the slope 0 in torch and JAX, and here. Try
# other values $c$ for the slope at 0. Beside `same` stands a function that is 0 for every $x$.


# %%
def nothing(x):
    return torch.relu(-torch.relu(-x))


def slope_at_0(f, c):
    x = ts.tensor(0.0)
    with ts.override(torch.relu, input=lambda g, input: g * ((input > 0) + c * (input == 0))):
        with ts.Grad() as g:
            y = f(x)
    return g.gradient(y, x).item()


for c in (0.0, 0.5, 1.0):
    print(f"c = {c}   same: {slope_at_0(same, c)}   nothing: {slope_at_0(nothing, c)}")

# %% [markdown]
# `same` gets $2c$, which is right for $c = \tfrac12$ alone. `nothing` gets $c^2$, which is right for $c = 0$ alone.
# So no choice is right for every program: the engine applies the chain rule op by op, and at a corner there is no
# chain rule. [Gradients at hard points](../conventions.md) lists what was chosen.

# %% tags=["check"]
for c in (0.0, 0.5, 1.0):
    assert slope_at_0(same, c) == 2 * c
    assert slope_at_0(nothing, c) == c**2
at = torch.linspace(-1, 1, 21)
assert torch.equal(torch.relu(at) - torch.relu(-at), at)
assert torch.equal(torch.relu(-torch.relu(-at)), torch.zeros(21))
by_torch = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
(torch.relu(by_torch) - torch.relu(-by_torch)).sum().backward()
assert torch.equal(g.gradient(y, x).data, by_torch.grad)
assert by_torch.grad.tolist() == [1, 0, 1]
noted = str(g.corners())
assert noted.count("relu at Cell In[") == 2
assert noted.count("at [1], where input = ") == 2
assert noted.count("relu(x) at 0: 0 (torch: 0; JAX: 0)") == 2
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    g.gradient(y, x)
assert [each.category for each in warned] == [ts.ConventionWarning]

# %% [markdown]
# ## Where does a NaN come from that nobody asked for?
#
# Here `where` takes the square root where $x$ is positive, and 0 elsewhere. The value is fine. The gradient is not.
# Click through: in the first step, `where` sends 0 to the branch that was not taken. What does the rule of `sqrt`
# make of it?


# %%
x = ts.tensor([0.0, 4.0])
with ts.Grad() as g:
    y = torch.where(x > 0, torch.sqrt(x), 0.0)
print(y, g.gradient(y, x))
g.steps(y, [x])

# %% [markdown]
# The rule is `g / (2 * out)`, and at the first entry that is $0 / 0$, which is NaN: the root has an infinite slope at
# 0, and the cotangent is 0. What you mean is: where the cotangent is exactly 0, nothing flows. You can say so in a
# rule, for this op:


# %%
with ts.override(torch.sqrt, input=lambda g, out: torch.where(g == 0, 0.0, g / (2 * out))):
    with ts.Grad() as g_own:
        y_own = torch.where(x > 0, torch.sqrt(x), 0.0)
g_own.gradient(y_own, x)

# %% [markdown]
# Or for all ops at once: `masked=True` puts such a `where` around every rule of a backward pass. (It does so entry by
# entry in ops that work entry by entry; in others, such as a norm, where the whole cotangent is 0.)

# %%
g.gradient(y, x, masked=True)

# %% [markdown]
# Why is it not always on? Because a cotangent can be 0 although the branch counts. The square of $\sqrt{x}$ is $x$,
# and has the slope 1, at 0 as well from the right. Its chain rule is $0 \cdot \infty$ there:

# %%
with ts.Grad() as g_square:
    square = torch.sqrt(x) ** 2
print(g_square.gradient(square, x), g_square.gradient(square, x, masked=True))

# %% [markdown]
# NaN says that the chain rule has failed. Masked, it is a 0, which is wrong and looks right. Use the mask where the
# zeros come from a `where`.

# %% tags=["check"]
by_torch = torch.tensor([0.0, 4.0], requires_grad=True)
torch.where(by_torch > 0, torch.sqrt(by_torch), 0.0).sum().backward()
assert by_torch.grad[0].isnan()
assert g.gradient(y, x).data[0].isnan()
steps = str(g.steps(y, [x]))
assert "= [0, 1]\n" in steps
assert "= [0, 1] / (2 · [0, 2]) = [nan, 0.25]" in steps
assert ts.rule(torch.sqrt).formulas == {"input": "g / (2 · out)"}
right = torch.tensor([0.0, 1 / (2 * math.sqrt(4))])
assert torch.equal(g_own.gradient(y_own, x).data, right)
assert torch.equal(g.gradient(y, x, masked=True).data, right)
at, step = torch.tensor([0.0, 4.0], dtype=torch.float64), 1e-6
slopes = (torch.sqrt(at + step) ** 2 - torch.sqrt(at) ** 2) / step
torch.testing.assert_close(slopes, torch.ones(2, dtype=torch.float64), rtol=1e-6, atol=1e-6)
assert g_square.gradient(square, x).data[0].isnan()
assert g_square.gradient(square, x, masked=True).data[0] == 0

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** In float32, $\log \cosh x$ overflows at $x = 100$. Write an op `log_cosh` that does not, with the help of
# $\log \cosh x = |x| + \log(1 + e^{-2|x|}) - \log 2$. Its derivative is $\tanh x$.

# %% tags=["solution"]
log_cosh = ts.defrule(
    "log_cosh(input)",
    function=lambda x: x.abs() + torch.log1p(torch.exp(-2 * x.abs())) - math.log(2),
    input=lambda g, input: g * torch.tanh(input),
)
ts.check_rule(log_cosh, vector)
x = ts.tensor(100.0)
with ts.Grad() as g:
    y = ts.log_cosh(x)
assert torch.log(torch.cosh(x.data)).isinf()
assert math.isclose(y.item(), 100 - math.log(2), rel_tol=1e-6)
assert g.gradient(y, x).item() == math.tanh(100)

# %% [markdown]
# **2.** Somebody has written the rules of the hypotenuse $\sqrt{a^2 + b^2}$ as `a=lambda g, b, out: g * b / out` and
# `b=lambda g, a, out: g * a / out`. What does `check_rule` say at $a = 3$, $b = 4$? Why does it say nothing at
# $a = b = 3$? Repair the rules.

# %% tags=["solution"]
swapped = {"a": lambda g, b, out: g * b / out, "b": lambda g, a, out: g * a / out}
mended = {"a": lambda g, a, out: g * a / out, "b": lambda g, b, out: g * b / out}
three, four = (ts.tensor(value, dtype=ts.float64) for value in (3.0, 4.0))
wrong = ts.defrule("hypotenuse(a, b)", function=torch.hypot, **swapped)
try:
    ts.check_rule(wrong, three, four)
except ts.RuleError as error:
    message = str(error)
else:
    message = "nothing"
print(message)
assert "a wrong derivative: 2 of 2 entries are wrong" in message
ts.check_rule(wrong, three, three)  # says nothing: an error would end the cell
by_torch = torch.tensor(3.0, dtype=torch.float64, requires_grad=True), torch.tensor(4.0, dtype=torch.float64)
(slope,) = torch.autograd.grad(torch.hypot(*by_torch), by_torch[0])
with ts.Grad() as g:
    y = wrong.call(three, four)
assert math.isclose(g.gradient(y, three).item(), 4 / 5)
assert math.isclose(slope.item(), 3 / 5)
ts.check_rule(ts.defrule("hypotenuse(a, b)", function=torch.hypot, **mended), three, four)

# %% [markdown] tags=["solution"]
# Where $a = b$, the two derivatives are the same number, so that exchanging them changes nothing. And the second
# order is compared with differences of what the rule says to the first order. Give examples without symmetries.


# %% [markdown]
# **3.** A gradient reversal (Ganin and Lempitsky, 2015) is the identity forwards, and backwards it multiplies by
# $-\lambda$. Write it as an op of two arguments, so that `ts.reverse_gradient(x, 0.5) * 3` has the gradient $-1.5$ by
# $x$.

# %% tags=["solution"]
ts.defrule(
    "reverse_gradient(input, factor)",
    function=lambda x, factor: x.clone(),
    input=lambda g, factor: -factor * g,
)
x = ts.tensor(6.0)
with ts.Grad() as g:
    y = ts.reverse_gradient(x, 0.5) * 3
assert y.item() == 18
assert g.gradient(y, x).item() == -0.5 * 3

# %% [markdown]
# **4.** Guided backpropagation (Springenberg and others, 2014) shows what excites a unit: each `relu` also drops
# cotangents that are negative. Work out the guided gradient of a small network by its input, without touching the
# network.

# %% tags=["solution"]
torch.manual_seed(0)
sizes = ((4, 8), (8, 8), (8, 1))
first, second, last = (torch.nn.Linear(*each) for each in sizes)
model = torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.ReLU(), last)
x = ts.tensor(torch.randn(4))
with ts.override(torch.relu, input=lambda g, input: g.clamp(min=0) * (input > 0)):
    with ts.Grad() as g:
        y = model(x).sum()
guided = g.gradient(y, x)

# The same by hand, from the last layer to the first.
one = first(x.data)
two = second(one.relu())
by_hand = last.weight[0]
for layer, value in ((second, two), (first, one)):
    by_hand = (by_hand.clamp(min=0) * (value > 0)) @ layer.weight
torch.testing.assert_close(guided.data, by_hand.detach(), rtol=1e-5, atol=1e-6)

# %% [markdown]
# **5.** Kepler's equation $E - e \sin E = M$ leads from an angle $M$ that grows with time to the angle $E$ that says
# where a planet is, on an ellipse of eccentricity $e$. Write an op `kepler(mean, eccentricity)` that solves it, with
# a rule for each argument, and check it at $M = 1$, $e = 0.3$.


# %% tags=["solution"]
def solve(mean, eccentricity):
    position = mean
    for _ in range(20):
        error = position - eccentricity * torch.sin(position) - mean
        position = position - error / (1 - eccentricity * torch.cos(position))
    return position


def by_eccentricity(g, eccentricity, out):
    return g * torch.sin(out) / (1 - eccentricity * torch.cos(out))


kepler = ts.defrule(
    "kepler(mean, eccentricity)",
    function=solve,
    mean=lambda g, eccentricity, out: g / (1 - eccentricity * torch.cos(out)),
    eccentricity=by_eccentricity,
)
ts.check_rule(kepler, *(ts.tensor(value, dtype=ts.float64) for value in (1.0, 0.3)))

# %% [markdown]
# ## Where to go on
#
# [Own rules](../own-rules.md) has more of what `defrule` and `primitive` can do, and
# [When a gradient is not what you expect](../wrong.md) what to ask when one is zero or NaN. [All rules](../rules.md)
# are there to be read. That one rule serves both modes is the subject of [Forward mode](forward-mode.md).
