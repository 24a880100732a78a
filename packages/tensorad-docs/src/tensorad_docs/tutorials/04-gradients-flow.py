# %% [markdown]
# # How do gradients propagate?
#
# At the end you know what travels back through a program, where it is added up and where it fades, and why the order
# of the backward pass matters: the naive recursion is tried, and two that are wrong. Twenty minutes.

# %%
# %load_ext tensorad
import torch

import tensorad as ts

x = ts.tensor(3.0)
with ts.Grad() as g:
    u = torch.square(x)  # 9
    a = 2 * u  # 18
    b = u - 7  # 2
    y = a * b  # 36
for name, value in {"y": y, "a": a, "b": b, "u": u, "x": x}.items():
    print(name, "=", value.item(), " cotangent:", g.gradient(y, value).item())

# %% [markdown]
# ## What is a cotangent?
#
# The *cotangent* of a value is the gradient of the target by it: how fast `y` would change if this value changed, and
# all that was computed before it stayed as it is. That of `u` is 22. So if `u` were 9.001 instead of 9, `y` would grow
# by about 0.022.
#
# The cotangent of `y` itself is 1. Everything else follows from it, op by op and backwards: each op hands on to its
# operands what it was given, times its own derivative. `y = a * b` hands $1 \cdot b = 2$ to `a` and $1 \cdot a = 18$
# to `b`. Those two hand $2 \cdot 2 = 4$ and $18 \cdot 1 = 18$ to `u`, and there they are added up: 22. Then `u =
# square(x)` hands on $22 \cdot 2 \cdot 3 = 132$.

# %% tags=["check"]
leaf = torch.tensor(3.0, requires_grad=True)
square = leaf.square()
first, second = 2 * square, square - 7
product = first * second
expected = torch.autograd.grad(product, [product, first, second, square, leaf])
assert [each.item() for each in expected] == [1, 2, 18, 22, 132]
assert [each.item() for each in g.gradient(y, [y, a, b, u, x])] == [1, 2, 18, 22, 132]
assert [each.item() for each in (y, a, b, u, x)] == [36, 18, 2, 9, 3]
handed_on = [[(each.node.name, each.value.item()) for each in step.received] for step in g.steps(y, x)]
assert handed_on == [[("a", 2), ("b", 18)], [("u", 18)], [("u", 4)], [("x", 132)]]
assert abs(2 * 9.001 * (9.001 - 7) - 36 - 0.022) < 1e-5

# %% [markdown]
# ## Who says that it begins with 1?
#
# You do. A backward pass starts from a *seed*, the cotangent of the target. Left out, it is 1, for each entry of a
# target that has several. With `cotangent=` it is what you like, in the shape of the target.

# %%
v = ts.tensor([1.0, 2.0, 3.0])
with ts.Grad() as g:
    w = v**2
print(g.gradient(w, v))
print(g.gradient(w, v, cotangent=torch.tensor([0.0, 1.0, 0.0])))
print(g.gradient(w, v, cotangent=torch.tensor([1.0, 10.0, 100.0])))

# %% [markdown]
# The seed says how much each entry of the target counts. All ones give the gradient of the sum of the entries; a
# single one, that of the second entry alone. The result is linear in the seed: the third line has the gradient of the
# first entry once, that of the second 10 times, and that of the third 100 times.

# %% tags=["check"]
leaf = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
for seed, stated in [([1.0, 1, 1], [2, 4, 6]), ([0.0, 1, 0], [0, 4, 0]), ([1.0, 10, 100], [2, 40, 600])]:
    (by_torch,) = torch.autograd.grad(leaf**2, leaf, torch.tensor(seed))
    assert g.gradient(w, v, cotangent=torch.tensor(seed)).tolist() == by_torch.tolist() == stated
assert g.gradient(w, v).tolist() == [2, 4, 6]  # without a seed

# %% [markdown]
# To an op in the middle of a program, what comes from behind is a seed. So a program can be cut in two, and the
# pieces need to know nothing of each other but this one cotangent:

# %%
with ts.Grad() as early:
    squares = v**2
with ts.Grad() as late:
    z = torch.log(squares).sum()
handed = late.gradient(z, squares)
print(handed)
print(early.gradient(squares, v, cotangent=handed))

# %% [markdown]
# The whole is $z = \sum_i \log v_i^2$, whose derivative by $v_i$ is $2 / v_i$: that is 2, 1 and 0.6667.

