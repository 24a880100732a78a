# %% [markdown]
# # Your first gradient
#
# Five minutes: the derivative of a function that is written in Python, by one call, and then by a notebook cell that
# differentiates itself.

# %%
import tensorad as ts

x = ts.tensor(6.0)
with ts.Grad() as g:
    y = x**3 + 2 * x
g.gradient(y, x)

# %% [markdown]
# The function is $y = x^3 + 2x$, so its derivative is $3x^2 + 2$, and at $x = 6$ that is $110$. Nothing of this was
# written down as a formula: `ts.tensor` makes a number that can be followed, a `Tensor`; `with ts.Grad() as g` records
# what is computed from it; and `g.gradient(y, x)` goes back through what was recorded, from `y` to `x`.

# %% tags=["check"]
import torch

by_torch = torch.tensor(6.0, requires_grad=True)
(by_torch**3 + 2 * by_torch).backward()
assert g.gradient(y, x).item() == by_torch.grad.item() == 3 * 6**2 + 2
