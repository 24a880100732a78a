# %% [markdown]
# # Train a model on real data
#
# Twenty minutes: how a model of `torch.nn` is trained by tensorad's gradients and torch's optimizer, and what can be
# read from gradients beside a step: which pixels matter, how long a step may be, why a deep model does not train.

# %%
# %load_ext tensorad
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

import tensorad as ts

images, digits = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
images = images.float() / 16
torch.set_num_threads(1)  # the matrices here are small
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
with ts.Grad() as g:
    loss = F.cross_entropy(model(ts.tensor(images)), digits)
g.gradient(loss, model[2].bias)

# %% [markdown]
# This is the gradient of the model's loss by the ten biases of its last layer, one for each digit. It has a meaning
# that can be checked: entry $d$ is the probability that the model gives to digit $d$, on average, minus the share of
# $d$ in the data. Raising the bias of a digit that is predicted too often raises the loss.

# %% tags=["check"]
with torch.no_grad():
    predicted = torch.softmax(model(images), 1).mean(0)
share = torch.bincount(digits, minlength=10) / len(digits)
torch.testing.assert_close(g.gradient(loss, model[2].bias).data, predicted - share, rtol=1e-4, atol=1e-7)

# %% [markdown]
# ## What is in the data?
#
# Scikit-learn comes with 1,797 handwritten digits. An image is 8 by 8 pixels, each between 0 (paper) and 16 (ink),
# which the first cell has divided by 16. This is the first one, in the original numbers:

# %%
print(digits[0])
print((images[0] * 16).int().view(8, 8))

# %% [markdown]
# A zero: follow the large numbers around the empty middle. A quarter of the images is held out. The model is trained
# on the others, and the held-out ones tell later whether it has learned digits or only these images.

# %%
from sklearn.model_selection import train_test_split

x, x_test, y, y_test = train_test_split(images, digits, test_size=0.25, stratify=digits, random_state=0)
print(len(x), "to train on,", len(x_test), "held out")

# %% tags=["check"]
assert len(images) == 1797 == len(x) + len(x_test)
assert digits[0] == 0
assert images.min() == 0
assert images.max() == 1

# %% [markdown]
# ## What must the model be told?
#
# Nothing. It is an ordinary `torch.nn.Sequential`, and its parameters are the sources. Only the images have to be a
# `Tensor`, so that torch hands each of the model's operations to tensorad. A dict of sources gives a dict of
# gradients:

# %%
parameters = dict(model.named_parameters())
with ts.Grad() as g:
    loss = F.cross_entropy(model(ts.tensor(x)), y)
gradients = g.gradient(loss, parameters)
{name: tuple(gradient.shape) for name, gradient in gradients.items()}

# %% [markdown]
# Together these are 2,410 numbers, from one backward pass. To take a step, an optimizer of torch wants them in the
# place where torch's own autograd would have put them, `parameter.grad`:

# %%
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for name, gradient in gradients.items():
    parameters[name].grad = gradient.data
optimizer.step()
print(loss, "before the step,", F.cross_entropy(model(ts.tensor(x)), y), "after it")

# %% [markdown]
# The loss went down a little. A `Tensor` is a wrapper, and `gradient.data` is the `torch.Tensor` inside, which is
# what the optimizer understands. Nothing has to be cleared before the next step: gradients are results here, and
# never add up from one call to the next.

# %% tags=["check"]
torch.manual_seed(0)
twin = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
theirs = torch.autograd.grad(F.cross_entropy(twin(x), y), list(twin.parameters()))
for ours, their in zip(gradients.values(), theirs, strict=True):
    torch.testing.assert_close(ours.data, their, rtol=1e-5, atol=1e-7)
assert sum(p.numel() for p in twin.parameters()) == 64 * 32 + 32 + 32 * 10 + 10 == 2410
with torch.no_grad():
    assert F.cross_entropy(model(x), y) < F.cross_entropy(twin(x), y)

# %% [markdown]
# ## The loop
#
# The rest is repetition. Each epoch goes once through the training images, in batches of 64 in a random order, with a
# step for each batch. Momentum lets a step go on in part where the last one went.


# %%
def train(model, epochs=20):
    parameters = dict(model.named_parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=order).split(64):
            with ts.Grad() as g:
                loss = F.cross_entropy(model(ts.tensor(x[batch])), y[batch])
            for name, gradient in g.gradient(loss, parameters).items():
                parameters[name].grad = gradient.data
            optimizer.step()
            losses.append(loss.item())
    return losses


# %%
import copy