# %% tags=["check"]
(whole,) = torch.autograd.grad(leaf.square().log().sum(), leaf)
torch.testing.assert_close(early.gradient(squares, v, cotangent=handed).data, whole, rtol=1e-6, atol=0)
torch.testing.assert_close(whole, torch.tensor([2.0, 1.0, 0.6667]), atol=1e-4, rtol=0)

# %% [markdown]
# ## What happens where a value is used several times?
#
# What arrives is added up, as at `u` above. Each use is a way on which the value acts on the target, and the effects
# of all ways add. This is called *fan-out*. Look for the words "from before".

# %%
x = ts.tensor(10.0)
with ts.Grad() as g:
    y = 2 * x + 3 * x + 4 * x
print(g.steps(y, x))

# %% [markdown]
# Going forward, `x` is copied to three places. Going back, three numbers are added: $4 + 3 + 2 = 9$. A copy becomes a
# sum.

# %% tags=["check"]
leaf = torch.tensor(10.0, requires_grad=True)
(2 * leaf + 3 * leaf + 4 * leaf).backward()
assert g.gradient(y, x).item() == leaf.grad.item() == 4 + 3 + 2
arrived = [each for step in g.steps(y, x) for each in step.received if each.node.name == "x"]
assert [each.value.item() for each in arrived] == [4, 3, 2]
assert [each.total.item() for each in arrived] == [4, 4 + 3, 4 + 3 + 2]
assert str(g.steps(y, x)).count("from before") == 2

# %% [markdown]
# ## Broadcasting is a copy too
#
# Here `bias` has three entries and `rows` has two rows of three. Torch uses each entry of `bias` once for each row,
# as if it had been copied down. So two cotangents arrive for each entry, and are added. Go to the turn of the `add`:
# `bias` receives the cotangent of the sum "summed from (2, 3) to (3,)".

# %%
rows = ts.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
bias = ts.tensor([10.0, 20.0, 30.0])
with ts.Grad() as g:
    y = ((rows + bias) * rows).sum()
g.steps(y, bias)

# %% [markdown]
# The rule of addition knows nothing of this. It says `g`, for both operands. That the shapes do not fit is noticed in
# one place, after the rule has run:

# %%
import inspect

from tensorad.backward import fit

print(inspect.getsource(fit))

# %% [markdown]
# `sum_to_size` sums over every dimension along which there was copying. The result is the sum of the columns of
# `rows`, $[1 + 4,\ 2 + 5,\ 3 + 6] = [5, 7, 9]$. Code that forgets this gives `bias` a gradient of shape (2, 3); code
# that adds up too much gives it one number, 21.

# %% tags=["check"]
leaf = torch.tensor([10.0, 20.0, 30.0], requires_grad=True)
((rows.data + leaf) * rows.data).sum().backward()
assert g.gradient(y, bias).tolist() == leaf.grad.tolist() == [5, 7, 9]
assert rows.data.sum() == 21
steps = g.steps(y, bias)
(by_bias,) = steps[2].received
assert (steps[2].node.op, by_bias.node.name, by_bias.fitted) == ("add", "bias", "summed from (2, 3) to (3,)")
assert by_bias.returned.shape == (2, 3)
assert (steps[2].cotangent.data == rows.data).all()
assert steps[2].rule == {"input": "g", "other": "g"}
assert "g.sum_to_size(parent.shape)" in inspect.getsource(fit)

# %% [markdown]
# ## Other ops that move numbers
#
# The same holds for everything that only moves numbers about. Each line has an op on a `v` of four entries, a seed in
# the shape of its result, and where that goes back to.

# %%
v = ts.tensor([1.0, 2.0, 3.0, 4.0])
with ts.Grad() as g:
    moved = {"v.sum()": v.sum(), "v[1:3]": v[1:3], "v.flip(0)": v.flip(0), "v[[0, 0]]": v[[0, 0]]}
for text, value in moved.items():
    seed = 10.0 ** torch.arange(value.data.numel()).reshape(value.shape)
    print(f"{text:10} {seed.tolist()!s:26} goes back to {g.gradient(value, v, cotangent=seed).tolist()}")

# %% [markdown]
# A sum becomes a copy. What was picked is put back in its place, with zeros elsewhere. A reversal becomes a reversal.
# An entry that was picked twice gets a sum. Each of these ops multiplies `v` by a matrix of zeros and ones, and the
# way back multiplies by the transposed matrix.

