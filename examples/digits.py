"""The demo: a third power differentiated twice, then handwritten digits classified by tensorad's gradients.

The update of the parameters is written out by hand, and the gradients of every step are compared with torch.autograd's.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import tensorad as ts

EPOCHS, BATCH, HIDDEN = 30, 64, 64
LEARNING_RATE, MOMENTUM = 0.1, 0.9


def third_power() -> None:
    """Print x**3 and its first two derivatives at 6."""
    x = ts.tensor(6.0)
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = x**3
            dx = g1.gradient(y, [x])
        d2x = g2.gradient(dx, [x])
    print(y, dx, d2x)


def digits() -> list[torch.Tensor]:
    """The 8x8 images that scikit-learn ships: training images, test images, training labels, test labels."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, labels, test_size=0.25, stratify=labels, random_state=0)
    return [torch.as_tensor(part) for part in parts]


def initial(sizes: list[int], generator: torch.Generator) -> dict[str, ts.Tensor]:
    """Random weights and zero biases of the layers between `sizes`."""
    params = {}
    for i, (n, m) in enumerate(pairwise(sizes), start=1):
        weight = torch.randn(m, n, generator=generator, dtype=torch.float64) * (2 / n) ** 0.5
        params[f"weight{i}"] = ts.tensor(weight)
        params[f"bias{i}"] = ts.tensor(torch.zeros(m, dtype=torch.float64))
    return params


def logits_of(params, images) -> Any:
    """A score for each image and each of the ten digits. The parameters may be tensorad's Tensors or torch's."""
    hidden = torch.relu(F.linear(images, params["weight1"], params["bias1"]))
    return F.linear(hidden, params["weight2"], params["bias2"])


def loss_of(params, images, labels) -> Any:
    """The mean cross entropy of a batch."""
    return F.cross_entropy(logits_of(params, images), labels)


def difference(grads, params, images, labels) -> torch.Tensor:
    """The largest absolute difference of `grads` from what torch.autograd finds at the same parameters and batch."""
    leaves = {name: p.data.clone().requires_grad_() for name, p in params.items()}
    theirs = torch.autograd.grad(loss_of(leaves, images, labels), list(leaves.values()))
    return torch.stack([(grads[name].data - g).abs().max() for name, g in zip(leaves, theirs, strict=True)]).max()


def main() -> None:
    """Run the demo."""
    third_power()

    train_images, test_images, train_labels, test_labels = digits()
    generator = torch.Generator().manual_seed(0)
    params = initial([train_images.shape[1], HIDDEN, 10], generator)
    velocity = {name: ts.zeros_like(p) for name, p in params.items()}
    differences = []

    with tqdm(range(EPOCHS), desc="training", unit="epoch") as bar:
        for _ in bar:
            for batch in torch.randperm(len(train_images), generator=generator).split(BATCH):
                images, labels = train_images[batch], train_labels[batch]

                with ts.Grad() as g:
                    loss = loss_of(params, images, labels)
                grads = g.gradient(loss, params)
                differences.append(difference(grads, params, images, labels))

                for name in params:
                    velocity[name] = MOMENTUM * velocity[name] + grads[name]
                    params[name] = params[name] - LEARNING_RATE * velocity[name]

            bar.set_postfix(loss=f"{loss_of(params, train_images, train_labels).item():.4f}")

    guesses = logits_of(params, test_images).data.argmax(dim=1)
    accuracy = (guesses == test_labels).double().mean().item()
    largest = torch.stack(differences).max().item()
    print(f"accuracy on {len(test_labels)} test images: {accuracy:.1%}")
    print(f"largest difference from torch.autograd's gradients, over {len(differences)} steps: {largest:.1e}")


if __name__ == "__main__":
    main()
