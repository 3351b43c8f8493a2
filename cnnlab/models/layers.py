"""Layers for images, with Flax's parameter names and numbers, made quick on a CPU too.

``Conv``, ``Dense`` and ``BatchNorm`` hold parameters; ``max_pool``, ``average_pool`` and
``global_average_pool`` are functions. All take images as [N, H, W, C].
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from cnnlab.models.convolution import Padding, apart, convolve, explicit_padding, pair

Dense = nn.Dense

Initializer = Callable[..., Any]


class Conv(nn.Module):
    """A convolution with a kernel, and a bias where ``use_bias``, of its own.

    Maps [N, H, W, C] to [N, H', W', features]. Parameters (float32): ``kernel`` [kh, kw,
    C / groups, features] and ``bias`` [features].

    Attributes:
      features: channels of the output, > 0.
      kernel_size: height and width of the kernel, or one number for both.
      strides: steps down and across, or one number for both.
      padding: "SAME", "VALID", the zeros on every side, or ``((top, bottom), (left, right))``.
        A ``"SAME"`` of stride 2 is not the padding of 1 that PyTorch's networks use.
      use_bias: whether a bias is added.
      groups: how many parts the channels are cut into.
      kernel_init: He's normal initialiser (He et al., Delving Deep into Rectifiers, 2015).
      bias_init: zeros.
      dtype: dtype of the computation; that of the input and parameters together where None.
      param_dtype: dtype of the parameters.
    """

    features: int
    kernel_size: int | Sequence[int] = (3, 3)
    strides: int | Sequence[int] = 1
    padding: Padding = "SAME"
    use_bias: bool = True
    groups: int = 1
    kernel_init: Initializer = nn.initializers.he_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves ``x`` [N, H, W, C].

        Raises:
          ValueError: if ``x`` has not four axes, or its channels do not divide into ``groups``.
        """
        if x.ndim != 4 or x.shape[3] % self.groups:
            raise ValueError(
                f"images must be [N, H, W, C] with C a multiple of groups={self.groups}, got shape "
                f"{x.shape}. Add the missing axes or change groups."
            )
        window = pair(self.kernel_size, "kernel_size")
        shape = (*window, x.shape[3] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = convolve(x, kernel, self.strides, self.padding, self.groups)
        return y if bias is None else y + bias


class BatchNorm(nn.Module):
    """Normalises every channel by the batch's mean and variance (Ioffe and Szegedy, 2015).

    The statistics are taken in float32 (or wider), in one pass over the images, and folded with
    the scale and bias into one multiplication and one addition. The variance is the biased one, in
    the running statistics as well, as in Flax; PyTorch's running variance is unbiased.

    Parameters (float32): ``scale`` and ``bias`` [C]. Collection ``batch_stats``: ``mean`` and
    ``var`` [C], float32.

    Attributes:
      momentum: the fraction of the running statistics that is kept at a step (PyTorch's momentum
        is the fraction that is taken).
      epsilon: added to the variance.
      use_bias: whether a bias is added.
      use_scale: whether the result is scaled.
      axis_name: the mapped axis (of ``pmap`` or ``vmap``) over which statistics are averaged.
        Under ``jit`` over a mesh they are those of the global batch with None.
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
                keep = self.momentum
                running_mean.value = keep * running_mean.value + (1 - keep) * mean
                running_var.value = keep * running_var.value + (1 - keep) * var
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


def max_pool(
    x: jax.Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: Padding = "VALID",
) -> jax.Array:
    """The largest value in every window.

    Its gradient goes to one value of the window, the first of the largest in reading order.

    Args:
      x: images [N, H, W, C].
      window: height and width, or one number for both.
      strides: steps down and across; those of the window where None.
      padding: as for a convolution; what is added is never the largest.

    Returns:
      [N, H', W', C].

    Raises:
      ValueError: if the window, the strides or the padding do not fit.
    """
    window, strides, pads = _pooling(x, window, strides, padding)
    if _tiles(window, strides, pads):
        return _largest_of_tiles(_tiled(x, window))
    return nn.max_pool(x, window, strides, pads)


def average_pool(
    x: jax.Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: Padding = "VALID",
) -> jax.Array:
    """The mean of every window, in which padding counts as zeros.

    Takes and returns what :func:`max_pool` does.
    """
    window, strides, pads = _pooling(x, window, strides, padding)
    if _tiles(window, strides, pads):
        return _tiled(x, window).mean((2, 4))
    return nn.avg_pool(x, window, strides, pads)


def global_average_pool(x: jax.Array) -> jax.Array:
    """The mean of every channel: [N, H, W, C] to [N, C]."""
    return x.mean((1, 2))


def _pooling(
    x: jax.Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None,
    padding: Padding,
) -> tuple[tuple[int, int], tuple[int, int], Any]:
    if x.ndim != 4:
        raise ValueError(f"images must be [N, H, W, C], got shape {x.shape}. Add the missing axes.")
    size = pair(window, "window")
    steps = size if strides is None else pair(strides, "strides")
    pads = explicit_padding(padding, x.shape[1:3], size, steps)
    return size, steps, pads


def _tiles(window: tuple[int, int], strides: tuple[int, int], pads: Any) -> bool:
    """Whether the windows lie side by side: no overlap, no gap, no padding."""
    return window == strides and pads == ((0, 0), (0, 0))


def _tiled(x: jax.Array, window: tuple[int, int]) -> jax.Array:
    """Images cut into windows: [N, H', window, W', window, C]; what is left over is dropped."""
    n, height, width, channels = x.shape
    rows, columns = height // window[0], width // window[1]
    x = x[:, : rows * window[0], : columns * window[1]]
    return x.reshape(n, rows, window[0], columns, window[1], channels)


@jax.custom_vjp
def _largest_of_tiles(tiles: jax.Array) -> jax.Array:
    """[N, H', kh, W', kw, C] to [N, H', W', C], with the gradient that :func:`max_pool` promises.

    The gradient of XLA's own reduction over windows is a scatter, which a CPU runs slowly.
    """
    return functools.reduce(jnp.maximum, _members(tiles))


def _members(tiles: jax.Array) -> list[jax.Array]:
    """The values at every place of a window, in reading order: [N, H', W', C] each."""
    return [tiles[:, :, i, :, j] for i in range(tiles.shape[2]) for j in range(tiles.shape[4])]


def _largest_fwd(tiles: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    largest = _largest_of_tiles(tiles)
    return largest, (tiles, largest)


def _largest_bwd(residuals: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array]:
    tiles, largest = residuals
    members = _members(tiles)
    first = jnp.full(dy.shape, len(members) - 1, jnp.int32)
    for place in reversed(range(len(members) - 1)):
        first = jnp.where(members[place] >= largest, place, first)
    first = lax.platform_dependent(
        first, cpu=lambda first: apart(lambda value: value, first), default=lambda first: first
    )
    kh, kw = tiles.shape[2], tiles.shape[4]
    places = jnp.arange(kh * kw).reshape(kh, 1, kw, 1)
    chosen = first[:, :, None, :, None] == places
    return (jnp.where(chosen, dy[:, :, None, :, None], 0),)


_largest_of_tiles.defvjp(_largest_fwd, _largest_bwd)