# %% tags=["check"]
for function, text in [
    (lambda v: v.sum(), "v.sum()"),
    (lambda v: v[1:3], "v[1:3]"),
    (lambda v: v.flip(0), "v.flip(0)"),
    (lambda v: v[[0, 0]], "v[[0, 0]]"),
]:
    matrix = torch.stack([function(unit) for unit in torch.eye(4)], dim=-1)  # its columns: where each entry goes
    assert {0.0, 1.0} >= {*matrix.flatten().tolist()}
    torch.testing.assert_close(moved[text].data, function(v.data), rtol=0, atol=0)
    seed = 10.0 ** torch.arange(function(torch.ones(4)).numel()).reshape(function(torch.ones(4)).shape)
    back = g.gradient(moved[text], v, cotangent=seed).data
    torch.testing.assert_close(back, matrix.reshape(-1, 4).mT @ seed.reshape(-1), rtol=0, atol=0)

# %% [markdown]
# ## Does the order matter?
#
# The simplest way to write a backward pass is a recursion: when something arrives at a node, note it, and hand it on
# to the operands at once. Here it is, on tensorad's own nodes. `node.parents` are the nodes of the operands, and
# `node.op.pulls` the rules, which take the cotangent of the result and what the node has saved.


# %%
def edges(node):
    pairs = zip(node.parents, node.op.pulls, strict=True) if node.op else ()
    return [(parent, pull) for parent, pull in pairs if parent is not None]


def at_once(node, g, sums, visits):
    visits.append(node)
    sums[node] = sums.get(node, 0) + g
    for parent, pull in edges(node):
        at_once(parent, pull(g, node.saved), sums, visits)


# %% [markdown]
# To test it we need values that are used twice, many times over: a ladder of diamonds. In each round `h` goes two
# ways, and these meet again. Count in the picture in how many ways one can go from the target down to `x`.

# %%
x = ts.tensor(1.0)


def ladder(rounds):
    h = x
    for _ in range(rounds):
        h = torch.sin(h) + torch.cos(h)
    return h


with ts.Grad() as g:
    h = ladder(3)
g.graph(h)

# %% [markdown]
# Two ways in each round: $2^3 = 8$ in all. The recursion goes each of them to its end.

# %%
print("rounds  nodes  visits")
for rounds in (2, 6, 10, 14):
    with ts.Grad() as g:
        h = ladder(rounds)
    at_once(h.node, torch.tensor(1.0), sums := {}, visits := [])
    print(f"{rounds:6}{len(sums):7}{len(visits):8}")
print(f"{sums[x.node]:.6f} {g.gradient(h, x).item():.6f}")

# %% [markdown]
# The number is right, since the sum over all paths is what a derivative is. But four more rounds take sixteen times
# as many visits: 65,533 for 43 nodes. With 50 rounds, at a million visits a second, it would take over a hundred
# years.

# %% tags=["check"]
leaf = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
value = leaf
for _ in range(14):
    value = value.sin() + value.cos()
value.backward()
assert abs(sums[x.node].item() - leaf.grad.item()) < 1e-5
assert abs(g.gradient(h, x).item() - leaf.grad.item()) < 1e-5
with ts.Grad():
    of_three_rounds = ladder(3)
at_once(of_three_rounds.node, torch.tensor(1.0), {}, in_the_picture := [])
assert in_the_picture.count(x.node) == 2**3 == 8
assert len(sums) == 3 * 14 + 1 == 43
assert len(visits) == 4 * 2**14 - 3 == 65533  # 2**n at x, and three for each of the 2**n - 1 ends of a round
assert 15 < 65533 / (4 * 2**10 - 3) < 17
assert (4 * 2**50 - 3) / 1e6 > 100 * 366 * 86400

# %% [markdown]
# ## Two recursions that are wrong
#
# `at_once` keeps apart what has just arrived, `g`, and what has arrived in all, `sums`. Here are two recursions that
# mix these up. The first hands on the sum so far. The second lets each node hand on only once, which is quick: what
# arrives later is added up, and stays there.


# %%
def sum_so_far(node, g, sums):
    sums[node] = sums.get(node, 0) + g
    for parent, pull in edges(node):
        sum_so_far(parent, pull(sums[node], node.saved), sums)


