"""How long tensorad takes, beside torch.autograd, HIPS autograd, MyGrad and JAX (eager, without jit), on one thread.

Every engine runs the same program on the same numbers, its gradients are first checked against torch's, and the engines
then take turns: a row's ratio is the median, over the turns, of tensorad's time divided by the other's. Below 1.00
tensorad is the faster one. Python's garbage collector stays on, as in users' programs. Engines that are not installed
are left out.
"""

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["KINETO_LOG_LEVEL"] = "9"  # torch's profiler, used for the memory rows, says nothing

import argparse
import gc
import importlib
import importlib.metadata
import importlib.util
import itertools
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import torch.utils.checkpoint

import tensorad as ts

torch.set_num_threads(1)
LENGTH = 999  # ops in a chain


# The programs: each is written once for torch's functions (run by torch and by tensorad), and once for NumPy's.


class Program(NamedTuple):
    """A program for every engine: `for_torch(params, *constants)` and `for_arrays(numpy, params, *constants)`.

    Without the second, it is one that NumPy has no functions for, and only torch is compared with.
    """

    for_torch: Callable[..., Any]
    for_arrays: Any  # such a function, or None
    params: list[torch.Tensor]  # what is differentiated
    constants: list[torch.Tensor]


def chain(*shape: int, functions: bool = False) -> Program:
    """LENGTH ops in a row: times a constant, sine, plus the input. `functions`: by torch.sin(y), not y.sin()."""

    def with_methods(params: Any, c: Any) -> Any:
        (x,) = params
        y = x
        for _ in range(LENGTH // 3):
            y = (y * c).sin() + x
        return y

    def with_functions(np: Any, params: Any, c: Any) -> Any:
        (x,) = params
        y = x
        for _ in range(LENGTH // 3):
            y = np.sin(y * c) + x
        return y

    for_torch = partial(with_functions, torch) if functions else with_methods
    return Program(for_torch, with_functions, [random(*shape)], [torch.tensor(1.01)])


def mlp(width: int, batch: int = 64) -> Program:
    """The loss of three linear layers of `width`, with relu between them and a cross entropy over ten classes."""

    def for_torch(params: Any, x: Any, labels: Any) -> Any:
        w1, b1, w2, b2, w3, b3 = params
        x = F.relu(F.linear(x, w1, b1))
        x = F.relu(F.linear(x, w2, b2))
        return F.cross_entropy(F.linear(x, w3, b3), labels)

    def for_arrays(np: Any, params: Any, x: Any, labels: Any) -> Any:
        w1, b1, w2, b2, w3, b3 = params
        x = np.maximum(np.matmul(x, w1.T) + b1, 0)
        x = np.maximum(np.matmul(x, w2.T) + b2, 0)
        x = np.matmul(x, w3.T) + b3
        picked = x[list(range(batch)), labels.tolist()]
        return np.mean(np.log(np.sum(np.exp(x), axis=1)) - picked)  # the logits are small: no shift by their maximum

    sizes = [width, width, width, 10]
    shapes = [shape for n, m in itertools.pairwise(sizes) for shape in ((m, n), (m,))]
    params = [random(*shape) / math.sqrt(width) for shape in shapes]
    return Program(for_torch, for_arrays, params, [random(batch, width), torch.arange(batch) % 10])


def block(batch: int = 4, time: int = 16, width: int = 64, heads: int = 4) -> Program:
    """The loss of a transformer block: layer norm, attention, layer norm, two linear layers with gelu between."""
    split = (batch, time, heads, width // heads)

    def for_torch(params: Any, x: Any, target: Any) -> Any:
        scale1, shift1, w_qkv, b_qkv, w_out, b_out, scale2, shift2, w_up, b_up, w_down, b_down = params
        qkv = F.linear(F.layer_norm(x, (width,), scale1, shift1), w_qkv, b_qkv)
        q, k, v = [part.reshape(split).transpose(1, 2) for part in qkv.chunk(3, dim=-1)]
        weights = F.softmax(torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(width // heads), dim=-1)
        mixed = torch.matmul(weights, v).transpose(1, 2).reshape(batch, time, width)
        x = x + F.linear(mixed, w_out, b_out)
        h = F.layer_norm(x, (width,), scale2, shift2)
        x = x + F.linear(F.gelu(F.linear(h, w_up, b_up), approximate="tanh"), w_down, b_down)
        return F.mse_loss(x, target)

    def for_arrays(np: Any, params: Any, x: Any, target: Any) -> Any:
        scale1, shift1, w_qkv, b_qkv, w_out, b_out, scale2, shift2, w_up, b_up, w_down, b_down = params

        def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
            x = x - np.mean(x, axis=-1, keepdims=True)
            return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-5) * scale + shift

        def gelu(x: Any) -> Any:
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))

        qkv = np.matmul(layer_norm(x, scale1, shift1), w_qkv.T) + b_qkv
        parts = [qkv[..., :width], qkv[..., width : 2 * width], qkv[..., 2 * width :]]
        q, k, v = [np.transpose(np.reshape(part, split), (0, 2, 1, 3)) for part in parts]
        weights = np.exp(np.matmul(q, np.transpose(k, (0, 1, 3, 2))) / math.sqrt(width // heads))
        weights = weights / np.sum(weights, axis=-1, keepdims=True)
        mixed = np.reshape(np.transpose(np.matmul(weights, v), (0, 2, 1, 3)), (batch, time, width))
        x = x + np.matmul(mixed, w_out.T) + b_out
        h = layer_norm(x, scale2, shift2)
        x = x + np.matmul(gelu(np.matmul(h, w_up.T) + b_up), w_down.T) + b_down
        return np.mean((x - target) * (x - target))

    norm = [torch.ones(width), torch.zeros(width)]
    attention = [*norm, *linear(width, 3 * width), *linear(width, width)]
    feedforward = [*norm, *linear(width, 4 * width), *linear(4 * width, width)]
    params = [*attention, *feedforward]
    return Program(for_torch, for_arrays, params, [random(batch, time, width), random(batch, time, width)])


def convolutions(batch: int = 16, channels: int = 16, size: int = 16) -> Program:
    """The loss of two convolutions, each with batch norm, relu and pooling, and a linear layer over ten classes."""

    def for_torch(params: Any, x: Any, labels: Any) -> Any:
        w1, scale1, shift1, w2, scale2, shift2, w3, b3 = params
        x = F.relu(F.batch_norm(F.conv2d(x, w1, padding=1), None, None, scale1, shift1, training=True))
        x = F.max_pool2d(x, 2)
        x = F.relu(F.batch_norm(F.conv2d(x, w2, padding=1), None, None, scale2, shift2, training=True))
        return F.cross_entropy(F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), w3, b3), labels)

    norm = [torch.ones(channels), torch.zeros(channels)]
    first, second = random(channels, 3, 3, 3), random(channels, channels, 3, 3)
    params = [first, *norm, second, *norm, *linear(channels, 10)]
    return Program(for_torch, None, params, [random(batch, 3, size, size), torch.arange(batch) % 10])


def attention(batch: int = 4, time: int = 64, width: int = 64, heads: int = 4) -> Program:
    """The loss of causal self-attention, by torch's function for it, between two linear layers."""

    def for_torch(params: Any, x: Any, target: Any) -> Any:
        w_qkv, b_qkv, w_out, b_out = params
        qkv = F.linear(x, w_qkv, b_qkv).chunk(3, dim=-1)
        q, k, v = [part.reshape(batch, time, heads, width // heads).transpose(1, 2) for part in qkv]
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return F.mse_loss(F.linear(mixed.transpose(1, 2).reshape(batch, time, width), w_out, b_out), target)

    params = [*linear(width, 3 * width), *linear(width, width)]
    return Program(for_torch, None, params, [random(batch, time, width), random(batch, time, width)])


def lstm(batch: int = 16, time: int = 32, width: int = 64) -> Program:
    """The loss of an LSTM of two layers, by torch's function for it."""

    def for_torch(params: Any, x: Any, target: Any) -> Any:
        start = torch.zeros(2, batch, width)
        outputs, _, _ = torch.lstm(x, (start, start), list(params), True, 2, 0.0, True, False, False)
        return F.mse_loss(outputs, target)

    shapes = [(4 * width, width), (4 * width, width), (4 * width,), (4 * width,)] * 2
    params = [random(*shape) / math.sqrt(width) for shape in shapes]
    return Program(for_torch, None, params, [random(time, batch, width), random(time, batch, width)])


def network(width: int, layers: int = 3) -> Program:
    """A function of a vector with a vector for its value: `layers` times a matrix and tanh, plus the square."""

    def for_torch(params: Any, *weights: Any) -> Any:
        (x,) = params
        y = x
        for weight in weights:
            y = torch.tanh(y @ weight) + y * y
        return y

    weights = [random(width, width) / math.sqrt(width) for _ in range(layers)]
    return Program(for_torch, None, [random(width)], weights)


def deep(blocks: int = 16, steps: int = 16, size: int = 2**16) -> Program:
    """A deep chain of blocks that a checkpoint can go around: `for_torch(params, checkpoint)`."""

    def block(x: Any) -> Any:
        for _ in range(steps):
            x = x.sin()
        return x

    def for_torch(params: Any, checkpoint: Any) -> Any:
        (x,) = params
        for _ in range(blocks):
            x = checkpoint(block, x)
        return x

    return Program(for_torch, None, [random(size)], [])


def linear(n: int, m: int) -> list[torch.Tensor]:
    """The weights of a linear layer."""
    return [random(m, n) / math.sqrt(n), torch.zeros(m)]


def random(*shape: int) -> torch.Tensor:
    """Numbers between -1/2 and 1/2: the same ones in every run."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(math.prod(shape))) - 0.5


# The engines: how each runs a program without recording, takes its gradient, and the gradient of its gradient. What is
# not a scalar is seeded with ones.


class Tensorad:
    """This engine."""

    name, module = "tensorad", "tensorad"

    def __init__(self, program: Program) -> None:
        self.params = [ts.tensor(param) for param in program.params]
        self.run = lambda *params: program.for_torch(params, *program.constants)

    def forward(self) -> Any:
        return self.run(*self.params)

    def gradient(self) -> Any:
        with ts.Grad() as g:
            y = self.run(*self.params)
        return g.gradient(y, self.params)

    def second(self) -> Any:
        with ts.Grad() as g2:
            with ts.Grad() as g1:
                y = self.run(*self.params)
            dx = g1.gradient(y, self.params)
        return g2.gradient(dx, self.params)

    def jacobian(self) -> Any:
        return ts.jacobian(self.run)(*self.params)

    def hessian(self) -> Any:
        return ts.hessian(lambda x: self.run(x).sum())(*self.params)

    def jvp(self) -> Any:
        return ts.jvp(self.run, self.params, self.params)[1]

    def hvp(self) -> Any:
        return ts.hvp(lambda x: self.run(x).sum(), self.params, self.params)


class Torch:
    """torch's own autograd."""

    name, module = "torch.autograd", "torch"

    def __init__(self, program: Program) -> None:
        self.params = [param.clone().requires_grad_() for param in program.params]
        self.run = lambda *params: program.for_torch(params, *program.constants)

    def forward(self) -> Any:
        with torch.no_grad():
            return self.run(*self.params)

    def gradient(self) -> Any:
        y = self.run(*self.params)
        return torch.autograd.grad(y, self.params, torch.ones_like(y))

    def second(self) -> Any:
        y = self.run(*self.params)
        (dx,) = torch.autograd.grad(y, self.params, torch.ones_like(y), create_graph=True)
        return torch.autograd.grad(dx, self.params, torch.ones_like(dx))


class TorchFunc:
    """torch.func: the derivatives of functions."""

    name, module = "torch.func", "torch"

    def __init__(self, program: Program) -> None:
        self.params = tuple(param.clone() for param in program.params)
        self.run = lambda *params: program.for_torch(params, *program.constants)
        self.scalar = lambda x: self.run(x).sum()

    def jacobian(self) -> Any:
        return torch.func.jacrev(self.run)(*self.params)

    def hessian(self) -> Any:
        return torch.func.hessian(self.scalar)(*self.params)

    def jvp(self) -> Any:
        return torch.func.jvp(self.run, self.params, self.params)[1]

    def hvp(self) -> Any:
        return torch.func.jvp(torch.func.grad(self.scalar), self.params, self.params)[1]


def array(tensor: torch.Tensor) -> Any:
    """A numpy array of its own: a tensor that shares memory with numpy is one that tensorad has to copy at every op."""
    return tensor.clone().numpy().copy()


class Hips:
    """HIPS autograd, on NumPy."""

    name, module = "HIPS autograd", "autograd"

    def __init__(self, program: Program) -> None:
        self.autograd, self.numpy = importlib.import_module("autograd"), importlib.import_module("autograd.numpy")
        self.params = [array(param) for param in program.params]
        constants = [array(constant) for constant in program.constants]
        self.run = lambda *params: program.for_arrays(self.numpy, params, *constants)

    def forward(self) -> Any:
        return self.run(*self.params)

    def gradient(self) -> Any:
        pull, y = self.autograd.make_vjp(self.run, tuple(range(len(self.params))))(*self.params)
        return pull(self.numpy.ones_like(y))

    def second(self) -> Any:
        return self.autograd.elementwise_grad(self.autograd.elementwise_grad(self.run))(*self.params)


class MyGrad:
    """MyGrad, on NumPy; first order only."""

    name, module = "MyGrad", "mygrad"

    def __init__(self, program: Program) -> None:
        self.mygrad = importlib.import_module("mygrad")
        self.params = [self.mygrad.tensor(array(param)) for param in program.params]
        constants = [array(constant) for constant in program.constants]
        self.run = lambda *params: program.for_arrays(self.mygrad, params, *constants)

    def forward(self) -> Any:
        with self.mygrad.no_autodiff:
            return self.run(*self.params).data

    def gradient(self) -> Any:
        self.run(*self.params).backward()
        return [param.grad for param in self.params]


class Jax:
    """JAX op by op, without jit."""

    name, module = "JAX", "jax"

    def __init__(self, program: Program) -> None:
        self.jax, self.numpy = importlib.import_module("jax"), importlib.import_module("jax.numpy")
        self.params = [self.numpy.asarray(array(param)) for param in program.params]
        constants = [self.numpy.asarray(array(constant)) for constant in program.constants]
        self.run = lambda *params: program.for_arrays(self.numpy, params, *constants)

    def forward(self) -> Any:
        return self.jax.block_until_ready(self.run(*self.params))

    def gradient(self) -> Any:
        return self.jax.block_until_ready(self.pulled(self.run, *self.params))

    def second(self) -> Any:
        return self.jax.block_until_ready(self.pulled(lambda x: self.pulled(self.run, x)[0], *self.params))

    def pulled(self, run: Callable[..., Any], *params: Any) -> Any:
        y, pull = self.jax.vjp(run, *params)
        return pull(self.numpy.ones_like(y))


OTHERS = [engine for engine in (Torch, TorchFunc, Hips, MyGrad, Jax) if importlib.util.find_spec(engine.module)]


# The measurements. Each gives a row of the table: what tensorad took, and its ratio to each of the others.


class Row(NamedTuple):
    """`own`: what tensorad took, with its unit. `ratios`: the same over what each of the others took, by engine."""

    own: str
    ratios: dict[str, float]


class Effort(NamedTuple):
    """How much is measured: at most so many turns, and, after the third, for at most so many seconds."""

    turns: int
    seconds: float


def compare(task: str, program: Program, effort: Effort) -> Row:
    """The time of `task`, a method of the engines, on `program`: against one engine after the other, in turns."""
    torchs = Tensorad, Torch, TorchFunc
    engines = [engine for engine in (Tensorad, *OTHERS) if program.for_arrays or engine in torchs]
    steps = {engine.name: getattr(engine(program), task) for engine in engines if hasattr(engine, task)}
    own = steps.pop("tensorad")
    expected = numbers(own())
    times: list[float] = []
    ratios: dict[str, float] = {}
    for name, other in steps.items():
        for result, right in zip(numbers(other()), expected, strict=True):
            assert torch.dist(result, right) <= 1e-3 * torch.norm(right), f"{name} and tensorad disagree"
        pairs = [(seconds(own), seconds(other)) for _ in turns(effort)]
        times += [mine for mine, _ in pairs]
        ratios[name] = statistics.median(mine / theirs for mine, theirs in pairs)
    return Row(f"{statistics.median(times) * 1e3:.3g} ms", ratios)


def turns(effort: Effort) -> Iterator[None]:
    """Go on until the effort is spent; before each turn, clear away what cyclic garbage the last one left to others."""
    gc.collect()
    gc.freeze()
    start = time.perf_counter()
    for turn in range(effort.turns):
        if turn < 3 or time.perf_counter() - start < effort.seconds:
            gc.collect()
            yield
    gc.unfreeze()


def numbers(result: Any) -> list[torch.Tensor]:
    """The arrays in what a step returned, as torch tensors."""
    values = result if isinstance(result, list | tuple) else [result]
    return [
        torch.as_tensor(value.data if isinstance(value, ts.Tensor) else value.tolist()).detach() for value in values
    ]


def seconds(step: Callable[[], Any]) -> float:
    """The time that one call takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def in_gradients(task: str, program: Program, effort: Effort) -> Row:
    """As `compare`, and how many times as long it takes as the gradient of the same function."""
    engine = Tensorad(program)
    step, gradient = getattr(engine, task), engine.gradient
    ratio = statistics.median(seconds(step) / seconds(gradient) for _ in turns(effort))
    row = compare(task, program, effort)
    return row._replace(own=f"{row.own}, {ratio:.1f} gradients")


def nodes(count: int, effort: Effort) -> Row:
    """The time of the backward pass alone, over a recorded chain of `count` ops, per op."""
    x = ts.tensor(0.7)
    with ts.Grad() as g:
        y = x
        for _ in range(count // 2):
            y = (y * 1.01).sin()
    took = statistics.median(seconds(lambda: g.gradient(y, x)) for _ in range(min(effort.turns, 10**6 // count)))
    return Row(f"{took / count * 1e6:.2f} us per op", {})


def memory(batch: int, effort: Effort) -> Row:
    """The peak memory of a training step at width 512, on top of the weights and the batch."""
    code = "import bench; print(bench.peak(bench.{}(bench.mlp(512, {})).gradient))"
    own, other = (int(in_new_process(code.format(engine.__name__, batch))) for engine in (Tensorad, Torch))
    return Row(f"{own / 2**20:.2f} MiB", {"torch.autograd": own / other})


def checkpoints(effort: Effort) -> Row:
    """The peak memory of forward and backward pass through a deep chain of checkpoints, and without them."""
    code = "import bench; print(bench.peak(bench.checkpointed(bench.{}, {})))"
    cases = (Tensorad, True), (Torch, True), (Tensorad, False)
    own, other, plain = (int(in_new_process(code.format(engine.__name__, case))) for engine, case in cases)
    return Row(f"{own / 2**20:.2f} MiB, {own / plain:.2f} of that without", {"torch.autograd": own / other})


def checkpointed(kind: Callable[[Program], Any], use: bool) -> Callable[[], Any]:
    """The gradient of `deep` by an engine, with its own checkpoints or without."""
    program = deep()

    def wrap(block: Any, x: Any) -> Any:
        if not use:
            return block(x)
        if kind is Tensorad:
            return ts.checkpoint(block)(x)
        return torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)

    return kind(program._replace(for_torch=lambda params: program.for_torch(params, wrap))).gradient


def peak(step: Callable[[], Any]) -> int:
    """The most bytes that were live at once in a training step, beyond those that were live before it.

    Counted from torch's profiler, which notes every block that torch's CPU allocator hands out or takes back, with its
    size: exact, and the same in every run. What the operating system reports (ru_maxrss) depends on how malloc keeps
    freed blocks, and hides a step that stays below an earlier peak, such as that of `import torch`. Python's own
    objects (nodes, wrappers) are not counted: they are a few kilobytes here.
    """
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = step()
    profiler: Any = profile.profiler
    events = sorted(profiler.kineto_results.events(), key=lambda event: event.start_ns())
    changes = [event.nbytes() for event in events if event.name() == "[memory]"]
    del result
    return max(itertools.accumulate(changes))


def importing(effort: Effort) -> Row:
    """The time of `import tensorad` where torch is imported already, in new processes."""
    code = "import time, torch; start = time.perf_counter(); import tensorad; print(time.perf_counter() - start)"
    took = statistics.median(float(in_new_process(code)) for _ in range(min(effort.turns, 7)))
    return Row(f"{took * 1e3:.1f} ms", {})


def in_new_process(code: str) -> str:
    """What `code` prints, run by a new interpreter in this folder."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=Path(__file__).parent, check=True, stdout=subprocess.PIPE, text=True).stdout


# name -> (what the table calls it, the measurement)
BENCHMARKS: dict[str, tuple[str, Callable[[Effort], Row]]] = {
    "chain": (f"{LENGTH} scalar ops", partial(compare, "gradient", chain())),
    "chain-functions": (
        f"{LENGTH} scalar ops, torch.sin(y) for y.sin()",
        partial(compare, "gradient", chain(functions=True)),
    ),
    "chain-64": (f"{LENGTH} ops on 64x64", partial(compare, "gradient", chain(64, 64))),
    "chain-512": (f"{LENGTH} ops on 512x512", partial(compare, "gradient", chain(512, 512))),
    "chain-second": (f"{LENGTH} scalar ops, second derivative", partial(compare, "second", chain())),
    "chain-unrecorded": (f"{LENGTH} scalar ops, not recorded", partial(compare, "forward", chain())),
    "mlp-32": ("training step, MLP of width 32", partial(compare, "gradient", mlp(32))),
    "mlp-512": ("training step, MLP of width 512", partial(compare, "gradient", mlp(512))),
    "block": ("training step, transformer block", partial(compare, "gradient", block())),
    "convolution": ("training step, two small convolutions", partial(compare, "gradient", convolutions())),
    "convolution-32": (
        "training step, two convolutions of 32 channels",
        partial(compare, "gradient", convolutions(32, 32, 32)),
    ),
    "attention": ("training step, attention of width 64", partial(compare, "gradient", attention())),
    "attention-256": ("training step, attention of width 256", partial(compare, "gradient", attention(8, 128, 256, 8))),
    "lstm": ("training step, two LSTM layers of width 64", partial(compare, "gradient", lstm())),
    "lstm-256": ("training step, two LSTM layers of width 256", partial(compare, "gradient", lstm(32, 32, 256))),
    "jacobian": ("Jacobian, network of width 32", partial(compare, "jacobian", network(32))),
    "jacobian-512": ("Jacobian, network of width 512", partial(compare, "jacobian", network(512))),
    "hessian": ("Hessian, network of width 32", partial(compare, "hessian", network(32))),
    "hessian-256": ("Hessian, network of width 256", partial(compare, "hessian", network(256))),
    "jvp": ("forward mode, network of width 32", partial(compare, "jvp", network(32))),
    "jvp-512": ("forward mode, network of width 512", partial(compare, "jvp", network(512))),
    "hvp": ("Hessian times vector, network of width 32", partial(in_gradients, "hvp", network(32))),
    "hvp-512": ("Hessian times vector, network of width 512", partial(in_gradients, "hvp", network(512))),
    "nodes-1000": ("backward pass over 1,000 ops", partial(nodes, 10**3)),
    "nodes-10000": ("backward pass over 10,000 ops", partial(nodes, 10**4)),
    "nodes-100000": ("backward pass over 100,000 ops", partial(nodes, 10**5)),
    "nodes-1000000": ("backward pass over 1,000,000 ops", partial(nodes, 10**6)),
    "memory": ("peak memory, MLP of width 512, batch of 64", partial(memory, 64)),
    "memory-4096": ("peak memory, MLP of width 512, batch of 4096", partial(memory, 4096)),
    "memory-checkpoint": ("peak memory, 16 checkpoints of 16 ops", checkpoints),
    "import": ("import tensorad, beyond import torch", importing),
}


# The table, and the command line.


def table(rows: dict[str, Row]) -> str:
    """The rows in Markdown, in columns that line up."""
    lines = [["", "tensorad", *(f"over {engine.name}" for engine in OTHERS)]]
    for name, row in rows.items():
        ratios = [f"{row.ratios[engine.name]:.2f}" if engine.name in row.ratios else "" for engine in OTHERS]
        lines.append([BENCHMARKS[name][0], row.own, *ratios])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    texts = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    return "\n".join(f"| {' | '.join(text)} |" for text in texts)


def setting() -> str:
    """The machine, the versions and the command, as a list in Markdown."""
    models = [line.partition(": ")[2] for line in read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    machine = [*models, platform.processor(), "unknown processor"][0]
    packages = ["torch", "numpy", *(engine.module for engine in OTHERS if engine.module != "torch")]
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    lines = [
        f"- machine: {machine}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}; one thread",
        f"- versions: {', '.join([f'Python {platform.python_version()}', *versions])}",
        f"- command: `{' '.join(['python benchmarks/bench.py', *sys.argv[1:]])}`",
    ]
    return "\n".join(lines)


def read(path: str | Path) -> str:
    """The text of a file; empty if there is none."""
    return Path(path).read_text() if Path(path).exists() else ""


BEGIN, END = "<!-- written by benchmarks/bench.py -->", "<!-- end -->"


def write(path: Path, text: str) -> None:
    """Put `text` into the page at `path`, in place of what stands between the two marks, or at its end."""
    before, _, rest = read(path).partition(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2] or chr(10)}")


def main() -> None:
    """Measure what was asked for, and print it."""
    parser = argparse.ArgumentParser(description="Time tensorad beside other engines.")
    parser.add_argument("--only", metavar="NAME", action="append", help=f"only this one of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="three turns of each: rough, and sooner done")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="also write the table into this page")
    options = parser.parse_args()
    if unknown := set(options.only or ()) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    effort = Effort(3, 1) if options.quick else Effort(100, 2)
    rows: dict[str, Row] = {}
    for name in options.only or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr)
        gc.collect()
        rows[name] = BENCHMARKS[name][1](effort)
    print(setting(), table(rows), sep="\n\n")
    if options.markdown:
        write(options.markdown, f"{setting()}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
