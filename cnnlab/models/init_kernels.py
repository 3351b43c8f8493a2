"""Initialisations that look at the shape of a kernel and its place in the network, not at data.

Each function checks its options and gives ``(network, key, images) -> variables``;
``init.create`` calls it by name. Fans are those of ``jax.nn.initializers``: a kernel
``[..., in, out]`` has fan_in = in times the window, fan_out = out times the window. But an output
of a transposed convolution with a stride of s meets only every s-th row and column of the kernel:
its fan_in is in times the window over s * s.
"""

import math
import re
import zlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import numpy as jnp
from jax.nn import initializers

from cnnlab.models.convolution import pair
from cnnlab.models.layers import ConvTranspose
from cnnlab.models.network import Network
from cnnlab.spelling import unknown

Variables = dict[str, Any]
Draw = Callable[[Network, jax.Array, jax.Array], Variables]
Path = tuple[str, ...]


class Kernel(NamedTuple):
    """A kernel to draw: ``[..., in, out]`` of the module at ``path[:-1]``."""

    path: Path
    shape: tuple[int, ...]
    dtype: Any
    strides: int = 1  # of a transposed convolution: the product of both

    @property
    def fan_in(self) -> float:
        """How many products an output is the sum of."""
        return math.prod(self.shape[:-1]) / self.strides

    @property
    def fan_out(self) -> int:
        """How many outputs an input is a part of, at a stride of 1 or transposed."""
        return math.prod(self.shape) // self.shape[-2]


DrawKernel = Callable[[Kernel, jax.Array], jax.Array]
"""``(kernel, key) -> its values``."""

Distribution = Literal["uniform", "normal"]
Fan = Literal["fan_in", "fan_out"]

_LARGEST = 3e38  # what float32 holds, and no more


def default() -> Draw:
    """The initialisation that the layers themselves declare: ``network.init``."""
    return lambda network, key, images: dict(network.init(key, images[:1]))


def constant(value: float = 0.01) -> Draw:
    """Every weight the same, so that all units of a layer compute the same and learn the same.

    A hidden layer's units stay equal, since each sees the same input and the same
    gradient; the network is one with a single unit a layer. Those of the last layer differ, as each
    has a class of its own, and so do the maps after a zero-padded shortcut.

    Args:
      value: of every weight; with 0 nothing but the last bias learns.
    """
    return _draw_each(initializers.constant(finite("value", value)))


def gaussian(std: float = 0.01) -> Draw:
    """Normal with mean 0 and the same standard deviation ``std`` > 0 in every layer."""
    return _draw_each(initializers.normal(positive("std", std)))


def lecun(distribution: Distribution = "normal") -> Draw:
    """Variance 1 / fan_in, which keeps the variance of a linear layer's output.

    Source: LeCun et al., Efficient BackProp, 1998, section 4.6.
    """
    return _scaling(1.0, "fan_in", distribution)


def glorot(distribution: Distribution = "uniform") -> Draw:
    """Variance 2 / (fan_in + fan_out), between what forward and backward signals need.

    Source: Glorot and Bengio, AISTATS 2010, equation 16.
    """
    return _scaling(1.0, "fan_avg", distribution)


def he(fan: Fan = "fan_in", distribution: Distribution = "normal") -> Draw:
    """Variance 2 / fan: ReLU halves the second moment, the 2 makes up for it.

    Args:
      fan: "fan_in" keeps activations, "fan_out" gradients.
      distribution: "normal" (not truncated) or "uniform".

    Source: He et al., ICCV 2015, equations 10 and 14.
    """
    return _scaling(2.0, _choice("fan", fan, ("fan_in", "fan_out")), distribution)


def orthogonal(gain: float = 1.0) -> Draw:
    """``W^T W = gain^2 I``, or ``W W^T`` where the kernel has more columns than rows.

    W is the kernel flattened to ``[kh * kw * in, out]``.

    Args:
      gain: > 0; 1 for linear layers, sqrt(2) for ReLU.

    Source: Saxe et al., ICLR 2014.
    """
    return _draw_each(initializers.orthogonal(positive("gain", gain)))


def random_walk(
    activation: Literal["relu", "linear"] = "relu",
    fan: Fan = "fan_out",
    gain: float | None = None,
) -> Draw:
    """Variance ``g^2 / N``: the log of the gradient's norm walks from layer to layer without drift.

    ``g = sqrt(2) exp(1.2 / (max(N, 6) - 2.4))`` for ReLU and ``exp(1 / (2 N))`` for linear layers.
    Its limit for wide layers is He's or LeCun's initialisation.

    Args:
      activation: "relu" or "linear". The paper has no formula for tanh: give ``gain``, a little
        over 1.
      fan: N; in the paper the width of layers that are all equally wide. "fan_out" is what the
        gradient meets, whose walk the paper studies.
      gain: g itself, > 0, instead of the formula.

    Source: Sussillo and Abbott, Random Walk Initialization for Training Very Deep Feedforward
    Networks, arXiv 1412.6558, 2014.
    """
    _choice("activation", activation, ("relu", "linear"))
    _choice("fan", fan, ("fan_in", "fan_out"))
    if gain is not None:
        gain = positive("gain", gain)

    def factor(width: float) -> float:
        if gain is not None:
            return gain
        if activation == "linear":
            return math.exp(1 / (2 * width))
        return math.sqrt(2) * math.exp(1.2 / (max(width, 6) - 2.4))

    def draw(kernel: Kernel, key: jax.Array) -> jax.Array:
        width = kernel.fan_out if fan == "fan_out" else kernel.fan_in
        std = factor(width) / math.sqrt(width)
        return initializers.normal(std)(key, kernel.shape, kernel.dtype)

    return lambda network, key, images: redraw(network, key, images, draw)