def only_the_first(node, g, sums):
    been_here = node in sums
    sums[node] = sums.get(node, 0) + g
    for parent, pull in [] if been_here else edges(node):
        only_the_first(parent, pull(g, node.saved), sums)


# %% [markdown]
# On the program that we began with, where the cotangent of `u` is 22 and that of `x` is 132:

# %%
x = ts.tensor(3.0)
with ts.Grad() as g:
    u = torch.square(x)
    a = 2 * u
    b = u - 7
    y = a * b
for wrong in (sum_so_far, only_the_first):
    wrong(y.node, torch.tensor(1.0), sums := {})
    print(f"{wrong.__name__:15} u: {sums[u.node].item():5}  x: {sums[x.node].item():5}")
print(f"{'g.gradient':15} u: {g.gradient(y, u).item():5}  x: {g.gradient(y, x).item():5}")

# %% [markdown]
# Both run, and neither gives 132. Follow the first: 4 comes to `u` by way of `a`, and goes on to `x` as
# $4 \cdot 6 = 24$. Then 18 comes by way of `b`. The sum is 22, which goes on as $22 \cdot 6 = 132$. Together that is
# 156: the 4 has been handed on twice. The second has the right number at `u`, but `x` has only heard of the 4.
#
# Both are right where no value is used twice. So a test on a chain of ops does not find the mistake; a diamond does.

# %% tags=["check"]
results = []
for wrong in (sum_so_far, only_the_first):
    wrong(y.node, torch.tensor(1.0), arrived := {})
    results.append((arrived[u.node].item(), arrived[x.node].item()))
assert results == [(4 + 18, 4 * 6 + 22 * 6), (4 + 18, 4 * 6)] == [(22, 156), (22, 24)]
by_torch = torch.tensor(3.0, requires_grad=True)
(2 * by_torch.square() * (by_torch.square() - 7)).backward()
assert g.gradient(y, x).item() == by_torch.grad.item() == 132
with ts.Grad():
    chain = torch.exp(torch.sin(3 * x))
for wrong in (sum_so_far, only_the_first):
    wrong(chain.node, torch.tensor(1.0), arrived := {})
    by_torch = torch.tensor(3.0, requires_grad=True)
    torch.exp(torch.sin(3 * by_torch)).backward()
    torch.testing.assert_close(arrived[x.node], by_torch.grad, rtol=1e-6, atol=0)

# %% [markdown]
# One of them can be swapped in. `g.gradient` asks the function
# `tensorad.grad.backward` for a dict, which has the cotangent of each node, and `patch` puts another function in its
# place for the length of a block:

# %%
from unittest.mock import patch


def swapped_in(context, target, g, sources, wrap):
    sum_so_far(target, g, sums := {})
    return sums


with patch("tensorad.grad.backward", swapped_in):
    by_recursion = g.gradient(y, x)
print(f"swapped in: {by_recursion.item()}, after it: {g.gradient(y, x).item()}")

# %% [markdown]
# Now the engine itself answers 156, with no error and no warning; after the block, 132.

# %% tags=["check"]
import warnings

assert by_recursion.item() == 4 * 6 + 22 * 6 == 156
with warnings.catch_warnings(), patch("tensorad.grad.backward", swapped_in):
    warnings.simplefilter("error")
    assert g.gradient(y, x).item() == 156
by_torch = torch.tensor(3.0, requires_grad=True)
(2 * by_torch.square() * (by_torch.square() - 7)).backward()
assert g.gradient(y, x).item() == by_torch.grad.item() == 132

# %% [markdown]
# ## The order that is right
#
# A node may hand on its cotangent when nothing more can arrive: after all nodes that use it have had their turn. An
# order in which each node comes after all that it depends on is called *topological*, and here we need one backwards.
# There is one for free. Nodes are numbered as they are made, and an op runs after its operands exist. So whatever
# uses a node has a larger number. The node with the largest number goes first, always:


# %%
def in_order(target, g):
    sums, visits, waiting = {target: g}, 0, {target}
    while waiting:
        node = max(waiting, key=lambda node: node.number)
        waiting.remove(node)
        visits += 1
        for parent, pull in edges(node):
            received = pull(sums[node], node.saved)
            sums[parent] = sums[parent] + received if parent in sums else received
            waiting.add(parent)
    return sums, visits


