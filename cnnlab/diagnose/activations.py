"""Activation and gradient statistics, layer by layer.

A layer is whatever holds a ``kernel``. What it *reads* are the activations after the nonlinearity
(and normalisation, and pooling) of the layers before it: for a perceptron with n hidden layers, the
n + 1 layers read the input and the n hidden activations. What it *gives* is its output before all
these: what is normalised, or goes into the nonlinearity.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from flax.traverse_util import flatten_dict
from jax import numpy as jnp

from cnnlab.keys import stream_key
from cnnlab.losses import softmax_cross_entropy
from cnnlab.models.network import Network


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Values:
    """Statistics of many numbers ``[N, ..., C]``; each float32 ``[]`` but the histogram.

    Attributes:
      mean: of all numbers.
      std: of all numbers.
      zeros: the fraction that is exactly zero: what ReLU cuts off.
      dead: the fraction of the C units that is zero for every image and place.
      saturated: the fraction with an absolute value over 0.95: where tanh is flat. It means nothing
        of values that are not bounded by 1.
      counts: int32 [B], the histogram: how many numbers lie in each of B equal bins.
      edges: float32 [B + 1], the edges of the bins, from the smallest number to the largest.
    """

    mean: jax.Array
    std: jax.Array
    zeros: jax.Array
    dead: jax.Array
    saturated: jax.Array
    counts: jax.Array
    edges: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LayerStatistics:
    """One call of one layer.

    Attributes:
      name: the layer's path, such as "stage1/block0/conv1"; from its second call on with " (2)" …
      reads: the layer's input, after the nonlinearity of the layer before it.
      gives: its output, before normalisation and nonlinearity.
      kernel_std: float32 [], of the kernel.
      gradient_std: float32 [], the root of the mean square of the gradient with respect to the
        output, of the summed loss: of each image's own loss where images do not meet in a
        normalisation. None without labels.
      kernel_gradient_std: float32 [], the same of the gradient of the mean loss with respect to the
        kernel, over all calls of the layer. None without labels.
      gradient_to_weight: float32 [], the norm of that gradient over the norm of the kernel (NaN for
        a kernel of zeros). None without labels.
    """

    name: str = dataclasses.field(metadata={"static": True})
    reads: Values
    gives: Values
    kernel_std: jax.Array
    gradient_std: jax.Array | None = None
    kernel_gradient_std: jax.Array | None = None
    gradient_to_weight: jax.Array | None = None


def activations(
    network: Network,
    variables: Any,
    images: jax.Array,
    labels: jax.Array | None = None,
    *,
    train: bool = True,
    bins: int = 50,
    loss: Callable[[jax.Array, jax.Array], jax.Array] = softmax_cross_entropy,
    key: jax.Array | None = None,
) -> list[LayerStatistics]:
    """The statistics of every layer, in the order of the calls.

    Pure: under ``jit`` it is one program, and mapped over members the statistics are ``[M, ...]``.

    Args:
      network: the row of stages.
      variables: ``{"params": ..., "batch_stats": ...}``.
      images: float ``[N, H, W, C]``, prepared as the network sees them.
      labels: int32 ``[N]``; with them, gradients as well.
      train: whether normalisation uses the statistics of these images, and dropout drops.
      bins: of the histograms, >= 1.
      loss: ``(logits [N, K], labels [N]) -> losses [N]``.
      key: for dropout; a fixed one by default.

    Raises:
      ValueError: if there are fewer than one bin, or images and labels differ in number.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}.")
    if labels is not None and labels.shape != images.shape[:1]:
        raise ValueError(
            f"labels must be [N] with N = {images.shape[0]} as the images, got {labels.shape}."
        )
    key = jax.random.key(0) if key is None else key
    others = [name for name in variables if name != "params"]
    rngs = {"dropout": stream_key(key, "dropout")}

    def forward(params: Any, offsets: Any) -> tuple[jax.Array, list[_Call]]:
        """The logits, with ``offsets`` added to the layers' outputs; and what the layers saw."""
        calls: list[_Call] = []

        def watch(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
            output = call(*args, **kwargs)
            layer = context.module
            if context.method_name != "__call__" or not layer.has_variable("params", "kernel"):
                return output
            calls.append(_Call(layer.path, args[0], output))
            return output if offsets is None else output + offsets[len(calls) - 1]

        with nn.intercept_methods(watch):
            own = {**variables, "params": params}
            logits = network.apply(own, images, train=train, mutable=others, rngs=rngs)[0]
        return logits, calls

    params = variables["params"]
    if labels is None:
        _, calls = forward(params, None)
        gradients = None
    else:
        shapes = jax.eval_shape(lambda: [call.output for call in forward(params, None)[1]])
        zeros = [jnp.zeros(shape.shape, shape.dtype) for shape in shapes]

        def total(params: Any, offsets: Any) -> tuple[jax.Array, list[_Call]]:
            logits, calls = forward(params, offsets)
            return jnp.sum(loss(logits, labels)), calls

        gradients, calls = jax.grad(total, (0, 1), has_aux=True)(params, zeros)
    return _statistics(params, calls, gradients, images.shape[0], bins)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Call:
    path: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    input: jax.Array
    output: jax.Array


def _statistics(
    params: Any, calls: list[_Call], gradients: Any, examples: int, bins: int
) -> list[LayerStatistics]:
    kernels = {
        path[:-1]: leaf for path, leaf in flatten_dict(params).items() if path[-1] == "kernel"
    }
    slopes = None if gradients is None else flatten_dict(gradients[0])
    seen: dict[tuple[str, ...], int] = {}
    rows = []
    for index, call in enumerate(calls):
        seen[call.path] = seen.get(call.path, 0) + 1
        times = seen[call.path]
        kernel = kernels[call.path]
        learning = {}
        if slopes is not None:
            slope = slopes[(*call.path, "kernel")] / examples
            weight = _root_mean_square(kernel)
            learning = {
                "gradient_std": _root_mean_square(gradients[1][index]),
                "kernel_gradient_std": _root_mean_square(slope),
                "gradient_to_weight": _root_mean_square(slope)
                / jnp.where(weight > 0, weight, jnp.nan),
            }
        rows.append(
            LayerStatistics(
                name="/".join(call.path) + (f" ({times})" if times > 1 else ""),
                reads=values(call.input, bins),
                gives=values(call.output, bins),
                kernel_std=jnp.std(kernel),
                **learning,
            )
        )
    return rows


def values(x: jax.Array, bins: int = 50) -> Values:
    """The statistics of ``x`` ``[N, ..., C]``."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    low, high = jnp.min(x), jnp.max(x)
    width = jnp.where(high > low, high - low, 1.0)
    place = jnp.clip((x - low) / width * bins, 0, bins - 1).astype(jnp.int32)
    zero = x == 0
    return Values(
        mean=jnp.mean(x),
        std=jnp.std(x),
        zeros=jnp.mean(zero),
        dead=jnp.mean(jnp.all(zero, axis=tuple(range(x.ndim - 1)))),
        saturated=jnp.mean(jnp.abs(x) > 0.95),
        counts=jnp.bincount(place.ravel(), length=bins),
        edges=low + width * jnp.arange(bins + 1) / bins,
    )


def _root_mean_square(x: jax.Array) -> jax.Array:
    # Scaled by the largest number: gradients of 1e-25 have squares that float32 does not hold.
    largest = jnp.max(jnp.abs(x)).astype(jnp.float32)
    unit = jnp.where(largest > 0, largest, 1.0)
    return largest * jnp.sqrt(jnp.mean((x / unit) ** 2))