import matplotlib.pyplot as plt

start = copy.deepcopy(model)
losses = train(model)
figure, axes = plt.subplots(figsize=(6, 2.5))
axes.semilogy(losses)
axes.set(xlabel="step", ylabel="loss of the batch")
plt.show()

# %% [markdown]
# The curve starts near $\ln 10 \approx 2.3$, the loss of a model that gives a tenth to every digit, and falls by more
# than a factor of ten. It jitters, as each batch has other images in it. What counts is how many of the held-out
# digits the model gets right:


# %%
def accuracy(model):
    with torch.no_grad():
        return (model(x_test).argmax(1) == y_test).float().mean().item()


print(f"before: {accuracy(start):.2f}, after: {accuracy(model):.2f}")

# %% [markdown]
# More than 95 of 100, from fewer than one in ten before. Had torch's own autograd computed the gradients, the weights
# would be the same, to rounding. The check below runs the loop with `loss.backward()` from the same start, and
# compares all of them.

# %% tags=["check"]
import math

twin, order = copy.deepcopy(start), torch.Generator().manual_seed(0)
optimizer = torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9)
for _ in range(20):
    for batch in torch.randperm(len(x), generator=order).split(64):
        optimizer.zero_grad()
        F.cross_entropy(twin(x[batch]), y[batch]).backward()
        optimizer.step()
for ours, their in zip(model.parameters(), twin.parameters(), strict=True):
    torch.testing.assert_close(ours, their, rtol=1e-3, atol=1e-4)
assert accuracy(model) >= 0.95
assert accuracy(start) < 0.1
assert abs(losses[0] - math.log(10)) < 0.1
assert sum(losses[-20:]) / 20 < losses[0] / 10

# %% [markdown]
# ## How did one bias come to its gradient?
#
# Take one held-out image, a 2, and the score that the trained model gives to "2". `g.explain` is the chain rule of
# this run, from the score to the biases of the first layer. Read it from the top. Each equation has the formula, then
# the shapes, then the numbers, and its factors lead to the rules below.

# %%
image, digit = ts.tensor(x_test[0]), y_test[0]
with ts.Grad() as g:
    scores = model(image)
    score = scores[digit]
g.explain(score, model[0].bias)

# %% [markdown]
# The score is one of ten, so the cotangent of `scores`, the gradient of the score by them, is 1 in one place and 0
# elsewhere. The last layer turns it into row 2 of its weights, counted from 0. The `relu` puts zeros wherever its own
# output was zero: a hidden value that was switched off gets no gradient from this image. A bias is only added, so it
# receives what is left. (`put_at(g, place, shape)` is what the rule of an index does: `g` at that place, zeros
# elsewhere.)

# %% tags=["check"]
assert digit == 2
with torch.no_grad():
    left = model[2].weight[2] * (model[0](x_test[0]) > 0)
torch.testing.assert_close(g.gradient(score, model[0].bias).data, left, rtol=1e-5, atol=1e-7)
torch.testing.assert_close(g.gradient(score, scores).data, F.one_hot(digit, 10).float(), rtol=0, atol=0)

# %% [markdown]
# ## Which pixels matter?
#
# The image was an operand of the first layer too, so the same record answers another question: how does the score
# change with each pixel?

# %%
slopes = g.gradient(score, image)
figure, (left, right) = plt.subplots(1, 2, figsize=(6, 2.5))
left.imshow(image.reshape(8, 8), cmap="gray_r")
left.set_title("the image")
most = slopes.abs().max().item()
shown = right.imshow(slopes.reshape(8, 8), cmap="PuOr", vmin=-most, vmax=most)
right.set_title("gradient of its score")
figure.colorbar(shown, ax=[left, right])
plt.show()
# %% [markdown]
# Where the gradient is positive, more ink makes the image more of a 2 to this model; where it is negative, less of
# one. The bottom of the image, where a 2 has its stroke, counts in favour. This is a statement about small changes of
# one image. How well do they hold if one pixel after the other is changed by 0.1?

# %%
expected = 0.1 * slopes.data
happened = torch.stack([model(ts.tensor(image.data + 0.1 * pixel))[digit].data for pixel in torch.eye(64)]) - score.data
steepest, worst = expected.abs().argmax(), (happened - expected).abs().argmax()
print(f"where the slope is steepest: expected {expected[steepest]:.4f}, happened {happened[steepest]:.4f}")
print(f"where they differ the most:  expected {expected[worst]:.4f}, happened {happened[worst]:.4f}")