sums, visits = in_order(y.node, torch.tensor(1.0))
print(f"u: {sums[u.node].item()}, x: {sums[x.node].item()}, {visits} visits")

# %% tags=["check"]
assert [sums[each.node].item() for each in (y, a, b, u, x)] == [1, 2, 18, 22, by_torch.grad.item()]
assert visits == len(sums) == 5
for each in (y, a, b, u):  # whatever uses a node has a larger number
    assert all(each.node.number > parent.number for parent, _ in edges(each.node))

# %% [markdown]
# Five nodes, five visits. And 50 rounds of the ladder, which the recursion could not do:

# %%
x = ts.tensor(1.0)
with ts.Grad() as g:
    h = ladder(50)
sums, visits = in_order(h.node, torch.tensor(1.0))
print(f"{visits} visits, gradient {sums[x.node].item():.6g}; tensorad: {g.gradient(h, x).item():.6g}")

# %% [markdown]
# Tensorad sorts the nodes between sources and target by number, once, and goes through them in a loop. Since there is
# no recursion, a long chain of ops is no harder than a short one; Python ends a recursion after some thousand calls.

# %% tags=["check"]
leaf = torch.tensor(1.0, requires_grad=True)
value = leaf
for _ in range(50):
    value = value.sin() + value.cos()
value.backward()
torch.testing.assert_close(sums[x.node], leaf.grad, rtol=1e-3, atol=0)
torch.testing.assert_close(g.gradient(h, x).data, leaf.grad, rtol=1e-3, atol=0)
assert visits == 3 * 50 + 1
with ts.Grad():
    h = x
    for _ in range(10_000):
        h = -h
assert in_order(h.node, torch.tensor(1.0))[0][x.node].item() == 1
try:
    at_once(h.node, torch.tensor(1.0), {}, [])
    raise AssertionError("that was to be too deep for Python")
except RecursionError:
    pass

# %% [markdown]
# ## Where do they vanish?
#
# A cotangent is multiplied at each op. Where the factors are all below 1, little is left after many of them. The
# sigmoid $\sigma(x) = 1 / (1 + e^{-x})$ is the famous case: its derivative is $\sigma (1 - \sigma)$, and that is at
# most $\tfrac14$, at $x = 0$. Ten in a row:

# %%
x = ts.tensor(0.0)
with ts.Grad() as g:
    h = x
    for _ in range(10):
        h = torch.sigmoid(h)
print(f"{g.gradient(h, x).item():.2g}, and at most {0.25**10:.2g}")

# %% tags=["check"]
leaf = torch.tensor(0.0, requires_grad=True)
value = leaf
for _ in range(10):
    value = value.sigmoid()
value.backward()
torch.testing.assert_close(g.gradient(h, x).data, leaf.grad, rtol=1e-5, atol=0)
assert 0 < leaf.grad.item() < 0.25**10
assert [step.node.op for step in g.steps(h, x)] == ["sigmoid"] * 10

# %% [markdown]
# The same happens in a network. Here are twelve layers, each a matrix and a sigmoid. The matrices are random, of a
# size that leaves the length of a vector as it is, on average; so what is lost is lost in the sigmoids. `g.flow`
# measures the norm of each cotangent, the root of the sum of its squares. The upper plot follows the pass from the
# loss, on the left, back to the first layer. The lower has the two sources, the outputs of the first and the last
# layer, `new₁` and `new₁₂`. On these logarithmic scales, a straight line is a constant factor for each layer. Below
# 10⁻⁶ times the target's own cotangent, `g.flow` speaks of vanishing.


# %%
def net(h, weights, activation, residual=False):
    outputs = []
    for weight in weights:
        new = activation(h @ weight)
        h = h + new if residual else new
        outputs.append(h)
    return outputs


torch.manual_seed(0)
weights = [ts.tensor(torch.randn(32, 32) / 32**0.5) for _ in range(12)]
points = torch.randn(64, 32)
with ts.Grad() as g:
    outputs = net(points, weights, torch.sigmoid)
    loss = outputs[-1].square().mean()
g.flow(loss, [outputs[0], outputs[-1]])

# %% tags=["check"]
from itertools import pairwise