def fixup() -> Draw:
    """Makes every residual branch start as zero, so that depth does not blow up the update.

    He's initialisation everywhere, but: in a residual branch the last convolution is zero and the
    others are multiplied by ``L^(-1 / (2 m - 2))``, L being the number of blocks and m that of the
    branch's convolutions; the classifier is zero. It is meant for nets built with ``norm="none"``,
    whose blocks have the paper's scalar biases (zero) and multipliers (one).

    Raises (when called):
      ValueError: if the network has no residual block.

    Source: Zhang, Dauphin and Ma, ICLR 2019, section 3.
    """

    def init(network: Network, key: jax.Array, images: jax.Array) -> Variables:
        shapes = jax.eval_shape(network.init, key, images[:1])["params"]
        blocks = residual_blocks(network, shapes)
        if not blocks:
            raise ValueError(
                "fixup needs residual blocks (block0, block1 ... with conv1, conv2 ...), and the "
                f"network of stages {list(network.names)} has none. Choose another initialisation, "
                "such as he or lsuv."
            )
        he_normal = _variance_scaling(2.0, "fan_in", "normal")

        def draw(kernel: Kernel, key: jax.Array) -> jax.Array:
            path = kernel.path
            count = blocks.get(path[:-2], 0)
            branch = count and re.fullmatch(r"conv(\d+)", path[-2])
            if path[0] == network.names[-1] or (branch and int(branch[1]) == count):
                return jnp.zeros(kernel.shape, kernel.dtype)
            values = he_normal(kernel, key)
            return values * len(blocks) ** (-1 / (2 * count - 2)) if branch else values

        return redraw(network, key, images, draw)

    return init


def residual_blocks(network: Network, params: Any) -> dict[Path, int]:
    """The path of every residual block and how many convolutions its branch has.

    A block is a module called ``block`` and a number that holds ``conv1``, ``conv2`` …; those of a
    stage with ``shortcut="none"`` are plain.
    """
    plain = {n for n, stage in network.stages if getattr(stage, "shortcut", None) == "none"}
    blocks: dict[Path, int] = {}
    for path in flatten_dict(params):
        *block, layer, leaf = path
        number = re.fullmatch(r"conv(\d+)", layer)
        named = block and re.fullmatch(r"block\d+", block[-1])
        if named and number and leaf == "kernel" and path[0] not in plain:
            blocks[tuple(block)] = max(blocks.get(tuple(block), 0), int(number[1]))
    return blocks


def redraw(network: Network, key: jax.Array, images: jax.Array, draw: DrawKernel) -> Variables:
    """The variables of ``network.init`` with every ``kernel`` drawn anew, and its ``bias`` zero.

    Each kernel has a key of its own, by its path. Under ``jit`` the draws that are replaced here
    cost nothing: the compiler drops them.
    """
    strides: dict[Path, int] = {}

    def watch(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if isinstance(context.module, ConvTranspose | nn.ConvTranspose):
            steps = context.module.strides or 1
            strides[context.module.path] = math.prod(pair(steps, "strides"))
        return call(*args, **kwargs)

    with nn.intercept_methods(watch):
        variables = dict(network.init(key, images[:1]))
    params = flatten_dict(variables["params"])
    for path, leaf in list(params.items()):
        if path[-1] == "kernel":
            own = jax.random.fold_in(key, zlib.crc32("/".join(path).encode()))
            kernel = Kernel(path, leaf.shape, leaf.dtype, strides.get(path[:-1], 1))
            params[path] = draw(kernel, own)
            bias = (*path[:-1], "bias")
            if bias in params:
                params[bias] = jnp.zeros_like(params[bias])
    return {**variables, "params": unflatten_dict(params)}


def _draw_each(initializer: Callable[..., jax.Array]) -> Draw:
    """The same initialiser of jax for every kernel."""

    def draw(kernel: Kernel, key: jax.Array) -> jax.Array:
        return initializer(key, kernel.shape, kernel.dtype)

    return lambda network, key, images: redraw(network, key, images, draw)


def _scaling(scale: float, fan: str, distribution: str) -> Draw:
    _choice("distribution", distribution, ("uniform", "normal"))
    draw = _variance_scaling(scale, fan, distribution)
    return lambda network, key, images: redraw(network, key, images, draw)


def _variance_scaling(scale: float, fan: str, distribution: str) -> DrawKernel:
    """Variance ``scale / fan``, where "fan_avg" is the mean of both fans."""

    def draw(kernel: Kernel, key: jax.Array) -> jax.Array:
        usual = kernel._replace(strides=1)  # whose fans jax knows
        fans = [
            {"fan_in": k.fan_in, "fan_out": k.fan_out, "fan_avg": (k.fan_in + k.fan_out) / 2}[fan]
            for k in (usual, kernel)
        ]
        own = scale * (fans[0] / fans[1])
        initializer = initializers.variance_scaling(own, fan, distribution)  # type: ignore[arg-type]
        return initializer(key, kernel.shape, kernel.dtype)

    return draw


def _choice(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(unknown(name, str(value), known))
    return value


def finite(name: str, value: float) -> float:
    """The option ``name`` as a float; ValueError unless float32 holds it."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # Python's comparison takes integers of any size; it is false for NaN.
    if not number or not abs(value) <= _LARGEST:
        raise ValueError(f"{name} must be a finite number, got {value!r}.")
    return float(value)


def positive(name: str, value: float) -> float:
    """The option ``name`` as a float; ValueError unless it is finite and > 0."""
    if finite(name, value) <= 0:
        raise ValueError(f"{name} must be > 0, got {value!r}.")
    return float(value)


def at_least(name: str, value: int, least: int) -> int:
    """The option ``name``; ValueError unless it is an integer >= ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}.")
    return value
