"""Initialisations that look at some images: LSUV, the data-dependent one of Krähenbühl et al., and
that of airbench.

The first two run the network once and scale one layer after the other, in the order of the calls.
That one run is enough: a layer is linear in its kernel and bias, so the output that the new ones
would give is computed from the old one, and is what the next layer sees. Normalisations take the
statistics of the images that are shown.

A layer that is called more than once, or shares its kernel, is scaled for its first call; later
calls use the same kernel.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import numpy as jnp

from cnnlab.keys import stream_key
from cnnlab.models.airbench import airbench_init
from cnnlab.models.init_kernels import (
    Draw,
    Path,
    Variables,
    at_least,
    finite,
    gaussian,
    orthogonal,
)
from cnnlab.models.network import Network

Measure = Callable[[jax.Array, bool], tuple[jax.Array, jax.Array]]
"""``(output [N, ..., C], whether it has a bias) -> (scale, shift)``, [] or [C] each."""

_DIRECTIONS = 8  # over which the rates are averaged


def lsuv(examples: int = 128) -> Draw:
    """Layer-sequential unit variance: orthonormal kernels, scaled to outputs of variance 1.

    The variance is over all numbers of a layer's output (before normalisation and nonlinearity).
    The paper repeats measuring and scaling up to a tolerance of 0.1; here one run is exact. Where
    an output does not vary at all, the layer keeps its orthonormal kernel.

    Args:
      examples: how many images to look at, >= 2.

    Source: Mishkin and Matas, All You Need Is a Good Init, ICLR 2016, algorithm 1.
    """
    start = orthogonal()
    at_least("examples", examples, 2)

    def measure(output: jax.Array, has_bias: bool) -> tuple[jax.Array, jax.Array]:
        del has_bias
        return _inverse(jnp.std(output)), jnp.zeros(())

    def init(network: Network, key: jax.Array, images: jax.Array) -> Variables:
        images = _first_images(images, examples)
        return adjust(network, start(network, key, images), images, key, measure)

    return init


def data(examples: int = 128, balance: int = 5, bias: float = 0.0) -> Draw:
    """Every channel with the same mean and variance 1, then layers that change at equal rates.

    First normal kernels are scaled, and biases set, such that each channel of each layer's output
    has mean ``bias`` and variance 1 over the images. Then whole layers are scaled, in ``balance``
    rounds, by ``sqrt(C_k / C)`` where ``C_k`` is the norm of the kernel's gradient over the norm of
    the kernel and C the geometric mean of these: all layers then change at the same rate, and the
    scale of the network's output stays (exactly so in a row of layers with ReLU, about so
    elsewhere). The gradient is that of a random linear function of the logits, another for each
    image, and C_k the mean over eight of these. After each round the biases centre the channels
    again; their variances stay equal within a layer, but are no longer 1. A layer without a bias is
    not centred.

    Args:
      examples: how many images to look at, >= 2.
      balance: rounds of the second part; 0 leaves every channel at variance 1.
      bias: the mean of every channel; a little over 0 keeps ReLU units alive.

    Source: Krähenbühl et al., Data-dependent Initializations of Convolutional Neural Networks,
    ICLR 2016, algorithms 1 and 2.
    """
    start = gaussian(1.0)
    at_least("examples", examples, 2)
    at_least("balance", balance, 0)
    bias = finite("bias", bias)

    def unit(output: jax.Array, has_bias: bool) -> tuple[jax.Array, jax.Array]:
        scale = _inverse(_std(output))
        return scale, (bias - scale * _mean(output)) * has_bias

    def centre(output: jax.Array, has_bias: bool) -> tuple[jax.Array, jax.Array]:
        # In units of the layer's own deviation, which the rounds before have changed.
        return jnp.ones(()), (bias * jnp.mean(_std(output)) - _mean(output)) * has_bias

    def init(network: Network, key: jax.Array, images: jax.Array) -> Variables:
        images = _first_images(images, examples)
        variables = adjust(network, start(network, key, images), images, key, unit)

        def one(_: Any, variables: Variables) -> Variables:
            variables = _balance_layers(network, variables, images, key)
            return adjust(network, variables, images, key, centre)

        return jax.lax.fori_loop(0, balance, one, variables) if balance else variables

    return init


def airbench(examples: int = 5000) -> Draw:
    """Whitening filters in the stem, convolutions that pass their channels on: for airbench only.

    Args:
      examples: how many images the filters whiten the patches of, >= 2.

    Raises (when called):
      ValueError: if the network's stem is no 2 x 2 convolution to 8 C maps.

    Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv 2404.00498, 2024; see
    :func:`cnnlab.models.airbench.airbench_init`.
    """
    at_least("examples", examples, 2)

    def init(network: Network, key: jax.Array, images: jax.Array) -> Variables:
        return airbench_init(network, key, _first_images(images, examples))

    return init


def adjust(
    network: Network, variables: Variables, images: jax.Array, key: jax.Array, measure: Measure
) -> Variables:
    """Scales and shifts every layer, in the order of the calls, by what it gives for ``images``.

    Args:
      network: the row of stages.
      variables: of the network.
      images: float ``[N, H, W, C]``.
      key: for dropout.
      measure: ``(output, has_bias) -> (scale, shift)``: the layer's output is to become
        ``scale * output + shift``; the shift must be 0 where there is no bias.

    Returns:
      ``variables`` with new kernels and biases; batch statistics as they were.
    """
    adjustments: dict[Path, tuple[jax.Array, jax.Array]] = {}

    def watch(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        output = call(*args, **kwargs)
        layer = context.module
        if context.method_name != "__call__" or not layer.has_variable("params", "kernel"):
            return output
        if layer.path not in adjustments:
            wide = output.astype(jnp.promote_types(output.dtype, jnp.float32))
            adjustments[layer.path] = measure(wide, layer.has_variable("params", "bias"))
        scale, shift = adjustments[layer.path]
        return (output * scale + shift).astype(output.dtype)

    with nn.intercept_methods(watch):
        _logits(network, variables, images, key)
    params = flatten_dict(variables["params"])
    for path, (scale, shift) in adjustments.items():
        kernel, bias = (*path, "kernel"), (*path, "bias")
        params[kernel] = params[kernel] * scale
        if bias in params:
            params[bias] = params[bias] * scale + shift
    return {**variables, "params": unflatten_dict(params)}


def _balance_layers(
    network: Network, variables: Variables, images: jax.Array, key: jax.Array
) -> Variables:
    """One round: whole layers scaled towards equal ratios of gradient to weight."""
    params = flatten_dict(variables["params"])
    kernels = [path for path in params if path[-1] == "kernel"]

    def logits(params: Any) -> jax.Array:
        return _logits(network, {**variables, "params": params}, images, key)

    outputs, backward = jax.vjp(logits, variables["params"])

    def squared_norms(direction: jax.Array) -> jax.Array:
        gradients = flatten_dict(backward(direction)[0])
        return jnp.stack([jnp.sum(gradients[path] ** 2) for path in kernels])

    # With independent signs the squared gradient of the sum over images is, on average, the sum of
    # their squared gradients.
    shape = (_DIRECTIONS, *outputs.shape)
    directions = jax.random.normal(stream_key(key, "direction"), shape, outputs.dtype)
    weights = jnp.stack([jnp.sum(params[path] ** 2) for path in kernels])
    squares = jax.lax.map(squared_norms, directions).mean(0) / weights
    alive = jnp.isfinite(squares) & (squares > 0)
    logs = jnp.log(jnp.where(alive, squares, 1.0)) / 2
    centred = logs - jnp.sum(logs) / jnp.maximum(jnp.sum(alive), 1)
    factors = jnp.where(alive, jnp.exp(centred / 2), 1.0)
    for path, factor in zip(kernels, factors, strict=True):
        params[path] = params[path] * factor
    return {**variables, "params": unflatten_dict(params)}


def _logits(network: Network, variables: Variables, images: jax.Array, key: jax.Array) -> jax.Array:
    others = [name for name in variables if name != "params"]
    rngs = {"dropout": stream_key(key, "dropout")}
    return network.apply(variables, images, train=True, mutable=others, rngs=rngs)[0]


def _first_images(images: jax.Array, examples: int) -> jax.Array:
    if images.shape[0] < 2:
        raise ValueError(
            f"images must be at least 2 for an initialisation that looks at them, got "
            f"{images.shape[0]}. Pass as many as its ``examples`` says."
        )
    return images[:examples]


def _mean(output: jax.Array) -> jax.Array:
    """Of every channel: [C]."""
    return output.mean(tuple(range(output.ndim - 1)))


def _std(output: jax.Array) -> jax.Array:
    """Of every channel: [C]."""
    return output.std(tuple(range(output.ndim - 1)))


def _inverse(std: jax.Array) -> jax.Array:
    """1 / std, and 1 where nothing varies."""
    still = std < 1e-12
    return jnp.where(still, 1.0, 1.0 / jnp.where(still, 1.0, std))