flow = g.flow(loss, [outputs[0], outputs[-1]])
by_layer = net(points.clone().requires_grad_(), [each.data for each in weights], torch.sigmoid)
norms = [each.norm().item() for each in torch.autograd.grad(by_layer[-1].square().mean(), by_layer)]
assert [(size.label, size.state) for size in flow.sources] == [("new₁", "vanishing"), ("new₁₂", "")]
torch.testing.assert_close([size.norm for size in flow.sources], [norms[0], norms[-1]], rtol=1e-3, atol=0)
on_the_way = [size.norm for size in flow.nodes if size.node.op == "sigmoid"]
torch.testing.assert_close(on_the_way, norms[:0:-1], rtol=1e-3, atol=0)
assert (flow.nodes[0].label, flow.nodes[0].norm) == ("loss (mean)", 1)
assert all(size.state == ("vanishing" if size.norm < 1e-6 else "") for size in flow.nodes)
assert all(0.15 < before / after < 0.3 for before, after in pairwise(norms))

# %% [markdown]
# The gradients of the weights are made from these cotangents, so the first layers hardly learn. Hochreiter described
# this in 1991, for recurrent networks. What helps is a factor nearer to 1, or a way around the factors:

# %%
variants = {
    "sigmoid": (torch.sigmoid, 1.0, False),
    "tanh": (torch.tanh, 1.0, False),
    "relu, weights times 2**0.5": (torch.relu, 2**0.5, False),
    "sigmoid, residual": (torch.sigmoid, 1.0, True),
}
ratios = {}
for name, (activation, scale, residual) in variants.items():
    with ts.Grad() as g:
        outputs = net(points, [scale * weight for weight in weights], activation, residual)
        loss = outputs[-1].square().mean()
    first, last = g.gradient(loss, [outputs[0], outputs[-1]])
    ratios[name] = (first.data.norm() / last.data.norm()).item()
    print(f"{name:27} norm at the first layer / at the last: {ratios[name]:.2g}")

# %% [markdown]
# In the first line, each of eleven layers has left a little less than a quarter, and
# $0.25^{11} \approx 2 \cdot 10^{-7}$. The slope of tanh is 1 at 0, and small values stay near 0. That of relu is 1 or
# 0: about half of the entries go through as they are, and weights that are larger by $\sqrt 2$ make up for the other
# half. The fourth keeps the sigmoid and adds a way around it, `h + new`, as residual networks do. There `h` is used
# twice, so two cotangents arrive and are added: the small one that came through the sigmoid, and the whole one,
# unchanged. What saves it is that fan-out adds.

# %%
g.flow(loss, [outputs[0], outputs[-1]])

# %% [markdown]
# Nothing vanishes now, and the line is a zigzag: the norm goes down into each layer's sigmoid, and is back at the sum
# of the layer before, where the way around joins.

# %% tags=["check"]
flow = g.flow(loss, [outputs[0], outputs[-1]])
assert not any(size.state for size in flow.nodes + flow.sources)
assert [size.node.op for size in flow.nodes] == ["mean", "square", *["add", "sigmoid", "matmul"] * 11]
joined, entered, left = ([size.norm for size in flow.nodes[2 + place :: 3]] for place in range(3))
assert joined == entered
assert max(left) < min(joined) / 3
assert max(joined) < 1.2 * min(joined)
assert 0.4 < (points @ weights[0].data > 0).float().mean() < 0.6  # where the slope of relu is 1
for name, (activation, scale, residual) in variants.items():
    h = points.clone().requires_grad_()
    by_layer = net(h, [scale * each.data for each in weights], activation, residual)
    first, last = torch.autograd.grad(by_layer[-1].square().mean(), [by_layer[0], by_layer[-1]])
    assert abs(ratios[name] / (first.norm() / last.norm()).item() - 1) < 1e-3
found, by_torch = [size.norm for size in flow.sources], [first.norm().item(), last.norm().item()]  # of the fourth
torch.testing.assert_close(found, by_torch, rtol=1e-3, atol=0)
assert 2e-7 < 0.25**11 < 2.5e-7
assert 0.25**11 / 3 < ratios["sigmoid"] < 0.25**11
assert all(0.1 < ratio < 10 for name, ratio in ratios.items() if name != "sigmoid")
grid = torch.linspace(-5, 5, 1001, dtype=torch.float64)
slopes = torch.sigmoid(grid) * (1 - torch.sigmoid(grid))
assert slopes.max() == 0.25
assert grid[slopes.argmax()].abs() < 1e-9
vectors = torch.randn(10_000, 32) @ weights[0].data
assert abs(vectors.square().sum(1).mean().item() / 32 - 1) < 0.1

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** Let `y = x @ w + b` with `x` of shape (4, 3), `w` of shape (3, 2) and `b` of shape (2,). Say what the
# gradient of `y.sum()` by `b` is before you compute it, and its shape.