# %% [markdown]
# The model consists of linear pieces, as relu does. In the first pixel no relu has switched on or off, and as long as
# that is so, the gradient is right at any distance. In the second one did.

# %% tags=["check"]
with torch.no_grad():
    on = model[0](x_test[0]) > 0
    exactly = (model[2].weight[2] * on) @ model[0].weight
    torch.testing.assert_close(slopes.data, exactly, rtol=1e-4, atol=1e-6)
    switched = [bool(((model[0](x_test[0] + 0.1 * each) > 0) != on).any()) for each in torch.eye(64)]
torch.testing.assert_close(happened[steepest], 0.1 * exactly[steepest], rtol=1e-4, atol=0)
assert not switched[steepest]
assert switched[worst]
assert exactly.view(8, 8)[6, 2:7].min() > 0  # the stroke at the bottom

# %% [markdown]
# ## How long may a step be?
#
# Let $v$ be the gradient of the loss by all parameters. A step subtracts $t\,v$ from them. To first order the loss is
# then $L - t\,|v|^2$, which falls for ever as $t$ grows. The next term of the series says when it stops falling:
#
# $$L(t) \approx L - t\,|v|^2 + \tfrac{1}{2}\,t^2\,v^\top H v$$
#
# $H$ is the matrix of second derivatives, with 2,410 rows and columns. But only $Hv$ is needed, and that is the
# gradient of $v \cdot c$ with $c = v$ held constant (Pearlmutter 1994). So the gradient is computed inside a second
# context, and differentiated again:

# %%
parameters = dict(model.named_parameters())
with ts.Grad() as g2:
    with ts.Grad() as g1:
        loss = F.cross_entropy(model(ts.tensor(x)), y)
    v = g1.gradient(loss, parameters)
    dot = sum((v[name] * v[name].detach()).sum() for name in v)
Hv = g2.gradient(dot, parameters)
bend = sum((Hv[name] * v[name]).sum() for name in v)

# %%
print("t    line    parabola  really")
for t in (0.0, 0.1, 0.5, 1.0, 2.0):
    moved = {name: parameters[name] - t * v[name] for name in v}
    really = F.cross_entropy(ts.functional_call(model, moved, ts.tensor(x)), y).item()
    line = (loss - t * dot).item()
    parabola = line + t**2 / 2 * bend.item()
    print(f"{t}  {line:.4f}  {parabola:.4f}    {really:.4f}")
print(f"the parabola is lowest at t = {(dot / bend).item():.1f}")

# %% [markdown]
# The line promises less and less loss. The parabola follows what really happens: a short step helps, and a step with
# $t = 2$ is worse than none. At its lowest point, $t = |v|^2 / v^\top H v$, going on in this direction stops helping.
# That is how long this step may be.

# %% tags=["check"]
twin = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}


def their_loss(parameters):
    return F.cross_entropy(torch.func.functional_call(model, parameters, (x,)), y)


