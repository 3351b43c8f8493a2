"""Normalisation layers as one choice, and AlexNet's normalisation across channels.

| kind | statistics over | source |
| --- | --- | --- |
| batch | the batch and its places, for each channel | Ioffe and Szegedy, 2015 |
| layer | places and channels, for each example | Ba et al., 2016 |
| group | places and the channels of a group, for each example | Wu and He, 2018 |
| instance | places, for each example and channel | Ulyanov et al., 2016 |
| none | nothing: the input passes | |

Layer and instance normalisation are group normalisation with one group and with a group for every
channel (Wu and He, section 3.1); scale and bias are for each channel in all of them. ``Norm`` is a
kind with settings of its own: epsilon, momentum, the axis of devices.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from cnnlab.models.layers import Initializer
from cnnlab.spelling import unknown

KINDS = ("batch", "layer", "group", "instance", "none")
MOMENTS = "moments"


@dataclasses.dataclass(frozen=True)
class Norm:
    """A kind of normalisation with settings of its own, for every ``norm=`` of a network.

        models.create("resnet20", norm=Norm("batch", epsilon=1e-3, momentum=0.97))

    Attributes:
      kind: one of ``KINDS``, but not "none".
      epsilon: added to the variance, > 0: 1e-5 as in PyTorch; TensorFlow's networks have 1e-3.
      momentum: of "batch": the fraction of the running statistics that is kept at a step, in
        [0, 1). PyTorch's momentum is the fraction that is taken: its 0.1 is 0.9 here.
      axis_name: of "batch": the mapped axis over whose devices the batch's statistics are taken,
        under ``pmap`` or ``shard_map``. In training the network then runs only there. Under ``jit``
        over a mesh statistics are those of the global batch without.
      groups: of "group": how many, or the number of channels if that is less.

    Raises:
      ValueError: for an unknown kind, numbers out of range, or a setting of another kind.
    """

    kind: str = "batch"
    epsilon: float = 1e-5
    momentum: float = 0.9
    axis_name: str | None = None
    groups: int = 32

    def __post_init__(self) -> None:
        if self.kind not in KINDS[:-1]:
            raise ValueError(unknown("norm", self.kind, KINDS[:-1]))
        if not (0 < self.epsilon < math.inf and 0 <= self.momentum < 1):
            raise ValueError(
                "epsilon must be > 0 and momentum, the fraction that is kept, in [0, 1), got "
                f"{self.epsilon} and {self.momentum}."
            )
        own = {"momentum": "batch", "axis_name": "batch", "groups": "group"}
        for field in dataclasses.fields(self):
            kind = own.get(field.name, self.kind)
            if kind != self.kind and getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name} is only for the norm {kind!r}, not {self.kind!r}.")


Kind = str | Norm
"""What every ``norm=`` takes: one of ``KINDS``, or ``Norm`` for settings of its own."""


def norm(
    kind: Kind,
    *,
    dtype: Any = None,
    name: str | None = None,
    use_scale: bool = True,
    use_bias: bool = True,
    groups: int = 32,
) -> nn.Module:
    """A normalisation layer, called ``(x, train=...)`` with ``x`` [N, ..., C].

    Args:
      kind: one of ``KINDS``, or a ``Norm``.
      dtype: of the result; that of the input and parameters together where None.
      name: of the layer in its parent.
      use_scale: whether the result is scaled, for each channel.
      use_bias: whether a bias is added, for each channel.
      groups: for "group": the number of groups, or the number of channels if that is less.

    Raises:
      ValueError: for an unknown kind.
    """
    if kind == "none":
        return NoNorm(name=name)
    if isinstance(kind, str) and kind not in KINDS:
        raise ValueError(unknown("norm", kind, KINDS))
    if isinstance(kind, str):
        kind = Norm(kind, groups=groups if kind == "group" else Norm.groups)
    options = {"dtype": dtype, "name": name, "use_scale": use_scale, "use_bias": use_bias}
    if kind.kind == "batch":
        return BatchNorm(kind.momentum, kind.epsilon, axis_name=kind.axis_name, **options)
    counts = {"layer": 1, "group": kind.groups, "instance": None}
    return GroupNorm(counts[kind.kind], kind.epsilon, **options)


class BatchNorm(nn.Module):
    """Normalises every channel by the batch's mean and variance (Ioffe and Szegedy, 2015).

    The statistics are taken in float32 (or wider), in one pass over the images, and folded with
    the scale and bias into one multiplication and one addition. The variance is the biased one, in
    the running statistics as well, as in Flax; PyTorch's running variance is unbiased.

    Parameters (float32): ``scale`` and ``bias`` [C]. Collection ``batch_stats``: ``mean`` and
    ``var`` [C], float32. Where the collection ``MOMENTS`` is mutable, the batch's own ``mean`` and
    ``var`` are put there in training.

    Attributes:
      momentum: the fraction of the running statistics that is kept at a step (PyTorch's momentum
        is the fraction that is taken).
      epsilon: added to the variance.
      use_bias: whether a bias is added.
      use_scale: whether the result is scaled.
      axis_name: the mapped axis (of ``pmap``, ``shard_map`` or ``vmap``) over which statistics are
        averaged. Under ``jit`` over a mesh they are those of the global batch with None.
      dtype: dtype of the result; that of the input and parameters together where None.
      param_dtype: dtype of the parameters.
      scale_init: ones.
      bias_init: zeros.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    use_bias: bool = True
    use_scale: bool = True
    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32
    scale_init: Initializer = nn.initializers.ones_init()
    bias_init: Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Normalises ``x`` [..., C] by the batch (``train``) or by the running statistics."""
        shape = (x.shape[-1],)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        scale = bias = None
        if self.use_scale:
            scale = self.param("scale", self.scale_init, shape, self.param_dtype)
        if self.use_bias:
            bias = self.param("bias", self.bias_init, shape, self.param_dtype)

        if train:
            mapped = None if self.is_initializing() else self.axis_name
            mean, var = _moments(x, mapped)
            if not self.is_initializing():
                if self.is_mutable_collection(MOMENTS):
                    self.put_variable(MOMENTS, "mean", mean)
                    self.put_variable(MOMENTS, "var", var)
                keep = self.momentum
                for running, new in ((running_mean, mean), (running_var, var)):
                    kept = keep * running.value + (1 - keep) * new
                    running.value = kept.astype(running.value.dtype)
        else:
            mean, var = running_mean.value, running_var.value

        factor = lax.rsqrt(var + self.epsilon)
        if scale is not None:
            factor = factor * scale
        offset = -mean * factor
        if bias is not None:
            offset = offset + bias
        dtype = nn.dtypes.canonicalize_dtype(x, scale, bias, dtype=self.dtype)
        return (x * factor + offset).astype(dtype)


def _moments(x: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of every channel: [C] each, float32 or wider."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    axes = tuple(range(x.ndim - 1))
    mean, square = x.mean(axes), lax.square(x).mean(axes)
    if axis_name is not None:
        mean, square = lax.pmean((mean, square), axis_name)
    return mean, jnp.maximum(square - lax.square(mean), 0)


class GroupNorm(nn.Module):
    """Normalises every example over its places and the channels of a group (Wu and He, 2018).

    Parameters (float32): ``scale`` and ``bias`` [C].

    Attributes:
      groups: into how many groups the channels are cut, or as many as there are channels if these
        are fewer; None for a group for every channel, which needs places to average over.
      epsilon: added to the variance.
      use_bias: whether a bias is added.
      use_scale: whether the result is scaled.
      dtype: dtype of the result; that of the input and parameters together where None.
      param_dtype: dtype of the parameters.
    """

    groups: int | None
    epsilon: float = 1e-5
    use_bias: bool = True
    use_scale: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Normalises ``x`` [N, ..., C], in training as in evaluation.

        Raises:
          ValueError: if the channels do not divide into the groups, or nothing is averaged over.
        """
        del train
        channels = x.shape[-1]
        groups = channels if self.groups is None else min(self.groups, channels)
        if groups < 1 or channels % groups or math.prod(x.shape[1:]) == groups:
            raise ValueError(
                f"{channels} channels of an input {x.shape} must divide into {groups} groups of "
                'more than one number each. Choose another number of groups, or norm="layer".'
            )
        scale = bias = None
        if self.use_scale:
            scale = self.param("scale", nn.initializers.ones, (channels,), self.param_dtype)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (channels,), self.param_dtype)
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        grouped = wide.reshape(x.shape[0], math.prod(x.shape[1:-1]), groups, channels // groups)
        mean = grouped.mean((1, 3), keepdims=True)
        centred = grouped - mean
        var = lax.square(centred).mean((1, 3), keepdims=True)
        y = (centred * lax.rsqrt(var + self.epsilon)).reshape(x.shape)
        y = y if scale is None else y * scale
        y = y if bias is None else y + bias
        return y.astype(nn.dtypes.canonicalize_dtype(x, scale, bias, dtype=self.dtype))


class NoNorm(nn.Module):
    """Passes its input on."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        return x


def local_response_norm(
    x: jax.Array, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
) -> jax.Array:
    """Divides every value by ``(k + alpha * sum of squares of its neighbour channels) ** beta``.

    Args:
      x: [..., C].
      size: how many channels are summed, the value's own in the middle (an even size has one more
        before it); channels over the edge count as zeros.
      alpha: weight of the sum. Caffe and PyTorch divide it by ``size``; the paper does not.
      beta: the exponent.
      k: the constant.

    Source: Krizhevsky et al., 2012, section 3.3, with its constants as defaults.
    """
    before = size // 2
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    window = (1,) * (x.ndim - 1) + (size,)
    edges = ((0, 0),) * (x.ndim - 1) + ((before, size - 1 - before),)
    ones = (1,) * x.ndim
    total = lax.reduce_window(lax.square(wide), 0.0, lax.add, window, ones, edges)
    return (wide * (k + alpha * total) ** -beta).astype(x.dtype)