# %% tags=["solution"]
torch.manual_seed(0)
x, w, b = ts.tensor(torch.randn(4, 3)), ts.tensor(torch.randn(3, 2)), ts.tensor([1.0, 2.0])
with ts.Grad() as g:
    y = (x @ w + b).sum()
print(g.gradient(y, b))
assert g.gradient(y, b).tolist() == [4, 4]

# %% [markdown] tags=["solution"]
# The shape of `b`, (2,). Each entry was used in 4 rows, and each use has the cotangent 1.

# %% [markdown]
# **2.** `f(v) = [v[0] * v[1], v[1] ** 2]` has a Jacobian of two rows. Get the second row with one backward pass. Then
# get `3 * first row - second row` with one.

# %% tags=["solution"]
v = ts.tensor([3.0, 5.0])
with ts.Grad() as g:
    f = torch.stack([v[0] * v[1], v[1] ** 2])
print(g.gradient(f, v, cotangent=torch.tensor([0.0, 1.0])))
print(g.gradient(f, v, cotangent=torch.tensor([3.0, -1.0])))
assert g.gradient(f, v, cotangent=torch.tensor([0.0, 1.0])).tolist() == [0, 2 * 5]
assert g.gradient(f, v, cotangent=torch.tensor([3.0, -1.0])).tolist() == [3 * 5 - 0, 3 * 3 - 2 * 5]

# %% [markdown]
# **3.** Another right order needs no numbers: count, for each node, how many uses it has between it and the target,
# and let it have its turn when as many cotangents have arrived. Write that, and test it on the ladder.

# %% tags=["solution"]
from collections import Counter


def when_all_arrived(target, g):
    uses, found = Counter(), {target}
    search = [target]
    for node in search:  # which grows
        for parent, _ in edges(node):
            uses[parent] += 1
            if parent not in found:
                found.add(parent)
                search.append(parent)
    sums, ready = {target: g}, [target]
    for node in ready:  # which grows
        for parent, pull in edges(node):
            received = pull(sums[node], node.saved)
            sums[parent] = sums[parent] + received if parent in sums else received
            uses[parent] -= 1
            if uses[parent] == 0:
                ready.append(parent)
    return sums


x = ts.tensor(1.0)
with ts.Grad() as g:
    h = ladder(50)
mine = when_all_arrived(h.node, torch.tensor(1.0))[x.node]
leaf = torch.tensor(1.0, requires_grad=True)
value = leaf
for _ in range(50):
    value = value.sin() + value.cos()
value.backward()
torch.testing.assert_close(mine, leaf.grad, rtol=1e-3, atol=0)

# %% [markdown]
# **4.** Can cotangents also *explode*? Take the network with tanh, multiply its weights by 1, 2, 4, 8 and so on up to
# 1024, and print the ratio of the table above. Why does it grow at first, and why is it 0 in the end?

# %% tags=["solution"]
by_scale = {}
for scale in [2**k for k in range(11)]:
    with ts.Grad() as g:
        outputs = net(points, [scale * weight for weight in weights], torch.tanh)
        loss = outputs[-1].square().mean()
    first, last = g.gradient(loss, [outputs[0], outputs[-1]])
    by_scale[scale] = (first.data.norm() / last.data.norm()).item()
    print(f"{scale:5} {by_scale[scale]:.2g}")
assert by_scale[8] > 100 * by_scale[1]
assert by_scale[1024] == 0

# %% [markdown] tags=["solution"]
# A layer multiplies a cotangent by its weights and by the slopes of tanh. Larger weights make the first factor
# larger, and between the last output and the first it is there eleven times. But they also make the values larger
# that tanh is applied to, and there it is flat. In the end almost all slopes are exactly 0 in float32, where tanh is
# 1 or −1, and nothing gets through.

# %% [markdown]
# ## Where to go on
#
# [How are higher orders computed?](higher-orders.md) differentiates the backward pass itself. [When gradients go
# wrong](when-gradients-go-wrong.md) has the other ways in which a gradient becomes zero or worse. [Looking
# inside](../looking.md) describes `g.steps` and `g.flow` in full.