first = torch.autograd.grad(their_loss(twin), list(twin.values()), create_graph=True)
product = torch.autograd.grad(sum((d * d.detach()).sum() for d in first), list(twin.values()))
for name, d, h in zip(twin, first, product, strict=True):
    torch.testing.assert_close(v[name].data, d.detach(), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(Hv[name].data, h, rtol=1e-3, atol=1e-5)
with torch.no_grad():
    after = {t: their_loss({n: p - t * d for (n, p), d in zip(twin.items(), first, strict=True)}) for t in (0, 0.1, 2)}
assert after[0.1] < after[0] < after[2]
squares = sum((d * d).sum() for d in first)
theirs = squares / sum((h * d).sum() for h, d in zip(product, first, strict=True))
torch.testing.assert_close((dot / bend).data, theirs.detach(), rtol=1e-2, atol=0)

# %% [markdown]
# ## A model that does not train
#
# Now ten hidden layers, with the sigmoid between them. One switch, `skip`, adds the input of a layer to its output;
# it is off at first.


# %%
class Layer(torch.nn.Module):
    def __init__(self, skip):
        super().__init__()
        self.linear = torch.nn.Linear(32, 32)
        self.skip = skip

    def forward(self, x):
        out = torch.sigmoid(self.linear(x))
        return x + out if self.skip else out


# %%
def deep(skip):
    torch.manual_seed(0)
    first = torch.nn.Linear(64, 32), torch.nn.Sigmoid()
    return torch.nn.Sequential(*first, *[Layer(skip) for _ in range(9)], torch.nn.Linear(32, 10))


def recorded(model):
    with ts.Grad() as g:
        loss = F.cross_entropy(model(ts.tensor(x)), y)
    return g, loss


plain = deep(skip=False)
g, loss = recorded(plain)
g.graph(loss)

# %% [markdown]
# A graph of this size is folded: each round of the loop over the layers is a group, named after the module that did
# the work. Click on one to unfold it. Then train the model as before:

# %%
losses = train(plain)
print(f"last loss: {losses[-1]:.2f}, accuracy: {accuracy(plain):.2f}")

# %% [markdown]
# The accuracy is that of a guess, and the loss is still close to $\ln 10$. The model has learned nothing about the
# images. Why not?

# %% tags=["check"]
assert accuracy(plain) < 0.2
assert abs(losses[-1] - math.log(10)) < 0.1

# %% [markdown]
# ## Watch the gradients flow
#
# `g.flow` follows the size of the cotangents on their way back from the loss, in the upper picture from left to
# right. Below it are the gradients by the weights, the first layer on top. This is an untrained copy of the model:


# %%
def weights(model):
    return {name: p for name, p in model.named_parameters() if p.ndim == 2}


plain = deep(skip=False)
g, loss = recorded(plain)
g.flow(loss, weights(plain))

# %% [markdown]
# The scale is logarithmic, so the straight line down means a constant factor for each layer, here about $1/7$. Two
# things make it. The slope of the sigmoid is at most $1/4$. And torch draws the 32 by 32 weights evenly from between
# $-1/\sqrt{32}$ and $1/\sqrt{32}$, which shortens a cotangent to about $1/\sqrt{3}$ of its length. Together that is
# about $1/7$, and over nine layers it leaves the first less than a ten-millionth of what the last of them gets. This
# is the vanishing gradient that Hochreiter described in 1991. Forward, the same factors damp the differences between
# images, so the scores hardly depend on the image either.

# %% tags=["check"]
twin = deep(skip=False)
F.cross_entropy(twin(x), y).backward()
sizes = [layer.linear.bias.grad.norm().item() for layer in twin[2:11]]
assert all(1 / 10 < sizes[i] / sizes[i + 1] < 1 / 4.5 for i in range(8))
assert abs((sizes[0] / sizes[-1]) ** (1 / 8) - 1 / 7) < 0.02
assert abs(1 / 4 / math.sqrt(3) - 1 / 7) < 0.002
first, last = twin[0].weight.grad.norm().item(), twin[10].linear.weight.grad.norm().item()
assert first / last < 1e-7
with torch.no_grad():
    torch.testing.assert_close(twin(x).std(0), torch.zeros(10), rtol=0, atol=1e-6)

# %% [markdown]
# ## One plus sign
#
# With `skip` on, a layer computes $x + \sigma(Wx + b)$. Backwards, an addition hands its cotangent on to both
# operands, so one path goes through all layers with the factor 1. The starting weights are the same.

# %%
residual = deep(skip=True)
g, loss = recorded(residual)
g.flow(loss, weights(residual))

# %% [markdown]
# The upper line goes down into each layer and comes back, but it no longer sinks. This is the idea of residual
# networks (He et al. 2015). Does it train?

# %%
losses = train(residual)
print(f"last loss: {losses[-1]:.2f}, accuracy: {accuracy(residual):.2f}")

# %% tags=["check"]
twin = deep(skip=True)
assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), deep(skip=False).parameters(), strict=True))
F.cross_entropy(twin(x), y).backward()
sizes = [layer.linear.bias.grad.norm().item() for layer in twin[2:11]]
assert max(sizes) / min(sizes) < 3
assert accuracy(residual) > 0.85

# %% [markdown]
# It does, by the same loop, the same number of steps and the same rate. And afterwards?

# %%
g, loss = recorded(residual)
g.flow(loss, weights(residual))

# %% [markdown]
# The gradients are smaller now all along, since the loss is: there is little left to correct. But no layer is left
# behind. Small everywhere, and small towards the input, are two different things.

# %% tags=["check"]
trained = copy.deepcopy(residual)
trained.zero_grad()
F.cross_entropy(trained(x), y).backward()
after = [layer.linear.weight.grad.norm().item() for layer in trained[2:11]]
before = [layer.linear.weight.grad.norm().item() for layer in twin[2:11]]
assert all(a < b for a, b in zip(after, before, strict=True))
assert max(after) / min(after) < 30

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** Weight decay adds $0.001 \sum_i p_i^2$ over all parameters $p$ to the loss, so that they stay small. Add it
# to the loss of `model`. What does it add to the gradient by `0.weight`? (`p` is a tensor of torch; `ts.square(p)` is
# recorded, as a function of tensorad.)

# %% tags=["solution"]
parameters = dict(model.named_parameters())
with ts.Grad() as g:
    loss = F.cross_entropy(model(ts.tensor(x)), y)
    decayed = loss + 0.001 * sum(ts.square(p).sum() for p in parameters.values())
added = g.gradient(decayed, parameters)["0.weight"] - g.gradient(loss, parameters)["0.weight"]
torch.testing.assert_close(added.data, 0.002 * model[0].weight.detach(), rtol=1e-3, atol=1e-6)
# Each weight gets 0.002 times itself on top, so each step takes the same small part of it away.

# %% [markdown]
# **2.** The gradient by the images can be used against the model (Goodfellow et al. 2014). Move every pixel of every
# held-out image by 1/8 in the direction in which the loss grows: add `gradient.data.sign() / 8`. How many does the
# model still get right? And if each pixel moves by 1/8 up or down at random?

# %% tags=["solution"]
pixels = ts.tensor(x_test)
with ts.Grad() as g:
    loss = F.cross_entropy(model(pixels), y_test)
against = g.gradient(loss, pixels).data.sign()
torch.manual_seed(0)
at_random = torch.randn_like(x_test).sign()
with torch.no_grad():
    right = {
        name: (model(x_test + signs / 8).argmax(1) == y_test).float().mean().item()
        for name, signs in [("against", against), ("at random", at_random)]
    }
assert right["against"] < 0.5
assert right["at random"] > 0.85
print({name: round(share, 2) for name, share in right.items()})

# %% [markdown]
# **3.** Adam divides each parameter's step by the size that its gradients have had, so that small gradients make
# steps as long as large ones. Does it train `deep(skip=False)`? Use `torch.optim.Adam(..., lr=0.003)` for 10 epochs.
# Which sentence of this tutorial explains what you find?

# %% tags=["solution"]
plain = deep(skip=False)
parameters = dict(plain.named_parameters())
optimizer = torch.optim.Adam(plain.parameters(), lr=0.003)
for _ in range(10):
    for batch in torch.randperm(len(x)).split(64):
        with ts.Grad() as g:
            loss = F.cross_entropy(plain(ts.tensor(x[batch])), y[batch])
        for name, gradient in g.gradient(loss, parameters).items():
            parameters[name].grad = gradient.data
        optimizer.step()
assert accuracy(plain) < 0.2
print(f"loss: {loss.item():.2f}, accuracy: {accuracy(plain):.2f}")

# %% [markdown] tags=["solution"]
# It does not, in that time. Longer steps are not enough: forward, the differences between images are damped as well,
# so the gradient has little to say about how to tell them apart.

# %% [markdown]
# **4.** Along its sharpest direction the loss bends most, by the eigenvalue $\lambda$ of $H$ that is largest in size.
# Multiply a random vector by $H$ again and again, scaled to length 1 each time, and it turns into that direction.
# Find $\lambda$ for the trained `model`, and check that $Hq = \lambda q$ for the $q$ that you end with. For a
# function `f` of the parameters, `ts.hvp(f, (parameters,), (q,))` is $Hq$.


# %% tags=["solution"]
def f(parameters):
    return F.cross_entropy(ts.functional_call(model, parameters, ts.tensor(x)), y)


parameters = dict(model.named_parameters())
torch.manual_seed(0)
Hq = {name: torch.randn_like(p) for name, p in parameters.items()}
for _ in range(30):
    length = sum((part**2).sum() for part in Hq.values()) ** 0.5
    q = {name: part / length for name, part in Hq.items()}
    Hq = ts.hvp(f, (parameters,), (q,))
eigenvalue = sum((Hq[name] * q[name]).sum() for name in q)
rest = sum(((Hq[name] - eigenvalue * q[name]) ** 2).sum() for name in q) ** 0.5
assert rest < 0.01 * eigenvalue
eigenvalue

# %% [markdown] tags=["solution"]
# Plain gradient descent, near a minimum that bends like this, swings out further with every step if the rate is above
# $2/\lambda$.

# %% [markdown]
# ## Where to go on
#
# - [When gradients go wrong](when-gradients-go-wrong.md): zeros, NaN, values that were changed, and how to find them.
# - [How gradients propagate](gradients-flow.md): why a cotangent vanishes, op by op.
# - [Derivatives of functions](../functions.md): `ts.hvp`, `ts.checkpoint` and their like, for models of any size.
